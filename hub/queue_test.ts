import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { Line, MESSAGE_BYTES, Queue } from "./queue.ts";

const ALL = { bytes: Infinity, messages: Infinity };

function setUp() {
  const queue = new Queue<string, string>();
  const lines = new Map<string, Line<string, string>>();
  const push = (sender: string, message: string, bytes = 1) => {
    if (!lines.has(sender)) lines.set(sender, new Line(sender));
    queue.push(lines.get(sender)!, message, bytes);
  };
  const take = (bounds = ALL) => queue.take(bounds).map(({ message }) => message);
  return { queue, lines, push, take };
}

Deno.test("Queue hands out messages that fit a batch in the order of arrival, whoever sent them", () => {
  const { push, take } = setUp();
  push("alice", "a1");
  push("bob", "b1");
  push("alice", "a2");
  assertEquals(take(), ["a1", "b1", "a2"]);
  assertEquals(take(), []);
});

Deno.test("Queue bounds the bytes and messages of a batch but never blocks a large message", () => {
  const { push, take } = setUp();
  for (const [message, bytes] of [["1", 500], ["2", 100], ["3", 100], ["4", 0]] as const) {
    push("alice", message, bytes);
  }
  const bytes = 200 + 2 * MESSAGE_BYTES;
  assertEquals(take({ bytes, messages: 9 }), ["1"]);
  assertEquals(take({ bytes, messages: 9 }), ["2", "3"]);
  push("alice", "5", 0);
  assertEquals(take({ bytes, messages: 1 }), ["4"]);
  assertEquals(take({ bytes, messages: 1 }), ["5"]);
});

Deno.test("Queue serves senders in turn, so a flood does not keep the others waiting", () => {
  const { push, take } = setUp();
  for (let i = 0; i < 1000; i++) push("flood", `f${i}`, 1000);
  push("alice", "hello");
  push("bob", "hi");
  const first = take({ bytes: 64 * 1024, messages: Infinity });
  assert(first.includes("hello") && first.includes("hi"), `${first}`);
  assert(first.length > 10, "the flood stands still");
});

Deno.test("Queue counts waiting messages and discards those of a sender that is dropped", () => {
  const { queue, lines, push, take } = setUp();
  push("alice", "a", 10);
  push("bob", "b", 20);
  push("bob", "b", 20);
  assertEquals([queue.length, queue.bytes], [3, 50 + 3 * MESSAGE_BYTES]);
  queue.drop(lines.get("bob")!);
  queue.drop(lines.get("bob")!);
  assertEquals([queue.length, queue.bytes, lines.get("bob")!.length], [1, 10 + MESSAGE_BYTES, 0]);
  assertEquals(take(), ["a"]);
  push("bob", "b again");
  assertEquals([take(), queue.bytes], [["b again"], 0]);
});

Deno.test("Queue loses nothing and keeps each sender's order, whatever is pushed and taken", () => {
  const pushed = fc.record({
    sender: fc.constantFrom("alice", "bob", "cathy"),
    bytes: fc.constantFrom(0, 1, 1000, 30_000),
  });
  const taken = fc.record({
    bytes: fc.constantFrom(1, 1000, 40_000),
    messages: fc.integer({ min: 1, max: 9 }),
  });
  fc.assert(fc.property(fc.array(fc.oneof(pushed, pushed, taken)), (steps) => {
    const { queue, push, take } = setUp();
    const sent: string[] = [], got: string[] = [];
    for (const [i, step] of steps.entries()) {
      if ("sender" in step) {
        sent.push(`${step.sender} ${i}`);
        push(step.sender, `${step.sender} ${i}`, step.bytes);
      } else got.push(...take(step));
    }
    while (queue.length > 0) got.push(...take({ bytes: 1, messages: 1 }));
    assertEquals(queue.bytes, 0);
    for (const sender of ["alice", "bob", "cathy"]) {
      const of = (messages: string[]) => messages.filter((each) => each.startsWith(sender));
      assertEquals(of(got), of(sent));
    }
  }));
});

Deno.test("Queue skips lines that have to wait and serves them later", () => {
  const queue = new Queue<string, string>();
  const alice = new Line<string, string>("alice"), bob = new Line<string, string>("bob");
  for (const message of ["a", "b"]) queue.push(alice, message, 1);
  queue.push(bob, "c", 1);
  const bounds = { bytes: 1000, messages: 10 };
  const texts = (batch: { message: string }[]) => batch.map(({ message }) => message);
  assertEquals(texts(queue.take(bounds, (line) => line === alice)), ["c"]);
  assertEquals([queue.length, [...queue.lines]], [2, [alice]]);
  assertEquals(texts(queue.take(bounds)), ["a", "b"]);
  assertEquals([queue.length, queue.bytes], [0, 0]);
});
