import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { type Batch, Hub, type Member, type Order } from "../hub.ts";
import { framesOf, textsOf } from "../testing/batches.ts";
import { encodeTexts } from "../testing/encoded.ts";
import { FakeConnection } from "../testing/fake_connection.ts";
import { endOfTurn, until } from "../testing/wait.ts";

const MAX_BACKLOG_BYTES = 1000;

/** The time that passes between two readings of the clock, so that waiting times run out quickly. */
const LOOK_MILLISECONDS = 50;

/** The rooms that members may be in. */
const ROOMS = ["/", "/one", "/two"];

/** The order that several hubs share. */
class Stream {
  readonly batches: { batch: Batch; from: Site }[] = [];

  get texts(): string[] {
    return this.batches.flatMap(({ batch }) => textsOf(batch));
  }
}

/** A client of a hub, and whether it has left of its own accord. */
interface Visitor {
  readonly connection: FakeConnection;
  readonly member: Member;
  left: boolean;
}

/** A hub and its place in the order. */
class Site implements Order {
  readonly maxBatchBytes = 1024;
  readonly sectionBytes = 100;
  readonly hub: Hub<string, string>;
  readonly members: Visitor[] = [];
  readonly #stream: Stream;
  #place: number;
  #underway = false;
  #paused = false;

  constructor(stream: Stream, echo: boolean) {
    this.#stream = stream;
    this.#place = stream.batches.length;
    let now = 0;
    this.hub = new Hub<string, string>({
      encode: encodeTexts,
      shared: {
        order: this,
        pack: framesOf,
        unpack: (frames) => encodeTexts(textsOf([{ room: "/", ...frames }])),
      },
      echo,
      maxBatchDeliveries: 10,
      maxMessageBytes: 512,
      maxBacklogBytes: MAX_BACKLOG_BYTES,
      now: () => now += LOOK_MILLISECONDS,
    });
  }

  append(batch: Batch): void {
    assert(!this.#underway, "two batches under way");
    assertEquals(
      new Set(batch.map(({ room }) => room)).size,
      batch.length,
      "two sections of a room",
    );
    const bytes = batch.reduce((sum, { frames }) => sum + frames.length, 0);
    const space = this.maxBatchBytes - this.sectionBytes * (batch.length - 1);
    assert(bytes <= space, `a batch has ${bytes} bytes for ${space}`);
    this.#underway = true;
    this.#stream.batches.push({ batch, from: this });
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
  }

  get isAtEnd(): boolean {
    return this.#place === this.#stream.batches.length;
  }

  /** Delivers up to `count` of the next batches. */
  read(count: number): void {
    for (; count > 0 && !this.isAtEnd && !this.#paused; count--) this.#deliver();
  }

  /** Loses up to `count` of the next batches. */
  miss(count: number): void {
    if (this.#paused || this.isAtEnd) return;
    for (; count > 0 && !this.isAtEnd; count--) {
      if (this.#stream.batches[this.#place].from === this) this.#deliver();
      else this.#place++;
    }
    this.expel("gap");
  }

  expel(ending: "gap" | "cluster"): void {
    const { count, next } = this.hub.expel(ending);
    next(count);
  }

  #deliver(): void {
    const { batch, from } = this.#stream.batches[this.#place++];
    if (from === this) this.#underway = false;
    if (from === this) this.hub.deliver(batch, true, 0);
    else this.hub.deliver(batch.filter(({ room }) => this.hub.wants(room)), false, 0);
  }

  join(room = ROOMS[0]): void {
    const connection = new FakeConnection(`${this.members.length}`, room);
    this.members.push({ connection, member: this.hub.join(connection), left: false });
  }

  leave(visitor: Visitor): void {
    visitor.left = true;
    this.hub.leave(visitor.member, "closed");
  }
}

type Step =
  | { do: "join"; room: string }
  | { do: "turn" | "lose" }
  | { do: "read" | "miss"; count: number }
  | { do: "send" | "leave"; who: number }
  | { do: "hold"; who: number; bytes: number };

const room = fc.constantFrom(...ROOMS);
const who = fc.nat(9), count = fc.integer({ min: 1, max: 4 });
const bytes = fc.constantFrom(0, 0, MAX_BACKLOG_BYTES, 2 * MAX_BACKLOG_BYTES);
const STEPS: fc.Arbitrary<[site: number, step: Step][]> = fc.array(
  fc.tuple(
    fc.nat(1),
    fc.oneof(
      { weight: 2, arbitrary: fc.record({ do: fc.constant("join" as const), room }) },
      { weight: 2, arbitrary: fc.record({ do: fc.constant("turn" as const) }) },
      { weight: 6, arbitrary: fc.record({ do: fc.constant("send" as const), who }) },
      { weight: 4, arbitrary: fc.record({ do: fc.constant("read" as const), count }) },
      { weight: 3, arbitrary: fc.record({ do: fc.constant("hold" as const), who, bytes }) },
      { weight: 1, arbitrary: fc.record({ do: fc.constant("leave" as const), who }) },
      { weight: 1, arbitrary: fc.record({ do: fc.constant("miss" as const), count }) },
      { weight: 1, arbitrary: fc.record({ do: fc.constant("lose" as const) }) },
    ),
  ),
  { maxLength: 80, size: "max" },
);

async function act(sites: readonly Site[], at: number, step: Step, i: number): Promise<void> {
  const site = sites[at];
  switch (step.do) {
    case "join":
      return site.join(step.room);
    case "turn":
      return await endOfTurn();
    case "lose":
      return site.expel("cluster");
    case "read":
      return site.read(step.count);
    case "miss":
      return site.miss(step.count);
  }
  if (site.members.length === 0) return;
  const who = step.who % site.members.length, visitor = site.members[who];
  if (step.do === "hold") visitor.connection.held = step.bytes;
  else if (step.do === "leave") site.leave(visitor);
  else {
    const text = `${at}.${who} in ${visitor.connection.room}: ${i}`.padEnd(200, ".");
    site.hub.publish(visitor.member, text, text.length);
  }
}

/** Waits until all messages have arrived, while no member holds anything up. */
async function settle(sites: readonly Site[]): Promise<void> {
  for (const { members } of sites) members.forEach(({ connection }) => connection.held = 0);
  await until(async () => {
    await endOfTurn();
    for (const site of sites) site.read(Infinity);
    return sites.every(({ hub, isAtEnd }) => isAtEnd && hub.stats().queuedMessages === 0);
  }, "all to be delivered");
  await endOfTurn();
}

/** Sends a message from the first member of a hub and waits until it has its place in the order. */
async function say(stream: Stream, site: Site, text: string): Promise<void> {
  site.hub.publish(site.members[0].member, text, text.length);
  await until(() => stream.texts.includes(text), "a message to have its place");
  site.read(1);
}

async function runThrough(echo: boolean, steps: readonly [number, Step][]): Promise<void> {
  const stream = new Stream();
  const sites = [new Site(stream, echo), new Site(stream, echo)];
  for (const [i, [at, step]] of steps.entries()) await act(sites, at, step, i);
  await settle(sites);
  for (const [at, { members }] of sites.entries()) {
    for (const [who, { connection: { room, heard, closes }, left }] of members.entries()) {
      const due = stream.texts.filter((text) =>
        text.includes(` in ${room}: `) && (echo || !text.startsWith(`${at}.${who} `))
      );
      const start = heard.length > 0 ? due.indexOf(heard[0]) : due.length;
      assertEquals(heard, due.slice(start, start + heard.length));
      if (closes.length === 0 && !left && heard.length > 0) {
        assertEquals(start + heard.length, due.length);
      }
    }
  }
}

Deno.test("members of hubs with one order receive a contiguous part of their room's order", async () => {
  await fc.assert(fc.asyncProperty(fc.boolean(), STEPS, runThrough), { numRuns: 200 });
});

Deno.test("a member that joins an empty room receives nothing from before a gap", async () => {
  const stream = new Stream();
  const near = new Site(stream, true), far = new Site(stream, true);
  near.join();
  far.join();
  near.members[0].connection.held = 2 * MAX_BACKLOG_BYTES;
  await say(stream, far, "held up");
  await say(stream, far, "heard by nobody");
  near.read(1);
  await endOfTurn();
  near.leave(near.members[0]);
  near.read(1);
  near.join();
  await say(stream, far, "after");
  near.read(1);
  await settle([near, far]);
  assertEquals(near.members.map(({ connection }) => connection.heard), [[], ["after"]]);
});

Deno.test("a member that joins behind a slow crowd receives nothing from before a gap", async () => {
  const stream = new Stream();
  const near = new Site(stream, true), far = new Site(stream, true);
  for (let i = 0; i < 3; i++) near.join();
  far.join();
  for (const { connection } of near.members) connection.held = 2 * MAX_BACKLOG_BYTES;
  await say(stream, far, "held up");
  near.read(1);
  await endOfTurn();
  near.join();
  await say(stream, far, "missed");
  near.miss(1);
  near.join();
  await say(stream, far, "after");
  near.read(1);
  await settle([near, far]);
  assertEquals(near.members.map(({ connection }) => connection.heard), [[], [], [], [], ["after"]]);
  assertEquals(
    near.members.map(({ connection }) => connection.closes),
    [["gap"], ["gap"], ["gap"], ["gap"], []],
  );
});
