import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { type Cause, CLOSE, type Close, type Connection, Hub, type Member } from "./hub.ts";

/** Stands in for a socket: the one thing that real ones cannot do is to have a given backlog. */
class FakeConnection implements Connection<string> {
  readonly heard: string[] = [];
  readonly closes: Close[] = [];
  held = 0;

  constructor(readonly peer: string) {}

  backlog(): number {
    return this.held;
  }

  write(message: string): void {
    this.heard.push(message);
  }

  close(close: Close): void {
    this.closes.push(close);
  }

  evict(close: Close): void {
    this.closes.push(close);
  }

  terminate(): void {}
}

function setUp() {
  const left: [peer: string, cause: Cause][] = [];
  let batches = 0;
  const hub = new Hub<string, string>({
    encode(messages) {
      batches++;
      return { all: messages, slice: (from, to) => messages.slice(from, to) };
    },
    maxBatchDeliveries: 10,
    maxMessageBytes: 10,
    maxBacklogBytes: 100,
    onLeave: ({ connection }, cause) => left.push([connection.peer, cause]),
  });
  const join = (peer: string) => {
    const connection = new FakeConnection(peer);
    return { connection, member: hub.join(connection) };
  };
  return { hub, join, left, batches: () => batches };
}

/** Waits for the end of the turn, in which a hub sends what is queued. */
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

/** Waits until a hub has sent all that the given members had to say. */
async function flushed(...members: Member<string>[]): Promise<void> {
  const deadline = performance.now() + 20_000;
  while (members.some(({ queuedBytes }) => queuedBytes > 0)) {
    if (performance.now() > deadline) throw new Error("waited 20 s for the queue, in vain");
    await new Promise((resolve) => setTimeout(resolve));
  }
}

Deno.test("Hub relays a message to every member, the sender included", async () => {
  const { hub, join } = setUp();
  const alice = join("alice"), bob = join("bob");
  hub.publish(alice.member, "hello", 5);
  await turn();
  assertEquals([alice.connection.heard, bob.connection.heard], [["hello"], ["hello"]]);
});

Deno.test("Hub sends the messages of one turn as one batch", async () => {
  const { hub, join, batches } = setUp();
  const alice = join("alice"), bob = join("bob");
  hub.publish(alice.member, "1", 1);
  hub.publish(bob.member, "2", 1);
  await turn();
  hub.publish(bob.member, "3", 1);
  await turn();
  assertEquals(batches(), 2);
  assertEquals(alice.connection.heard, ["1", "2", "3"]);
});

Deno.test("Hub ignores what comes from a member that has left", async () => {
  const { hub, join } = setUp();
  const alice = join("alice"), bob = join("bob");
  hub.leave(bob.member, "closed");
  hub.publish(bob.member, "late", 4);
  await turn();
  assertEquals(alice.connection.heard, []);
  assertEquals(hub.stats().messages, 0);
});

Deno.test("Hub relays what a member sent before it left", async () => {
  const { hub, join } = setUp();
  const alice = join("alice"), bob = join("bob");
  hub.publish(bob.member, "bye", 3);
  hub.leave(bob.member, "closed");
  await turn();
  assertEquals(alice.connection.heard, ["bye"]);
  assertEquals(bob.connection.heard, []);
});

Deno.test("Hub evicts a slow member and the others lose nothing", async () => {
  const { hub, join, left } = setUp();
  const alice = join("alice"), bob = join("bob"), cathy = join("cathy");
  cathy.connection.held = 101;
  hub.publish(alice.member, "hello", 5);
  await flushed(alice.member);
  assertEquals(left, [["cathy", "slow"]]);
  assertEquals(cathy.connection.closes, [CLOSE.slow]);
  assertEquals([cathy.connection.heard, bob.connection.heard], [[], ["hello"]]);
});

Deno.test("Hub waits with its judgement while backlogs shrink", async () => {
  const { hub, join, left } = setUp();
  const alice = join("alice"), bob = join("bob"), cathy = join("cathy");
  cathy.connection.held = 110;
  bob.connection.held = 90;
  hub.publish(alice.member, "hello", 5);
  const draining = setInterval(() => bob.connection.held--); // The relay is busy with bob first.
  await new Promise((resolve) => setTimeout(resolve, 30));
  assertEquals([left, bob.connection.heard], [[], []]);
  cathy.connection.held = 100;
  await flushed(alice.member);
  clearInterval(draining);
  assertEquals([left, cathy.connection.heard], [[], ["hello"]]);
});

Deno.test("Hub evicts a slow member in the end, even while other backlogs shrink", async () => {
  const { hub, join, left } = setUp();
  const alice = join("alice"), bob = join("bob"), cathy = join("cathy");
  cathy.connection.held = 110;
  bob.connection.held = 1e9;
  hub.publish(alice.member, "hello", 5);
  const draining = setInterval(() => bob.connection.held--);
  await flushed(alice.member);
  clearInterval(draining);
  assertEquals(left, [["bob", "slow"], ["cathy", "slow"]]);
});

Deno.test("Hub sends a burst in batches of a bounded size, one a turn, in order", async () => {
  const { hub, join, batches } = setUp();
  const alice = join("alice"), bob = join("bob");
  const burst = Array.from({ length: 14 }, (_, i) => `${i}`);
  for (const message of burst) hub.publish(alice.member, message, 2);
  await turn();
  assertEquals(bob.connection.heard, burst.slice(0, 5)); // 10 deliveries.
  hub.publish(bob.member, "and I", 5);
  await flushed(alice.member, bob.member);
  assertEquals(bob.connection.heard, [...burst, "and I"]);
  assertEquals([batches(), alice.member.queuedBytes, bob.member.queuedBytes], [3, 0, 0]);
});

Deno.test("Hub bounds a batch in bytes, but never splits or stops a message", async () => {
  const sizes: number[][] = [];
  const hub = new Hub<number, number[]>({
    encode: (messages) => ({
      all: [messages],
      slice: (from, to) => [messages.slice(from, to)],
    }),
    maxMessageBytes: 1e6,
    maxBacklogBytes: 1e6,
  });
  const alice = hub.join({
    peer: "alice",
    backlog: () => 0,
    write: (batch) => sizes.push(batch),
    close: () => {},
    evict: () => {},
    terminate: () => {},
  });
  for (const size of [1e6, 1e5, 1e5, 1e5, 1e6]) hub.publish(alice, size, size);
  for (let i = 0; i < 10; i++) await turn();
  assertEquals(sizes, [[1e6], [1e5, 1e5], [1e5], [1e6]]);
});

Deno.test("Hub evicts a sender that has too much waiting, and relays what it took in", async () => {
  const { hub, join, left } = setUp();
  const alice = join("alice"), bob = join("bob");
  const taken = 4 * 1024 * 1024 / 64; // Even an empty message takes up memory.
  for (let i = 0; i < taken + 1; i++) hub.publish(bob.member, "", 0);
  hub.publish(alice.member, "hello", 5);
  assertEquals([left, bob.connection.closes], [[["bob", "rate"]], [CLOSE.rate]]);
  await flushed(alice.member, bob.member);
  assertEquals(alice.connection.heard.length, taken + 1);
  assertEquals(alice.connection.heard.at(-1), "hello");
});

Deno.test("Hub keeps a member whose backlog is exactly at the limit", async () => {
  const { hub, join, left } = setUp();
  const alice = join("alice");
  alice.connection.held = 100;
  hub.publish(alice.member, "hello", 5);
  await turn();
  assertEquals(left, []);
  assertEquals(alice.connection.heard, ["hello"]);
});

Deno.test("Hub evicts a member that sends too big a message, and does not relay it", async () => {
  const { hub, join, left } = setUp();
  const alice = join("alice"), bob = join("bob");
  hub.publish(alice.member, "ten bytes!", 10);
  hub.publish(alice.member, "eleven byte", 11);
  await turn();
  assertEquals(left, [["alice", "too_big"]]);
  assertEquals(alice.connection.closes, [CLOSE.too_big]);
  assertEquals(bob.connection.heard, ["ten bytes!"]);
});

Deno.test("Hub counts a member that leaves more than once exactly once, under the first cause", () => {
  const { hub, join, left } = setUp();
  const alice = join("alice");
  hub.leave(alice.member, "idle");
  hub.leave(alice.member, "closed");
  hub.leave(alice.member, "error");
  assertEquals(left, [["alice", "idle"]]);
  assertEquals(hub.stats().disconnections, 1);
  assertEquals(hub.stats().evictions, { slow: 0, rate: 0, too_big: 0, idle: 1, error: 0 });
});

Deno.test("Hub counts messages, deliveries and bytes", async () => {
  const { hub, join } = setUp();
  const alice = join("alice"), bob = join("bob");
  hub.publish(alice.member, "four", 4);
  hub.publish(bob.member, "", 0);
  await turn();
  bob.connection.held = 30;
  alice.connection.held = 12;
  hub.reject("full");
  assertEquals(hub.stats(), {
    connected: 2,
    connections: 2,
    disconnections: 0,
    messages: 2,
    receivedBytes: 4,
    deliveries: 4,
    sentBytes: 8,
    evictions: { slow: 0, rate: 0, too_big: 0, idle: 0, error: 0 },
    droppedMessages: 0,
    rejections: { origin: 0, token: 0, full: 1, per_ip: 0, draining: 0, bad_request: 0 },
    backlogBytes: 42,
    backlogBytesMax: 30,
  });
});

Deno.test("Hub sends what is queued before it tells its members to go away", async () => {
  const { hub, join } = setUp();
  const alice = join("alice");
  hub.publish(alice.member, "last", 4);
  const closed = hub.close();
  hub.publish(alice.member, "too late", 8);
  assertEquals([alice.connection.heard, alice.connection.closes], [[], []]);
  await turn();
  assertEquals([alice.connection.heard, alice.connection.closes], [["last"], [CLOSE.shutdown]]);
  hub.leave(alice.member, "closed");
  await closed;
  await turn();
  assertEquals(alice.connection.heard, ["last"]);
});

Deno.test("Hub that closes tells a member that joins late to go away, and waits for it", async () => {
  const { hub, join } = setUp();
  const alice = join("alice");
  const closed = hub.close();
  const bob = join("bob");
  assertEquals(bob.connection.closes, [CLOSE.shutdown]);
  hub.leave(alice.member, "closed");
  hub.leave(bob.member, "closed");
  await closed;
  await hub.close();
});

Deno.test("Hub drops the members that have not gone away", async () => {
  const { hub, join, left } = setUp();
  join("alice");
  const closed = hub.close();
  hub.drop();
  await closed;
  assertEquals(left, [["alice", "dropped"]]);
  assertEquals(hub.size, 0);
});

type Step =
  | { do: "join" }
  | { do: "send"; who: number }
  | { do: "leave"; who: number; cause: Cause }
  | { do: "stall"; who: number }
  | { do: "turn" };

const who = fc.nat(9);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 2, arbitrary: fc.record({ do: fc.constant("join" as const) }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant("send" as const), who }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant("leave" as const),
      who,
      cause: fc.constantFrom<Cause>("closed", "error", "idle"),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("stall" as const), who }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("turn" as const) }) },
);

Deno.test("Hub keeps its promises under any interleaving of join, send, leave and failure", async () => {
  await fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 80 }), async (steps) => {
    const { hub, join, left } = setUp();
    const all: { connection: FakeConnection; member: Member<string>; since: number }[] = [];
    const gone = () => new Set(left.map(([peer]) => peer));
    const sent: string[] = []; // All that was taken in, in order.
    let done = 0; // How much of it has left.

    const endTurn = async () => {
      await turn();
      await flushed(...all.map(({ member }) => member));
      done = sent.length;
    };
    for (const step of steps) {
      if (step.do === "join") {
        // A newcomer also gets what is queued in this turn.
        all.push({ ...join(`member ${all.length}`), since: done });
      } else if (step.do === "turn") {
        await endTurn();
      } else if (all.length > 0) {
        const { member, connection } = all[step.who % all.length];
        if (step.do === "stall") connection.held = 101;
        else if (step.do === "leave") hub.leave(member, step.cause);
        else {
          const message = `${sent.length}`;
          hub.publish(member, message, 3);
          if (!gone().has(connection.peer)) sent.push(message);
        }
      }
      const { connected, connections, disconnections } = hub.stats();
      assertEquals(connections - disconnections, connected);
      assertEquals([connections, disconnections], [all.length, left.length]);
    }
    await endTurn();
    assertEquals(gone().size, left.length, "a member left twice");
    for (const { connection, since } of all) {
      const expected = sent.slice(since);
      if (gone().has(connection.peer)) expected.length = connection.heard.length;
      assertEquals(connection.heard, expected, connection.peer);
    }
    assertEquals(hub.stats().messages, sent.length);
    assertEquals(
      hub.stats().deliveries,
      all.reduce((sum, { connection }) => sum + connection.heard.length, 0),
    );
  }));
});
