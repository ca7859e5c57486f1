import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import {
  type Cause,
  type Connection,
  type Ending,
  Hub,
  type HubOptions,
  type Member,
} from "./hub.ts";

/** Stands in for a socket: the one thing that real ones cannot do is to have a given backlog. */
class FakeConnection implements Connection<string> {
  readonly heard: string[] = [];
  readonly closes: Ending[] = [];
  held = 0;

  constructor(readonly peer: string) {}

  backlog(): number {
    return this.held;
  }

  write(message: string): void {
    this.heard.push(message);
  }

  close(ending: Ending): void {
    this.closes.push(ending);
  }

  evict(ending: Ending): void {
    this.closes.push(ending);
  }

  terminate(): void {}
}

function setUp(changes: Partial<HubOptions<string, string>> = {}) {
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
    onLeave: ({ peer }, cause) => left.push([peer, cause]),
    ...changes,
  });
  const join = (peer: string) => {
    const connection = new FakeConnection(peer);
    return { connection, member: hub.join(connection) };
  };
  return { hub, join, left, batches: () => batches };
}

/** Waits for the end of the turn, in which a hub sends what is queued. */
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

/** Waits until a hub has sent all that is queued. */
async function flushed(hub: Hub<string, string>): Promise<void> {
  const deadline = performance.now() + 20_000;
  while (hub.stats().queuedMessages > 0) {
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

Deno.test("Hub without echo leaves out the sender, and nothing else changes", async () => {
  const { hub, join } = setUp({ echo: false, maxBatchDeliveries: Infinity });
  const alice = join("alice"), bob = join("bob"), cathy = join("cathy");
  for (
    const [sender, message] of [[alice, "a1"], [bob, "b1"], [alice, "a2"], [alice, "a3"]] as const
  ) {
    hub.publish(sender.member, message, 2);
  }
  await turn();
  assertEquals(alice.connection.heard, ["b1"]);
  assertEquals(bob.connection.heard, ["a1", "a2", "a3"]);
  assertEquals(cathy.connection.heard, ["a1", "b1", "a2", "a3"]);
  const { deliveries, sentBytes } = hub.stats();
  assertEquals([deliveries, sentBytes], [8, 16]);
});

Deno.test("Hub that drops skips whole messages for a slow member until it has caught up", async () => {
  const { hub, join, left } = setUp({ slowClient: "drop" });
  const alice = join("alice"), cathy = join("cathy");
  for (const [held, message] of [[101, "1"], [1, "2"], [0, "3"], [100, "4"], [102, "5"]] as const) {
    cathy.connection.held = held;
    hub.publish(alice.member, message, 1);
    await flushed(hub);
  }
  assertEquals(alice.connection.heard, ["1", "2", "3", "4", "5"]);
  assertEquals(cathy.connection.heard, ["3", "4"]);
  assertEquals([left, hub.stats().droppedMessages, hub.stats().deliveries], [[], 3, 7]);
});

Deno.test("Hub gives a member one second's worth of messages at once, and evicts who sends more", async () => {
  const { hub, join, left } = setUp({ maxMessagesPerSecond: 3 });
  const alice = join("alice"), bob = join("bob");
  for (let i = 0; i < 3; i++) hub.publish(alice.member, "a", 1);
  for (let i = 0; i < 4; i++) hub.publish(bob.member, "b", 1);
  assertEquals([left, bob.connection.closes], [[["bob", "rate"]], ["rate"]]);
  await new Promise((resolve) => setTimeout(resolve, 400)); // More than a third of a second.
  hub.publish(alice.member, "a", 1);
  await flushed(hub);
  assertEquals(alice.connection.heard, ["a", "a", "a", "b", "b", "b", "a"]);
  assertEquals([left.length, hub.stats().messages], [1, 7]);
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
  await flushed(hub);
  assertEquals(left, [["cathy", "slow"]]);
  assertEquals(cathy.connection.closes, ["slow"]);
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
  await flushed(hub);
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
  await flushed(hub);
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
  await flushed(hub);
  assertEquals(bob.connection.heard, [...burst, "and I"]);
  assertEquals([batches(), hub.stats().queuedMessages], [3, 0]);
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
  assertEquals([left, bob.connection.closes], [[["bob", "rate"]], ["rate"]]);
  await flushed(hub);
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
  assertEquals(alice.connection.closes, ["too_big"]);
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
    queuedMessages: 0,
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
  assertEquals([alice.connection.heard, alice.connection.closes], [["last"], ["shutdown"]]);
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
  assertEquals(bob.connection.closes, ["shutdown"]);
  hub.leave(alice.member, "closed");
  hub.leave(bob.member, "closed");
  await closed;
  await hub.close();
});

Deno.test("Hub terminates the members that have not gone away", async () => {
  const { hub, join, left } = setUp();
  join("alice");
  const closed = hub.close();
  const report = hub.terminate();
  await closed;
  assertEquals(left, [["alice", "terminated"]]);
  assertEquals(report, { closed: 0, terminated: 1 });
  assertEquals(hub.size, 0);
});

type Step =
  | { do: "join" }
  | { do: "turn" }
  | { do: "send"; who: number }
  | { do: "leave"; who: number; cause: Cause }
  | { do: "hold"; who: number; bytes: number };

const who = fc.nat(9);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 2, arbitrary: fc.record({ do: fc.constant("join" as const) }) },
  { weight: 8, arbitrary: fc.record({ do: fc.constant("send" as const), who }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant("leave" as const),
      who,
      cause: fc.constantFrom<Cause>("closed", "error", "idle"),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant("hold" as const),
      who,
      bytes: fc.constantFrom(0, 0, 1, 100, 101),
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant("turn" as const) }) },
);

/** What a member is in the model: a list of what it must have heard. */
interface Modelled {
  connection: FakeConnection;
  member: Member;
  heard: string[];
  cause: Cause | null;
  behind: boolean;
}

Deno.test("Hub does what a list would do, under any operations, slow members and either policy", async () => {
  const policy = fc.record({
    echo: fc.boolean(),
    slowClient: fc.constantFrom("disconnect" as const, "drop" as const),
  });
  const seen = { evicted: 0, dropped: 0, own: 0 };
  const run = async (
    { echo, slowClient }: { echo: boolean; slowClient: "disconnect" | "drop" },
    steps: Step[],
  ) => {
    const { hub, join, left } = setUp({ echo, slowClient });
    const all: Modelled[] = [];
    const present = () => all.filter(({ cause }) => cause === null);
    let queue: { from: Modelled; message: string }[] = [];
    let messages = 0, dropped = 0;

    const endTurn = async () => {
      if (queue.length > 0) {
        for (const each of present()) {
          const { held } = each.connection;
          if (slowClient === "disconnect" && held > 100) each.cause = "slow";
          each.behind = held > 100 || (each.behind && held > 0);
        }
        for (const each of present()) {
          const due = queue.filter(({ from }) => echo || from !== each).map(({ message }) =>
            message
          );
          seen.own += queue.length - due.length;
          if (each.behind) dropped += due.length;
          else each.heard.push(...due);
        }
        queue = [];
      }
      await turn();
      await flushed(hub);
    };
    for (const step of steps) {
      if (step.do === "join") {
        all.push({ ...join(`member ${all.length}`), heard: [], cause: null, behind: false });
      } else if (step.do === "turn") {
        await endTurn();
      } else if (all.length > 0) {
        const each = all[step.who % all.length];
        if (step.do === "hold") each.connection.held = step.bytes;
        else if (step.do === "leave") {
          hub.leave(each.member, step.cause);
          each.cause ??= step.cause;
        } else {
          const message = `${messages}`;
          hub.publish(each.member, message, 3);
          if (each.cause === null) queue.push({ from: each, message: `${messages++}` });
        }
      }
      const { connected, connections, disconnections } = hub.stats();
      assertEquals([connected, connections], [present().length, all.length]);
      assertEquals(disconnections, connections - connected);
    }
    await endTurn();
    for (const { connection, heard } of all) assertEquals(connection.heard, heard, connection.peer);
    const causes = new Map(all.map(({ connection, cause }) => [connection.peer, cause]));
    assertEquals(left.length, all.length - present().length, "a member left twice");
    for (const [peer, cause] of left) assertEquals(cause, causes.get(peer), peer);
    const stats = hub.stats();
    assertEquals([stats.messages, stats.droppedMessages], [messages, dropped]);
    assertEquals(stats.deliveries, all.reduce((sum, { heard }) => sum + heard.length, 0));
    seen.evicted += stats.evictions.slow;
    seen.dropped += dropped;
  };
  await fc.assert(
    fc.asyncProperty(policy, fc.array(step, { maxLength: 80, size: "max" }), run),
    { numRuns: 200 },
  );
  assert(seen.evicted > 0 && seen.dropped > 0 && seen.own > 0, JSON.stringify(seen));
});
