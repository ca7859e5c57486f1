import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { type Cause, Hub, type HubOptions } from "./hub.ts";
import { encodeTexts } from "./testing/encoded.ts";
import { FakeConnection } from "./testing/fake_connection.ts";
import {
  HubModel,
  MAX_BACKLOG_BYTES,
  type Outcome,
  perform,
  POLICY,
  type Policy,
  type Step,
  STEPS,
  type Subject,
} from "./testing/hub_model.ts";
import { endOfTurn, until } from "./testing/wait.ts";

/** The time that passes between two readings of the clock, in milliseconds. */
const LOOK_MILLISECONDS = 50;

function setUp(changes: Partial<HubOptions<string, string>> = {}) {
  const left: [peer: string, cause: Cause][] = [];
  let batches = 0, now = 0;
  const hub = new Hub<string, string>({
    encode(messages) {
      batches++;
      return encodeTexts(messages);
    },
    maxBatchDeliveries: 10,
    maxMessageBytes: 10,
    maxBacklogBytes: MAX_BACKLOG_BYTES,
    now: () => now += LOOK_MILLISECONDS,
    onLeave: ({ peer }, cause) => left.push([peer, cause]),
    ...changes,
  });
  const join = (peer: string) => {
    const connection = new FakeConnection(peer);
    return { connection, member: hub.join(connection) };
  };
  return { hub, join, left, batches: () => batches };
}

/** Waits until a hub has sent all queued messages. */
async function flushed(hub: Hub<string, string>): Promise<void> {
  await until(() => hub.stats().queuedMessages === 0, "the queue to be sent");
}

Deno.test("Hub relays a message to every member, including the sender", async () => {
  const { hub, join } = setUp();
  const alice = join("alice"), bob = join("bob");
  hub.publish(alice.member, "hello", 5);
  await endOfTurn();
  assertEquals([alice.connection.heard, bob.connection.heard], [["hello"], ["hello"]]);
});

Deno.test("Hub sends the messages of one turn as one batch", async () => {
  const { hub, join, batches } = setUp();
  const alice = join("alice"), bob = join("bob");
  hub.publish(alice.member, "1", 1);
  hub.publish(bob.member, "2", 1);
  await endOfTurn();
  hub.publish(bob.member, "3", 1);
  await endOfTurn();
  assertEquals(batches(), 2);
  assertEquals(alice.connection.heard, ["1", "2", "3"]);
});

Deno.test("Hub without echo omits the sender and changes nothing else", async () => {
  const { hub, join } = setUp({ echo: false, maxBatchDeliveries: Infinity });
  const alice = join("alice"), bob = join("bob"), cathy = join("cathy");
  for (
    const [sender, message] of [[alice, "a1"], [bob, "b1"], [alice, "a2"], [alice, "a3"]] as const
  ) {
    hub.publish(sender.member, message, 2);
  }
  await endOfTurn();
  assertEquals(alice.connection.heard, ["b1"]);
  assertEquals(bob.connection.heard, ["a1", "a2", "a3"]);
  assertEquals(cathy.connection.heard, ["a1", "b1", "a2", "a3"]);
  const { deliveries, sentBytes } = hub.stats();
  assertEquals([deliveries, sentBytes], [8, 16]);
});

Deno.test("Hub that drops messages moves a slow member to the head and leaves a single gap", async () => {
  const { hub, join, left } = setUp({ slowClient: "drop" });
  const alice = join("alice"), cathy = join("cathy");
  for (const [held, message] of [[200, "1"], [202, "2"], [0, "3"], [100, "4"]] as const) {
    cathy.connection.held = held;
    hub.publish(alice.member, message, 1);
    await flushed(hub);
  }
  assertEquals(alice.connection.heard, ["1", "2", "3", "4"]);
  assertEquals(cathy.connection.heard, ["3", "4"]);
  assertEquals([left, hub.stats().droppedMessages, hub.stats().deliveries], [[], 2, 6]);
});

Deno.test("Hub accepts one second's worth of messages and evicts a member that sends more", async () => {
  const { hub, join, left } = setUp({ maxMessagesPerSecond: 3 });
  const alice = join("alice"), bob = join("bob");
  for (let i = 0; i < 3; i++) hub.publish(alice.member, "a", 1);
  for (let i = 0; i < 4; i++) hub.publish(bob.member, "b", 1);
  assertEquals([left, bob.connection.closes], [[["bob", "rate"]], ["rate"]]);
  await flushed(hub);
  assertEquals(alice.connection.heard, ["a", "a", "a", "b", "b", "b"]);
});

Deno.test("Hub ignores messages from a member that has left", async () => {
  const { hub, join } = setUp();
  const alice = join("alice"), bob = join("bob");
  hub.leave(bob.member, "closed");
  hub.publish(bob.member, "late", 4);
  await endOfTurn();
  assertEquals(alice.connection.heard, []);
  assertEquals(hub.stats().messages, 0);
});

Deno.test("Hub relays messages that a member sent before it left", async () => {
  const { hub, join } = setUp();
  const alice = join("alice"), bob = join("bob");
  hub.publish(bob.member, "bye", 3);
  hub.leave(bob.member, "closed");
  await endOfTurn();
  assertEquals(alice.connection.heard, ["bye"]);
  assertEquals(bob.connection.heard, []);
});

Deno.test("Hub evicts a slow member and the others lose nothing", async () => {
  const { hub, join, left } = setUp();
  const alice = join("alice"), bob = join("bob"), cathy = join("cathy");
  cathy.connection.held = 200;
  hub.publish(alice.member, "hello", 5);
  await flushed(hub);
  assertEquals(left, [["cathy", "slow"]]);
  assertEquals(cathy.connection.closes, ["slow"]);
  assertEquals([cathy.connection.heard, bob.connection.heard], [[], ["hello"]]);
});

Deno.test("Hub sends a burst in order, in batches of a bounded size, one per turn", async () => {
  const { hub, join, batches } = setUp();
  const alice = join("alice"), bob = join("bob");
  const burst = Array.from({ length: 14 }, (_, i) => `${i}`);
  for (const message of burst) hub.publish(alice.member, message, 2);
  await endOfTurn();
  assertEquals(bob.connection.heard, burst.slice(0, 5)); // 10 deliveries.
  await flushed(hub);
  assertEquals(bob.connection.heard, burst);
  assertEquals([batches(), hub.stats().queuedMessages], [3, 0]);
});

Deno.test("Hub bounds the bytes of a batch but never splits or blocks a message", async () => {
  const hub = new Hub<number, number[]>({
    encode: (messages) => ({
      all: [messages],
      slice: (from, to) => [messages.slice(from, to)],
      payloadBytes: () => 0,
    }),
    maxMessageBytes: 1e6,
    maxBacklogBytes: 1e6,
  });
  const connection = new FakeConnection<number[]>("alice");
  const alice = hub.join(connection);
  for (const size of [1e6, 1e5, 1e5, 1e5, 1e6]) hub.publish(alice, size, size);
  await until(() => hub.stats().queuedMessages === 0, "the batches");
  assertEquals(connection.heard, [[1e6], [1e5, 1e5], [1e5], [1e6]]);
});

Deno.test("Hub evicts a sender whose waiting messages need too many deliveries", async () => {
  const { hub, join, left } = setUp();
  const alice = join("alice"), bob = join("bob");
  for (let i = 0; i <= 2 ** 20; i++) hub.publish(bob.member, "", 0);
  hub.publish(alice.member, "hello", 5);
  assertEquals([left, bob.connection.closes], [[["bob", "rate"]], ["rate"]]);
  await flushed(hub);
  assertEquals(alice.connection.heard, ["hello"]);
});

Deno.test("Hub with too much waiting in total evicts the sender with the most", async () => {
  const { hub, join, left } = setUp({ maxMessageBytes: 2 ** 20 });
  const alice = join("alice"), bob = join("bob"), cathy = join("cathy");
  hub.publish(alice.member, "hello", 5);
  for (let i = 0; i < 40; i++) hub.publish(bob.member, "b", 2 ** 20);
  for (let i = 0; i < 30; i++) hub.publish(cathy.member, "c", 2 ** 20);
  assertEquals(left, [["bob", "rate"]]);
  await flushed(hub);
  assertEquals(alice.connection.heard, ["hello", ...Array(30).fill("c")]);
});

Deno.test("Hub stops reading from a flooding sender until it has less than a batch waiting", async () => {
  const { hub } = setUp({ maxMessageBytes: 2 ** 20 });
  const reading: boolean[] = [];
  const connection = Object.assign(new FakeConnection("alice"), {
    pause: () => reading.push(false),
    resume: () => reading.push(true),
  });
  const alice = hub.join(connection);
  for (let i = 0; i < 100; i++) hub.publish(alice, "a", 2 ** 20);
  assertEquals(reading, [false]);
  await flushed(hub);
  assertEquals([reading, connection.heard.length], [[false, true], 100]);
});

Deno.test("Hub keeps a member whose backlog is exactly at the limit", async () => {
  const { hub, join, left } = setUp();
  const alice = join("alice");
  alice.connection.held = 100;
  hub.publish(alice.member, "hello", 5);
  await endOfTurn();
  assertEquals(left, []);
  assertEquals(alice.connection.heard, ["hello"]);
});

Deno.test("Hub evicts a member that sends too large a message and does not relay it", async () => {
  const { hub, join, left } = setUp();
  const alice = join("alice"), bob = join("bob");
  hub.publish(alice.member, "ten bytes!", 10);
  hub.publish(alice.member, "eleven byte", 11);
  await endOfTurn();
  assertEquals(left, [["alice", "too_big"]]);
  assertEquals(alice.connection.closes, ["too_big"]);
  assertEquals(bob.connection.heard, ["ten bytes!"]);
});

Deno.test("Hub evicts a member that sends but may only listen and relays none of its messages", async () => {
  const { hub, join, left } = setUp();
  const alice = join("alice");
  const connection = new FakeConnection("bob");
  connection.mayTalk = false;
  const bob = hub.join(connection);
  hub.publish(alice.member, "to all", 6);
  await endOfTurn();
  hub.publish(bob, "eleven byte", 11);
  await endOfTurn();
  assertEquals(left, [["bob", "role"]]);
  assertEquals([connection.heard, connection.closes], [["to all"], ["role"]]);
  assertEquals(alice.connection.heard, ["to all"]);
});

Deno.test("Hub evicts expired members, by the time that the caller passes", () => {
  const { hub, left } = setUp();
  const join = (peer: string, expires: number) => {
    const connection = new FakeConnection(peer);
    connection.expires = expires;
    hub.join(connection);
    return connection;
  };
  const [alice] = [join("alice", 1000), join("bob", 2000), join("cathy", Infinity)];
  hub.expire(999);
  assertEquals(left, []);
  hub.expire(1000);
  hub.expire(1999);
  assertEquals([left, alice.closes], [[["alice", "expired"]], ["expired"]]);
  hub.expire(Number.MAX_VALUE);
  assertEquals(left, [["alice", "expired"], ["bob", "expired"]]);
  assertEquals([hub.size, hub.stats().evictions.expired], [1, 2]);
});

Deno.test("Hub counts a member that leaves several times only once, under the first cause", () => {
  const { hub, join, left } = setUp();
  const alice = join("alice");
  hub.leave(alice.member, "idle");
  hub.leave(alice.member, "closed");
  hub.leave(alice.member, "error");
  assertEquals(left, [["alice", "idle"]]);
  assertEquals(hub.stats().disconnections, 1);
  assertEquals(hub.stats().evictions, {
    slow: 0,
    rate: 0,
    too_big: 0,
    role: 0,
    expired: 0,
    idle: 1,
    gap: 0,
    cluster: 0,
    error: 0,
  });
});

Deno.test("Hub counts messages, deliveries and bytes", async () => {
  const { hub, join } = setUp();
  const alice = join("alice"), bob = join("bob");
  hub.publish(alice.member, "four", 4);
  hub.publish(bob.member, "", 0);
  await endOfTurn();
  bob.connection.held = 30;
  alice.connection.held = 12;
  assertEquals(hub.stats(), {
    connected: 2,
    connections: 2,
    disconnections: 0,
    messages: 2,
    receivedBytes: 4,
    deliveries: 4,
    sentBytes: 8,
    evictions: {
      slow: 0,
      rate: 0,
      too_big: 0,
      role: 0,
      expired: 0,
      idle: 0,
      gap: 0,
      cluster: 0,
      error: 0,
    },
    droppedMessages: 0,
    queuedMessages: 0,
    replayedMessages: 0,
    postedMessages: 0,
    historyBytes: 0,
    rooms: 1,
    backlogBytes: 42,
    backlogBytesMax: 30,
  });
});

Deno.test("Hub sends queued messages before it closes its members' connections", async () => {
  const { hub, join } = setUp();
  const alice = join("alice");
  hub.publish(alice.member, "last", 4);
  const closed = hub.close();
  hub.publish(alice.member, "too late", 8);
  assertEquals([alice.connection.heard, alice.connection.closes], [[], []]);
  await endOfTurn();
  assertEquals([alice.connection.heard, alice.connection.closes], [["last"], ["shutdown"]]);
  hub.leave(alice.member, "closed");
  await closed;
  await endOfTurn();
  assertEquals(alice.connection.heard, ["last"]);
});

Deno.test("Hub that is closing also closes the connection of a late member and waits for it", async () => {
  const { hub, join } = setUp();
  const alice = join("alice");
  const closed = hub.close();
  const bob = join("bob");
  assertEquals(bob.connection.closes, ["shutdown"]);
  hub.leave(alice.member, "closed");
  hub.leave(bob.member, "closed");
  await closed;
  await hub.close();
});

Deno.test("Hub terminates members that are still connected", async () => {
  const { hub, join, left } = setUp();
  join("alice");
  const closed = hub.close();
  const report = hub.terminate();
  await closed;
  assertEquals(left, [["alice", "terminated"]]);
  assertEquals(report, { closed: 0, terminated: 1 });
  assertEquals(hub.size, 0);
});

/** A real hub behind the interface of the model's steps. */
class RealHub implements Subject {
  readonly #setup: ReturnType<typeof setUp>;
  readonly #members: ReturnType<ReturnType<typeof setUp>["join"]>[] = [];

  constructor(policy: Policy) {
    this.#setup = setUp({ ...policy, maxBatchDeliveries: Infinity }); // One batch per turn.
  }

  join(): void {
    this.#members.push(this.#setup.join(`member ${this.#members.length}`));
  }

  send(who: number, message: string): void {
    this.#setup.hub.publish(this.#members[who].member, message, 3);
  }

  leave(who: number, cause: Cause): void {
    this.#setup.hub.leave(this.#members[who].member, cause);
  }

  hold(who: number, bytes: number): void {
    this.#members[who].connection.held = bytes;
  }

  async turn(): Promise<void> {
    await endOfTurn();
    await flushed(this.#setup.hub);
  }

  outcome(): Outcome {
    const { hub, left } = this.#setup;
    const { connected, connections, disconnections, messages, ...stats } = hub.stats();
    assertEquals([connections, disconnections], [connected + left.length, left.length]);
    const members = this.#members.map(({ connection: { peer, heard } }) => ({
      heard,
      causes: left.filter(([each]) => each === peer).map(([, cause]) => cause),
    }));
    const { deliveries, droppedMessages: dropped } = stats;
    return { members, connected, messages, deliveries, dropped };
  }

  end(): void {
    this.#setup.hub.terminate();
  }
}

Deno.test("Hub always does what a simple list would do, under any policy", async () => {
  const seen = { slow: 0, dropped: 0, unechoed: 0 };
  const run = async (policy: Policy, steps: Step[]) => {
    const hub = new RealHub(policy), model = new HubModel(policy);
    await perform(steps, [model, hub], () => {
      assertEquals(hub.outcome().connected, model.outcome().connected);
    });
    const outcome = model.outcome();
    assertEquals(hub.outcome(), outcome);
    hub.end();
    seen.slow += outcome.members.filter(({ causes }) => causes.includes("slow")).length;
    seen.dropped += outcome.dropped;
    seen.unechoed += model.unechoed;
  };
  await fc.assert(fc.asyncProperty(POLICY, STEPS, run), { numRuns: 60 });
  assert(seen.slow > 0 && seen.dropped > 0 && seen.unechoed > 0, JSON.stringify(seen));
});
