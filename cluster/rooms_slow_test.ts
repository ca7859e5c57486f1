import { assert, assertEquals } from "@std/assert";
import { findHole, OneOrder } from "../testing/accidents.ts";
import { type Client, closeAll, connectAll, roomOf } from "../testing/client.ts";
import { has } from "../testing/daemon.ts";
import { NatsServer } from "../testing/nats.ts";
import { Program } from "../testing/program.ts";
import { RawClient } from "../testing/raw_client.ts";
import { scrape } from "../testing/scrape.ts";
import { burst, newcomers } from "../testing/siege.ts";
import { startRelay } from "../testing/start.ts";
import { Talker } from "../testing/talk.ts";
import { bounded, sleep, until } from "../testing/wait.ts";

const here = await has("nats-server", "nats-server");

/** Registers a test that needs a real server. */
function test(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, ignore: !here, fn });
}

/** The rooms, and the relays on which they may have members. Other relays skip their sections. */
const ROOMS: Record<string, number[]> = {
  "/": [0, 1, 2],
  "/team": [0, 1, 2],
  "/räume/süd": [0, 1],
  "/only here": [2],
  [`/${"x".repeat(199)}`]: [1, 2],
};

const CLIENTS = 60;

const oneOf = <T>(list: readonly T[]): T => list[Math.floor(Math.random() * list.length)];

/** A client in a room. */
interface Guest {
  readonly room: string;
  readonly talker: Talker;
  /** Whether it has left of its own accord. */
  left: boolean;
}

/** Clients that join and leave the rooms of several relays. */
class Guests implements AsyncDisposable {
  readonly all: Guest[] = [];
  readonly #relays: readonly { url: string }[];
  #coming = false;
  #comeAndGo: Promise<void> = Promise.resolve();

  constructor(relays: readonly { url: string }[]) {
    this.#relays = relays;
  }

  get present(): Guest[] {
    return this.all.filter(({ left }) => !left);
  }

  /** Lets one more client join a room that has too few members, or else any room. */
  async join(): Promise<void> {
    const room = oneOf(Object.keys(ROOMS)), relay = this.#relays[oneOf(ROOMS[room])];
    const name = `${room} client ${this.all.length}`;
    const talker = await Talker.join(roomOf(relay, encodeURI(room)), name);
    this.all.push({ room, talker, left: false });
    talker.talk(40);
  }

  /** Lets clients join and leave until {@link settle}. */
  comeAndGo(): void {
    this.#coming = true;
    this.#comeAndGo = (async () => {
      while (this.#coming) {
        await sleep(0.03);
        if (this.present.length >= CLIENTS) await this.#leave(oneOf(this.present));
        else await this.join().catch(() => {}); // No client is admitted while NATS does not answer.
      }
    })();
  }

  /** Stops all guests, and waits until each client has received the last message of its room. */
  async settle(): Promise<void> {
    this.#coming = false;
    await bounded(this.#comeAndGo, "the last to come or go");
    await Promise.all(this.present.map(({ talker }) => talker.hush()));
    for (const { talker } of this.present) {
      const done = () => talker.closed !== null || talker.hasHeardItself;
      await until(done, `${talker.name} to hear itself`);
    }
    for (const room of Object.keys(ROOMS)) {
      const talkers = this.present.filter((each) => each.room === room).map(({ talker }) => talker);
      talkers[0]?.say();
      const last = `${talkers[0]?.name} ${talkers[0]?.sent - 1}`;
      for (const talker of talkers) await talker.hears(last);
    }
  }

  async #leave(guest: Guest): Promise<void> {
    guest.left = true;
    await guest.talker.leave();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#coming = false;
    await bounded(this.#comeAndGo, "the last to come or go");
    await bounded(Promise.all(this.present.map((each) => this.#leave(each))), "all to leave");
  }
}

const HAPPENS: Record<string, (nats: NatsServer) => Promise<void>> = {
  "the NATS server is restarted": async (nats) => {
    await nats.stop();
    await sleep(0.5);
    await nats.restart();
  },
  "the NATS server is killed": async (nats) => {
    await nats.kill();
    await nats.restart();
  },
  "the NATS server is paused for 5 s": async (nats) => {
    nats.pause();
    await sleep(5);
    nats.resume();
  },
};

for (const [what, happen] of Object.entries(HAPPENS)) {
  test(`rooms of a cluster give each client a contiguous part of its room's order while ${what}`, async () => {
    await using nats = await NatsServer.start();
    await using stack = new AsyncDisposableStack();
    const relays = await Promise.all(
      (["native", "ws", "ws"] as const).map((transport) =>
        startRelay({
          server: { transport },
          relay: { rooms: true },
          cluster: { servers: [nats.url] },
        })
      ),
    );
    for (const relay of relays) stack.use(relay);
    await using guests = new Guests(relays);
    for (let i = 0; i < CLIENTS; i++) await guests.join();
    guests.comeAndGo();
    await sleep(1);
    await happen(nats);
    await sleep(1);
    await guests.settle();
    const { all, present } = guests;
    assert(all.length > CLIENTS + 20, `only ${all.length} came`);
    for (const { talker } of present) assertEquals(talker.closed, null);
    for (const [room, sites] of Object.entries(ROOMS)) {
      const inRoom = all.filter((each) => each.room === room);
      assert(inRoom.length >= 2 * sites.length, `${inRoom.length} clients were in ${room}`);
      const order = new OneOrder();
      for (const { talker: { heard } } of inRoom) {
        for (const message of heard) assert(message.startsWith(`${room} client `), message);
        assertEquals(order.add(heard), null);
        assertEquals(findHole(heard, () => false), null);
      }
      for (const { talker, left } of inRoom) if (!left) talker.assertHeardItself();
    }
  });
}

/** The messages that are sent to a room whose members are stuck. */
const FLOOD = { messages: 60, bytes: 16_000, everyMilliseconds: 100 };

/** The number of attempts, since other load on the machine can spoil one. */
const TRIES = 3;

/** Sends a message every few milliseconds, and returns the time within which most of them arrived. */
async function delay(from: Client, to: Client): Promise<number> {
  const count = 1000, took: number[] = [];
  to.listen((sent) => took.push(performance.now() - Number(sent)));
  for (let i = 0; i < count; i++) {
    from.send(`${performance.now()}`);
    await sleep(0.005);
  }
  await until(() => took.length === count, "all to be heard");
  return took.toSorted((a, b) => a - b)[count * 0.95];
}

test("a room whose members are stuck holds up no other room on their relay, even under a flood", async () => {
  await using nats = await NatsServer.start();
  const start = () =>
    Program.start({
      env: {
        RELAY_SERVER_TRANSPORT: "ws",
        RELAY_RELAY_ROOMS: "true",
        RELAY_CLUSTER_SERVERS: nats.url,
      },
    });
  await using near = await start();
  await using far = await start();
  const stuck = roomOf(near, "/stuck");
  const [alice, bob] = await connectAll(roomOf(near, "/lively"), 2);
  alice.listen(() => {});
  using mallory = await RawClient.join(roomOf(far, "/stuck"));
  mallory.ignore();
  using reader = await RawClient.join(stuck);
  reader.ignore();
  const flood = setInterval(
    () => mallory.send(burst(FLOOD.messages, FLOOD.bytes)),
    FLOOD.everyMilliseconds,
  );
  await sleep(1);
  const before = await delay(alice, bob);
  {
    await using _ = await newcomers(20)(stuck);
    await sleep(2);
    let after = Infinity;
    for (let i = 0; i < TRIES && after >= 3 * before; i++) after = await delay(alice, bob);
    assert(after < 3 * before, `${after.toFixed(1)} ms instead of ${before.toFixed(1)}`);
  }
  const evictions = 'websocket_evictions_total{reason="slow"}';
  assert((await scrape(near)).get(evictions)! > 0, "nobody was stuck");
  clearInterval(flood);
  await closeAll([alice, bob]);
});
