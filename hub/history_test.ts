import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { Hub, type HubOptions, type Replay } from "../hub.ts";
import { batchOf, framesOf, textsOf } from "../testing/batches.ts";
import { encodeTexts } from "../testing/encoded.ts";
import { FakeConnection } from "../testing/fake_connection.ts";
import { endOfTurn, until } from "../testing/wait.ts";
import { History } from "./history.ts";
import { ENTRY_BYTES } from "./log.ts";
import { MESSAGE_BYTES } from "./queue.ts";

const MAX_BACKLOG_BYTES = 10_000;

/** A hub with a history and a clock that the test controls. */
function setUp(changes: Partial<HubOptions<string, string>> = {}) {
  const clock = { now: 0 };
  const hub = new Hub<string, string>({
    encode: encodeTexts,
    maxMessageBytes: 1e6,
    maxBacklogBytes: MAX_BACKLOG_BYTES,
    history: { bytes: 1e6, milliseconds: 10_000 },
    now: () => clock.now,
    ...changes,
  });
  const join = (replay: Replay | null = null, room = "/") => {
    const connection = Object.assign(new FakeConnection("someone", room), { replay });
    return { connection, member: hub.join(connection) };
  };
  const flushed = () => until(() => hub.stats().queuedMessages === 0, "the queue to be sent");
  const alice = join();
  /** Sends a message of one byte and waits for its delivery. */
  const say = async (...texts: string[]) => {
    for (const text of texts) hub.publish(alice.member, text, text.length);
    await flushed();
  };
  return { hub, clock, join, say, flushed, alice };
}

/** Joins and returns the messages that are received at once. */
async function heardBy({ join }: ReturnType<typeof setUp>, replay: Replay | null, room = "/") {
  const { connection } = join(replay, room);
  await endOfTurn();
  return connection.heard.join("");
}

Deno.test("Hub gives a new member the last messages that it asks for, even part of a batch", async () => {
  const site = setUp();
  await site.say("a");
  await site.say("b", "c", "d");
  const replays: (Replay | null)[] = [null, ...[0, 1, 2, 3, 4, 1000].map((last) => ({ last }))];
  const heard = await Promise.all(replays.map((replay) => heardBy(site, replay)));
  assertEquals(heard, ["", "", "d", "cd", "bcd", "abcd", "abcd"]);
  const { replayedMessages, deliveries, sentBytes } = site.hub.stats();
  assertEquals([replayedMessages, deliveries, sentBytes], [14, 18, 18]);
});

Deno.test("Hub gives a new member the messages since the moment that it asks for", async () => {
  const site = setUp();
  for (const text of ["a", "b", "c"]) {
    site.clock.now += 1000;
    await site.say(text);
  }
  const milliseconds = [0, 999, 1000, 2000, 1e9];
  const heard = milliseconds.map((milliseconds) => heardBy(site, { milliseconds }));
  assertEquals(await Promise.all(heard), ["c", "c", "bc", "abc", "abc"]);
});

Deno.test("Hub gives a new member history, queued messages and all later ones without a gap", async () => {
  const { hub, join, say, flushed, alice } = setUp();
  await say("a", "b");
  hub.publish(alice.member, "c", 1);
  const { connection } = join({ last: 1 });
  hub.publish(alice.member, "d", 1);
  await flushed();
  await say("e");
  assertEquals(connection.heard.join(""), "bcde");
});

Deno.test("Hub bounds the history of all rooms together and discards the oldest first", async () => {
  const cost = 1 + MESSAGE_BYTES + ENTRY_BYTES;
  const site = setUp({ history: { bytes: 3 * cost, milliseconds: 1000 } });
  const bob = site.join(null, "/b");
  const sayInB = async (text: string) => {
    site.hub.publish(bob.member, text, 1);
    await site.flushed();
  };
  await site.say("a");
  await sayInB("1");
  await site.say("b");
  await sayInB("2");
  assertEquals(site.hub.stats().historyBytes, 3 * cost);
  assertEquals(await heardBy(site, { last: 9 }), "b");
  assertEquals(await heardBy(site, { last: 9 }, "/b"), "12");
  site.clock.now += 1001;
  site.hub.expire(0);
  assertEquals(site.hub.stats().historyBytes, 0);
  assertEquals(await heardBy(site, { last: 9 }), "");
});

Deno.test("Hub keeps an empty room as long as it has history, and no longer", async () => {
  const site = setUp({ maxRooms: 2 });
  const { hub, join } = site;
  const bob = join(null, "/b");
  hub.publish(bob.member, "b", 1);
  await site.flushed();
  hub.leave(bob.member, "closed");
  assertEquals([hub.stats().rooms, await heardBy(site, { last: 1 }, "/b")], [2, "b"]);
  site.clock.now += 10_001;
  hub.expire(0);
  assertEquals(hub.stats().rooms, 2); // It has a member again.
});

Deno.test("Hub discards the oldest empty room when there is one too many", async () => {
  const site = setUp({ maxRooms: 3 });
  const { hub, join } = site;
  for (const room of ["/b", "/c", "/d"]) {
    const { member } = join(null, room);
    hub.publish(member, room, 2);
    await site.flushed();
    hub.leave(member, "closed");
  }
  assertEquals(hub.stats().rooms, 3);
  const heard = ["/d", "/c"].map((room) => heardBy(site, { last: 1 }, room));
  assertEquals(await Promise.all(heard), ["/d", "/c"]);
});

Deno.test("Hub evicts a member that is too slow for the history that it asks for, and no other", async () => {
  const { hub, clock, join, say } = setUp({ history: { bytes: 1e6, milliseconds: 1000 } });
  await say("a");
  const slow = join({ last: 1 }), patient = join({ last: 1 });
  slow.connection.held = patient.connection.held = 2 * MAX_BACKLOG_BYTES;
  clock.now += 900;
  await say("b");
  patient.connection.held = 0;
  await until(() => patient.connection.heard.length === 2, "the replay");
  clock.now += 900;
  hub.expire(0);
  await say("c");
  await until(() => slow.connection.closes.length > 0, "the end");
  assertEquals([slow.connection.heard, slow.connection.closes], [[], ["gap"]]);
  assertEquals([patient.connection.heard, patient.connection.closes], [["a", "b", "c"], []]);
  assertEquals(hub.stats().evictions.gap, 1);
});

Deno.test("Hub neither waits for a member that receives history nor counts it as backlog", async () => {
  const { hub, join, say, alice } = setUp();
  for (let i = 0; i < 3; i++) await say("x".repeat(MAX_BACKLOG_BYTES));
  const slow = join({ last: 3 });
  slow.connection.held = MAX_BACKLOG_BYTES;
  for (const text of ["1", "2"]) {
    hub.publish(alice.member, text, 1);
    await endOfTurn();
    assertEquals(alice.connection.heard.at(-1), text);
  }
  assertEquals(hub.stats().backlogBytes, MAX_BACKLOG_BYTES);
  slow.connection.held = 0;
  await until(() => slow.connection.heard.length === 5, "the replay");
  assertEquals(slow.connection.closes, []);
});

Deno.test("Hub discards the history when messages are lost, since it would have a gap", async () => {
  const site = setUp();
  await site.say("a");
  site.hub.expel("gap").next(1);
  assertEquals([site.hub.stats().historyBytes, site.hub.stats().rooms], [0, 0]);
  assertEquals(await heardBy(site, { last: 9 }), "");
});

Deno.test("Hub in a cluster keeps the messages of rooms where it has no members, with their age", async () => {
  const site = setUp({
    shared: {
      order: {
        maxBatchBytes: 1000,
        sectionBytes: 100,
        append: () => {},
        pause: () => {},
        resume: () => {},
      },
      pack: framesOf,
      unpack: (frames) => encodeTexts(textsOf([{ room: "/", ...frames }])),
    },
  });
  const { hub } = site;
  assert(hub.wants("/b"));
  hub.deliver(batchOf(["a", "b"], "/b"), false, 3000);
  hub.deliver(batchOf(["c"], "/b"), false, 1000);
  hub.deliver(batchOf(["d"], "/b"), false, 0);
  await endOfTurn();
  await until(() => hub.stats().queuedMessages === 0, "the deliveries");
  assertEquals(hub.stats().rooms, 2);
  const asked = [0, 1000, 2999, 3000].map((milliseconds) => heardBy(site, { milliseconds }, "/b"));
  assertEquals(await Promise.all(asked), ["d", "cd", "cd", "abcd"]);
});

Deno.test("History discards the oldest batch of all rooms, and a batch that exceeds the bound alone", () => {
  const forgotten: string[] = [];
  const roomOf = (name: string) => ({ name, forgetOldest: () => forgotten.push(name) });
  const history = new History<ReturnType<typeof roomOf>>({ bytes: 10, milliseconds: 5 }, () => {});
  const a = roomOf("a"), b = roomOf("b");
  history.add(a, 4, 0);
  history.add(b, 4, 1);
  history.add(a, 4, 2);
  assertEquals([forgotten, history.bytes, history.length], [["a"], 8, 2]);
  history.add(b, 11, 3);
  assertEquals([forgotten, history.bytes, history.length], [["a", "b", "a", "b"], 0, 0]);
});

Deno.test("History forgets single rooms, and otherwise the oldest, as a plain list would", () => {
  const room = fc.nat(3);
  const steps = fc.array(fc.oneof(
    { weight: 4, arbitrary: fc.record({ add: room, bytes: fc.integer({ min: 1, max: 5 }) }) },
    { weight: 1, arbitrary: fc.record({ forget: room }) },
    { weight: 1, arbitrary: fc.constant("oldest" as const) },
  ));
  fc.assert(fc.property(steps, (steps) => {
    const logs = [0, 1, 2, 3].map((number) => ({
      number,
      left: 0,
      forgetOldest() {
        this.left--;
      },
    }));
    const history = new History<typeof logs[0]>({ bytes: 20, milliseconds: 1e9 }, () => {});
    let list: { add: number; bytes: number }[] = [];
    const sum = () => list.reduce((sum, { bytes }) => sum + bytes, 0);
    for (const step of steps) {
      if (step === "oldest") {
        if (list.length > 0) history.forgetOldest();
        list.shift();
      } else if ("add" in step) {
        logs[step.add].left++;
        history.add(logs[step.add], step.bytes, 0);
        list.push(step);
        while (sum() > 20) list.shift();
      } else {
        if (list.some(({ add }) => add === step.forget)) history.forget(logs[step.forget]);
        list = list.filter(({ add }) => add !== step.forget);
      }
      const count = (number: number) => list.filter(({ add }) => add === number).length;
      assertEquals([history.length, history.bytes], [list.length, sum()]);
      assertEquals(logs.map(({ left }) => left), logs.map(({ number }) => count(number)));
      const order = list.map(({ add }) => add);
      const byLast = [...new Set(order.toReversed())].reverse();
      assertEquals([...history.rooms].map(({ number }) => number), byLast);
    }
  }));
});

Deno.test("Hub forgets rooms with nobody in them for new ones, and nothing of rooms with members", async () => {
  const site = setUp({ maxRooms: 3 });
  await site.say("a", "b");
  const post = (room: string) =>
    site.hub.post({ room, address: "192.0.2.7", message: room, bytes: room.length });
  for (const room of ["/1", "/2", "/3", "/4"]) assertEquals(await post(room), "placed");
  assertEquals(site.hub.stats().rooms, 3);
  assertEquals(await heardBy(site, { last: 9 }), "ab");
  assertEquals(await heardBy(site, { last: 9 }, "/4"), "/4");
  assertEquals(await heardBy(site, { last: 9 }, "/2"), "");
});

type Step =
  | { do: "join"; replay: Replay | null; slow: boolean }
  | { do: "send" | "turn" | "drain" }
  | { do: "wait"; milliseconds: number };

const REPLAY = fc.oneof(
  fc.constant(null),
  fc.record({ last: fc.nat(12) }),
  fc.record({ milliseconds: fc.nat(300) }),
);
const STEPS: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    {
      weight: 3,
      arbitrary: fc.record({
        do: fc.constant("join" as const),
        replay: REPLAY,
        slow: fc.boolean(),
      }),
    },
    {
      weight: 8,
      arbitrary: fc.record({
        do: fc.constantFrom("send" as const, "turn", "drain"),
      }) as fc.Arbitrary<
        Step
      >,
    },
    {
      weight: 2,
      arbitrary: fc.record({ do: fc.constant("wait" as const), milliseconds: fc.nat(100) }),
    },
  ),
  { maxLength: 80, size: "max" },
);

Deno.test("members that ask for history receive exactly that and everything after it", async () => {
  let cut = 0, gaps = 0;
  const run = async (milliseconds: number, bytes: number, steps: Step[]) => {
    const { hub, clock, join, say, alice } = setUp({ history: { bytes, milliseconds } });
    const told: number[] = []; // The delivery times of the messages.
    const visitors: { connection: FakeConnection; from: number; to: number }[] = [];
    let said = 0;
    const deliver = () => {
      while (told.length < alice.connection.heard.length) told.push(clock.now);
    };
    for (const step of steps) {
      if (step.do === "send") hub.publish(alice.member, `${said++}`, 10);
      else if (step.do === "turn") await endOfTurn();
      else if (step.do === "wait") clock.now += step.milliseconds;
      else if (step.do === "join") {
        const { replay, slow } = step, { connection } = join(replay);
        if (slow) connection.held = 2 * MAX_BACKLOG_BYTES;
        const since = replay && "milliseconds" in replay ? clock.now - replay.milliseconds : 0;
        const from = replay === null
          ? told.length
          : "last" in replay
          ? Math.max(0, told.length - replay.last)
          : told.findIndex((time) => time >= since) >>> 0;
        visitors.push({ connection, from: Math.min(from, told.length), to: told.length });
      } else visitors.forEach(({ connection }) => connection.held = 0);
      deliver();
      assert(hub.stats().historyBytes <= bytes, "more is kept than may be");
    }
    for (const { connection } of visitors) connection.held = 0;
    await say("end");
    const { heard: all } = alice.connection;
    await until(
      () =>
        visitors.every(({ connection: { heard, closes } }) =>
          closes.length > 0 || heard.at(-1) === "end"
        ),
      "the replays",
    );
    for (const { connection: { heard, closes }, from, to } of visitors) {
      const start = heard.length > 0 ? all.indexOf(heard[0]) : to;
      assertEquals(heard, all.slice(start, start + heard.length));
      gaps += closes.length;
      if (closes.length > 0) continue;
      assertEquals(start + heard.length, all.length);
      assert(start >= from && start <= to, `heard from ${start}, not ${from} to ${to}`);
      if (start > from) cut++;
      else assertEquals(start, from);
    }
  };
  const bounds = fc.tuple(fc.constantFrom(50, 200, 10_000), fc.constantFrom(300, 1000, 1e6));
  await fc.assert(
    fc.asyncProperty(
      bounds,
      STEPS,
      ([milliseconds, bytes], steps) => run(milliseconds, bytes, steps),
    ),
    { numRuns: 150 },
  );
  assert(cut > 0, `${cut} were given less, ${gaps} were closed`);
});

Deno.test("Hub makes few writes in one turn for members that replay many small batches", async () => {
  const site = setUp();
  const texts = Array.from({ length: 200 }, (_, i) => `${i % 10}`);
  for (const text of texts) await site.say(text);
  const all = Array.from({ length: 20 }, () => site.join({ last: 200 }).connection);
  const written = () => all.reduce((sum, { heard }) => sum + heard.length, 0);
  await endOfTurn();
  const atOnce = written();
  assert(atOnce > 0 && atOnce <= 1024, `${atOnce} writes in one turn`);
  await until(() => written() === 4000, "the replays");
  for (const { heard } of all) assertEquals(heard, texts);
});

Deno.test("Hub feeds a laggard before members that receive history", async () => {
  const site = setUp({ maxBacklogBytes: 1e6 });
  for (let i = 0; i < 50; i++) await site.say("x".repeat(15_000));
  const { connection } = site.join();
  connection.held = 200_000;
  await site.say("missed");
  const replays = Array.from({ length: 60 }, () => site.join({ last: 100 }).connection);
  connection.held = 0;
  await endOfTurn();
  assert(replays.some(({ heard }) => heard.length === 0), "all replays were fed in one turn");
  assertEquals(connection.heard, ["missed"]);
  await until(() => replays.every(({ heard }) => heard.length === 51), "the replays");
});
