import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { encodeTexts } from "../testing/encoded.ts";
import { FakeConnection } from "../testing/fake_connection.ts";
import { type LocalOptions, LocalSource } from "./local_source.ts";
import { Tracked } from "./member.ts";
import { Line, MESSAGE_BYTES } from "./queue.ts";
import { Room, type RoomOptions } from "./room.ts";

/** A socket that holds all written data until it is drained. */
class FakeSocket extends FakeConnection {
  override write(message: string): void {
    super.write(message);
    this.held += SIZE;
  }

  drain(bytes = Infinity): void {
    this.held = Math.max(0, this.held - bytes);
  }
}

type Client = Tracked<string, string> & { connection: FakeSocket };

/** The size of every message. */
const SIZE = 100;
/** The size for which a message counts in the log. */
const COST = SIZE + MESSAGE_BYTES;
const HIGH_WATER = 2 * SIZE, MAX_BACKLOG = 10 * COST;

type Changes = Partial<RoomOptions<string, string> & LocalOptions<string, string>>;

function setUp({ drop = false, ...options }: Changes & { drop?: boolean } = {}) {
  const evicted: string[] = [];
  const tally = {
    messages: 0,
    receivedBytes: 0,
    deliveries: 0,
    sentBytes: 0,
    droppedMessages: 0,
    replayedMessages: 0,
  };
  const evict = (member: Tracked<string, string>) => {
    evicted.push(member.peer);
    room.leave(member);
  };
  const source = new LocalSource<string, string>(
    {
      encode: encodeTexts,
      echo: true,
      ...options,
    },
    tally,
    { bytes: 0 },
  );
  const { queue } = source;
  const room: Room<string, string> = new Room("/", source, {
    maxBatchDeliveries: Infinity,
    isAlone: () => true,
    maxBacklogBytes: MAX_BACKLOG,
    highWaterBytes: HIGH_WATER,
    evictSlow: !drop,
    evict,
    history: null,
    onBatch: () => {},
    ...options,
  }, tally);
  let now = 0, said = 0;
  const join = (peer: string) => {
    const member = new Tracked<string, string>(new FakeSocket(peer), room) as Client;
    room.join(member, now);
    return member;
  };
  /** Sends a message and waits until it has its place in the order. All sockets but `stuck` drain. */
  const say = (sender: Client, stuck: readonly Client[] = []) => {
    const message = `${said++}`;
    queue.push(sender.line ??= new Line(sender), message, SIZE);
    for (let i = 0; queue.length > 0; i++) {
      assert(i < 20_000, "the head never moves on");
      room.turn(now += 1);
      for (const member of room.members()) {
        const client = member as Client;
        if (!stuck.includes(client)) client.connection.drain();
      }
    }
    return message;
  };
  const look = () => room.turn(now += 1);
  return { room, queue, join, say, look, evicted, tally };
}

const upTo = (count: number, from = 0) =>
  Array.from({ length: count - from }, (_, i) => `${from + i}`);

Deno.test("Room gives a lagging member nothing until its socket drains, then everything it missed", () => {
  const { join, say, look, evicted } = setUp();
  const alice = join("alice"), cathy = join("cathy");
  for (let i = 0; i < 8; i++) say(alice, [cathy]);
  assertEquals(cathy.connection.heard, upTo(3)); // Until its socket held more than the high water.
  assertEquals(alice.connection.heard, upTo(8));
  for (let i = 0; i < 8; i++) {
    cathy.connection.drain();
    look();
  }
  assertEquals([cathy.connection.heard, evicted, look()], [upTo(8), [], null]);
});

Deno.test("Room evicts a member when it is too far behind, not earlier and not much later", () => {
  const { room, join, say, evicted } = setUp();
  const alice = join("alice"), cathy = join("cathy");
  while (room.unsent(cathy) <= MAX_BACKLOG) {
    assertEquals(evicted, []);
    say(alice, [cathy]);
  }
  assertEquals(evicted, []);
  while (evicted.length === 0) {
    assert(room.unsent(cathy) <= 1.5 * MAX_BACKLOG + COST);
    say(alice, [cathy]);
  }
  assertEquals(evicted, ["cathy"]);
});

Deno.test("Room delivers the messages of other senders while a flood waits for a member", () => {
  const { queue, join, look, evicted } = setUp({ maxBacklogBytes: 64 * COST });
  const alice = join("alice"), bob = join("bob"), cathy = join("cathy");
  cathy.connection.held = 65 * COST;
  const flood = alice.line ??= new Line(alice);
  for (let i = 0; i < 2000; i++) queue.push(flood, "flood", SIZE);
  look();
  assertEquals(bob.connection.heard, []);
  queue.push(bob.line ??= new Line(bob), "hello", SIZE);
  look();
  assertEquals([bob.connection.heard, queue.length, evicted], [["hello"], 2000, []]);
});

Deno.test("Room keeps a member that lags but accepts data in bursts within the limit", () => {
  const { join, say, look, evicted } = setUp();
  const alice = join("alice"), cathy = join("cathy");
  for (let round = 0; round < 20; round++) {
    for (let i = 0; i < 8; i++) say(alice, [cathy]);
    for (let i = 0; i < 20; i++) {
      cathy.connection.drain();
      look();
    }
  }
  assertEquals([evicted, cathy.connection.heard], [[], upTo(160)]);
});

Deno.test("Room that drops messages leaves a single gap for a member that fell off and counts it", () => {
  const { join, say, look, evicted, tally } = setUp({ drop: true });
  const alice = join("alice"), cathy = join("cathy");
  for (let i = 0; i < 40; i++) say(alice, [cathy]);
  for (let i = 0; i < 40; i++) {
    cathy.connection.drain();
    look();
  }
  say(alice);
  const { heard } = cathy.connection;
  assertEquals(heard.slice(0, 3), upTo(3));
  const second = Number(heard[3]);
  assertEquals(heard.slice(3), upTo(41, second));
  assertEquals([evicted, tally.droppedMessages], [[], second - 3]);
});

Deno.test("Room keeps one log for all laggards and discards it when they have left", () => {
  const { room, join, say } = setUp();
  const alice = join("alice");
  const stuck = Array.from({ length: 50 }, (_, i) => join(`stuck ${i}`));
  for (let i = 0; i < 6; i++) say(alice, stuck);
  const pieces = new Set(stuck.map((member) => room.unsent(member)));
  assertEquals(pieces.size, 1);
  for (const member of stuck) room.leave(member);
  assertEquals([room.size, room.idle, room.unsent(alice)], [1, true, 0]);
});

Deno.test("Room closes the connection of a laggard only after it was given everything", () => {
  const { room, join, say, look } = setUp();
  const alice = join("alice"), cathy = join("cathy");
  for (let i = 0; i < 6; i++) say(alice, [cathy]);
  room.close();
  look();
  assertEquals([alice.connection.closes, cathy.connection.closes], [["shutdown"], []]);
  for (let i = 0; i < 6; i++) {
    cathy.connection.drain();
    look();
  }
  assertEquals([cathy.connection.heard, cathy.connection.closes], [upTo(6), ["shutdown"]]);
});

Deno.test("Room gives every member one order without unexpected gaps, whoever lags, under any policy", () => {
  const who = fc.nat(5);
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.record({ do: fc.constant("say" as const), who }) },
    {
      weight: 6,
      arbitrary: fc.record({ do: fc.constant("drain" as const), who, bytes: fc.nat(800) }),
    },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("join" as const) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("leave" as const), who }) },
    { weight: 3, arbitrary: fc.record({ do: fc.constant("look" as const) }) },
  );
  const policy = fc.record({ drop: fc.boolean(), echo: fc.boolean() });
  const seen = { evicted: 0, dropped: 0, fed: 0 };
  fc.assert(
    fc.property(policy, fc.array(step, { maxLength: 300, size: "max" }), (policy, steps) => {
      const { room, join, say, look, evicted, tally } = setUp(policy);
      const all: { member: Client; since: number; until: number; sent: string[] }[] = [];
      const enter = () => {
        all.push({ member: join(`${all.length}`), since: said, until: Infinity, sent: [] });
      };
      let said = 0;
      enter();
      for (const step of steps) {
        const one = all[("who" in step ? step.who : 0) % all.length];
        if (step.do === "join") enter();
        else if (step.do === "look") look();
        else if (step.do === "drain") one.member.connection.drain(step.bytes);
        else if (step.do === "leave") {
          room.leave(one.member);
          one.until = Math.min(one.until, said);
        } else if (one.until === Infinity && !evicted.includes(one.member.peer)) {
          one.sent.push(say(one.member, all.map(({ member }) => member)));
          said++;
        }
      }
      for (let i = 0; i < 1000; i++) { // In the end, all members read.
        for (const { member } of all) member.connection.drain();
        look();
      }
      let missed = 0;
      for (const { member, since, until, sent } of all) {
        const { heard } = member.connection;
        const due = upTo(Math.min(said, until), since)
          .filter((message) => policy.echo || !sent.includes(message));
        const gone = until < Infinity || evicted.includes(member.peer);
        if (!policy.drop) {
          assertEquals(heard, due.slice(0, heard.length), "a gap, or another order");
        } else {
          const places = heard.map((message) => due.indexOf(message));
          assertEquals(places, places.toSorted((a, b) => a - b), "another order");
          assert(!places.includes(-1) && new Set(places).size === places.length);
        }
        if (!gone) missed += due.length - heard.length;
        if (!gone && !policy.drop) assertEquals(heard.length, due.length, "something is missing");
      }
      if (all.every(({ until }) => until === Infinity)) assertEquals(missed, tally.droppedMessages);
      const heard = all.reduce((sum, { member }) => sum + member.connection.heard.length, 0);
      assertEquals([tally.deliveries, tally.sentBytes], [heard, heard * SIZE]);
      assertEquals(tally.messages, said);
      seen.evicted += evicted.length;
      seen.dropped += tally.droppedMessages;
      seen.fed += heard;
    }),
    { numRuns: 80 },
  );
  assert(seen.evicted > 0 && seen.dropped > 0 && seen.fed > 0, JSON.stringify(seen));
});
