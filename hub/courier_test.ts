import { assertEquals } from "@std/assert";
import { type Batch, Hub } from "../hub.ts";
import { FakeConnection } from "../testing/fake_connection.ts";
import { endOfTurn } from "../testing/wait.ts";

/** A hub whose order the test decides. Each message is a frame of three bytes, written as text. */
function setUp() {
  const events: string[] = [];
  const batches: Batch[] = [];
  class Socket extends FakeConnection {
    override write(frames: string): void {
      events.push(`${this.peer} is given ${frames}`);
    }
  }
  const hub = new Hub<string, string>({
    encode: () => {
      throw new Error("the order is not the hub's");
    },
    shared: {
      order: {
        maxBatchBytes: 1000,
        sectionBytes: 100,
        append(batch) {
          batches.push(batch);
          events.push(`${textOf(batch)} is appended`);
        },
        pause: () => {},
        resume: () => {},
      },
      pack: framesOf,
      unpack: ({ frames }) => ({
        all: [textOf([{ frames }])],
        slice: () => [],
        payloadBytes: () => 0,
      }),
    },
    maxMessageBytes: 100,
    maxBacklogBytes: 1000,
  });
  const join = (peer: string, room = "/", held = 0) =>
    hub.join(Object.assign(new Socket(peer, room), { held }));
  return { hub, events, batches, join, alice: join("alice") };
}

const framesOf = (messages: readonly string[]) => ({
  frames: Uint8Array.from(messages.flatMap((text) => [0x81, 1, text.charCodeAt(0)])),
  ends: messages.map((_, i) => 3 * (i + 1)),
});

const textOf = (batch: readonly { frames: Uint8Array }[]) =>
  batch.map(({ frames }) => String.fromCharCode(...frames.filter((_, i) => i % 3 === 2))).join();

const batchOf = (messages: string, room = "/"): Batch => [{ room, ...framesOf([...messages]) }];

Deno.test("Hub joins batches of the shared order that arrived together", async () => {
  const { hub, events } = setUp();
  hub.deliver(batchOf("ab"), false, 0);
  hub.deliver(batchOf("c"), false, 0);
  await endOfTurn();
  assertEquals(events, ["alice is given abc"]);
  assertEquals(hub.stats().deliveries, 3);
});

Deno.test("Hub appends queued messages when the previous batch is back, before it delivers that", async () => {
  const { hub, events, batches, alice } = setUp();
  hub.publish(alice, "a", 1);
  await endOfTurn();
  for (const text of ["b", "c"]) hub.publish(alice, text, 1);
  await endOfTurn();
  hub.deliver(batches[0], true, 0);
  await endOfTurn();
  assertEquals(events, ["a is appended", "bc is appended", "alice is given a"]);
});

Deno.test("Hub discards a batch that is given up and the messages queued behind it", async () => {
  const { hub, events, join, alice } = setUp();
  hub.publish(alice, "a", 1);
  await endOfTurn();
  hub.publish(alice, "b", 1);
  hub.expel("gap").next(1);
  hub.giveUp();
  assertEquals([hub.stats().queuedMessages, hub.stats().rooms], [0, 0]);
  hub.publish(join("bob"), "c", 1);
  await endOfTurn();
  assertEquals(events, ["a is appended", "c is appended"]);
});

Deno.test("Hub does not hold up other rooms while a room of the shared order waits", async () => {
  const { hub, events, join } = setUp();
  for (const peer of ["slow", "slower"]) join(peer, "/stuck", 2000);
  join("bob", "/lively");
  hub.deliver([...batchOf("a", "/stuck"), ...batchOf("b", "/lively")], false, 0);
  await endOfTurn();
  assertEquals(events, ["bob is given b"]);
  assertEquals(hub.stats().queuedMessages, 1);
  hub.expel("gap");
});

Deno.test("Hub that closes waits for messages under way, even if all members have left", async () => {
  const { hub, batches, alice } = setUp();
  hub.publish(alice, "a", 1);
  await endOfTurn();
  const post = hub.post({ room: "/", address: "192.0.2.7", message: "b", bytes: 1 });
  hub.leave(alice, "closed");
  let closed = false;
  const closing = hub.close().then(() => closed = true);
  await endOfTurn();
  hub.deliver(batches[0], true, 0);
  await endOfTurn();
  assertEquals([closed, batches.map(textOf)], [false, ["a", "b"]]);
  hub.deliver(batches[1], true, 0);
  assertEquals(await post, "placed");
  await closing;
});

Deno.test("Hub that closes does not wait for an order that does not respond", async () => {
  const { hub, alice } = setUp();
  hub.publish(alice, "a", 1);
  await endOfTurn();
  hub.leave(alice, "closed");
  hub.orderAnswers = false;
  await hub.close();
});
