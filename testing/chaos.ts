/**
 * The chaos test: clients that misbehave in every way join and leave, next to ten that behave well.
 * Run it with `deno task chaos [SECONDS]`. The default is one minute per transport.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { Buffer } from "node:buffer";
import { createHash, randomBytes } from "node:crypto";
import { collectGarbage, INSPECT } from "./garbage.ts";
import { LEAN_ALLOCATOR, type LogEntry, Program, ROOT } from "./program.ts";
import { frame, handshake, OPCODE, RawClient } from "./raw_client.ts";
import { scrape } from "./scrape.ts";
import { sleep, until } from "./wait.ts";

/** The result of {@link chaos}. Times are in milliseconds, memory is in bytes. */
export interface ChaosReport {
  /** How often each kind of misbehaviour occurred. */
  acts: Record<string, number>;
  /** How many messages each of the ten clients received: all, in one order. */
  messages: number;
  /** The 99th percentile of the ten clients' latencies. */
  p99: number;
  /** The same for ten clients of a relay without misbehaving clients, which shows the machine's share. */
  calmP99: number;
  /** Resident memory after a short warm-up and at the end, after garbage collections. */
  memory: [before: number, after: number];
  /** The number of evictions by reason. */
  evictions: Record<string, number>;
}

const WITNESSES = 10;
const TALK_MILLISECONDS = 100;

const WARM_UP_SECONDS = 3;
const MAX_MESSAGE_BYTES = 64 * 1024;
const ALLOWED_MILLISECONDS = 250;
const ALLOWED_GROWTH = 30 * 1024 * 1024;

const ENV = {
  RELAY_LOG_LEVEL: "debug",
  RELAY_LIMITS_MAX_MESSAGE_BYTES: `${MAX_MESSAGE_BYTES}`,
  RELAY_LIMITS_MAX_BACKLOG_BYTES: `${128 * 1024}`,
  RELAY_LIMITS_MAX_MESSAGES_PER_SECOND: "25",
  ...LEAN_ALLOCATOR,
};

const between = (low: number, high: number) => low + Math.random() * (high - low);
const percentile = (values: number[], part: number) =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length * part)];

/** One of the ten clients that talk all the time and remember the messages they receive. */
class Witness {
  readonly latencies: number[] = [];
  readonly #client: RawClient;
  readonly #name: string;
  readonly #hash = createHash("sha256");
  readonly #decoder = new TextDecoder();
  readonly #next = new Map<string, number>();
  #heard = 0;
  #bytes = 0;
  #said = 0;

  constructor(client: RawClient, name: string) {
    this.#client = client;
    this.#name = name;
    client.consume(({ opcode, payload }) => {
      if (opcode !== OPCODE.text && opcode !== OPCODE.binary) return;
      this.#heard++;
      this.#bytes += payload.length;
      this.#hash.update(`${opcode} ${payload.length} `).update(payload);
      const text = this.#decoder.decode(payload.subarray(0, 64));
      const [, name, count, at] = /^witness (\d+) (\d+) ([\d.]+) /.exec(text) ?? [];
      if (name === undefined) return;
      assertEquals(Number(count), this.#next.get(name) ?? 0, `witness ${name}'s next message`);
      this.#next.set(name, Number(count) + 1);
      this.latencies.push(performance.now() - Number(at));
    });
  }

  talk(): void {
    const message = `witness ${this.#name} ${this.#said++} ${performance.now()} `.padEnd(512, "x");
    this.#client.send(frame(OPCODE.text, message));
  }

  /** The number of its own messages that have not come back. */
  get missing(): number {
    return this.#said - (this.#next.get(this.#name) ?? 0);
  }

  /** Summarizes the messages that it received. */
  summary() {
    return {
      heard: this.#heard,
      bytes: this.#bytes,
      hash: this.#hash.copy().digest("hex"),
      next: [...this.#next].sort(),
    };
  }

  leave(): void {
    this.#client.send(frame(OPCODE.close));
  }
}

async function joinWitnesses(relay: Program): Promise<Witness[]> {
  const names = Array.from({ length: WITNESSES }, (_, i) => `${i}`);
  return await Promise.all(
    names.map(async (name) => new Witness(await RawClient.join(relay), name)),
  );
}

type Act = (relay: Program) => Promise<void>;

/** Makes an act of a client that has joined and ignores incoming messages. */
function joined(act: (client: RawClient) => Promise<unknown> | unknown): Act {
  return async (relay) => {
    using client = await RawClient.join(relay);
    client.ignore();
    await act(client);
    await sleep(between(0.02, 0.2));
  };
}

const hello = () => frame(OPCODE.text, `hello ${Math.random()}`);

/** The ways to misbehave, each with its relative frequency. */
const ACTS: Record<string, [weight: number, act: Act]> = {
  closeFrame: [
    4,
    joined((client) => {
      client.send(hello());
      client.send(frame(OPCODE.close, new Uint8Array([3, 232])));
    }),
  ],
  fin: [
    3,
    joined((client) => {
      client.send(hello());
      client.fin();
    }),
  ],
  reset: [
    3,
    joined((client) => {
      client.send(hello());
      client.reset();
    }),
  ],
  garbage: [2, joined((client) => client.send(new Uint8Array(randomBytes(200))))],
  garbageInsteadOfRequest: [2, async (relay) => {
    using client = await RawClient.open(relay);
    client.send(new Uint8Array(randomBytes(200)));
    await sleep(between(0.02, 0.2));
  }],
  wrongPath: [1, async (relay) => {
    using client = await RawClient.open(relay);
    assert(/^HTTP\/1.1 404 /.test(await client.ask(handshake({}, "GET /chat HTTP/1.1"))));
  }],
  halfHandshake: [4, async (relay) => {
    using client = await RawClient.open(relay);
    const request = handshake();
    client.send(request.slice(0, between(1, request.length - 1)));
    await sleep(between(0.5, 3));
  }],
  oversize: [
    2,
    joined((client) => client.send(frame(OPCODE.text, Buffer.alloc(MAX_MESSAGE_BYTES + 1)))),
  ],
  halfOversize: [
    1,
    joined((client) =>
      client.send(frame(OPCODE.binary, Buffer.alloc(4 * MAX_MESSAGE_BYTES)).subarray(0, 1000))
    ),
  ],
  badUtf8: [2, joined((client) => client.send(frame(OPCODE.text, new Uint8Array([104, 0xff]))))],
  large: [2, joined((client) => client.send(frame(OPCODE.binary, randomBytes(48 * 1024))))],
  neverReads: [
    2,
    joined(async (client) => {
      client.pause();
      client.send(hello());
      await sleep(between(4, 12));
    }),
  ],
  floods: [2, joined((client) => client.send(Buffer.concat(Array.from({ length: 300 }, hello))))],
};

function choose(): string {
  const all = Object.entries(ACTS);
  let rest = Math.random() * all.reduce((sum, [, [weight]]) => sum + weight, 0);
  return all.find(([, [weight]]) => (rest -= weight) < 0)![0];
}

/**
 * Runs the chaos test against a new relay.
 *
 * @throws {Error} If one of the ten clients lost a message or waited too long, or if a number is wrong.
 */
export async function chaos(
  transport: "native" | "ws",
  seconds: number,
  clients = 200,
): Promise<ChaosReport> {
  await using relay = await Program.start({
    command: [Deno.execPath(), "run", "-A", INSPECT, `${ROOT}main.ts`],
    env: { ...ENV, RELAY_SERVER_TRANSPORT: transport },
  });
  await using calm = await Program.start({ env: { RELAY_SERVER_TRANSPORT: transport } });
  const witnesses = await joinWitnesses(relay), elsewhere = await joinWitnesses(calm);
  const memory = async () => {
    await collectGarbage(relay);
    return (await scrape(relay)).get("process_resident_memory_bytes")!;
  };
  const talking = setInterval(() => {
    for (const witness of [...witnesses, ...elsewhere]) witness.talk();
  }, TALK_MILLISECONDS);

  const acts: Record<string, number> = {};
  const torment = async (seconds: number) => {
    const deadline = performance.now() + seconds * 1000;
    await Promise.all(Array.from({ length: clients }, async () => {
      await sleep(between(0, 1.5)); // So that they do not all start at once.
      while (performance.now() < deadline) {
        const name = choose();
        acts[name] = (acts[name] ?? 0) + 1;
        await ACTS[name][1](relay);
        await sleep(between(0.1, 1.5));
      }
    }));
    const connected = async () => (await scrape(relay)).get("websocket_connected_clients");
    await until(async () => await connected() === WITNESSES, "all but the ten to leave", 60);
  };
  let before = 0, after = 0, p99 = 0, calmP99 = 0;
  try {
    await torment(WARM_UP_SECONDS); // The first peak fragments the C library's heap.
    before = await memory();
    for (const { latencies } of [...witnesses, ...elsewhere]) latencies.length = 0;
    await torment(seconds);
    [p99, calmP99] = [witnesses, elsewhere].map((each) =>
      percentile(each.flatMap(({ latencies }) => latencies), 0.99)
    );
    const returned = async () => (after = await memory()) <= before + ALLOWED_GROWTH;
    await until(returned, `memory to return to ${before} bytes`).catch((error) => {
      throw new Error(`${error.message}: it is ${after}`);
    });
  } finally {
    clearInterval(talking);
  }
  await until(() => witnesses.every(({ missing }) => missing === 0), "the last messages");

  const [first, ...others] = witnesses.map((witness) => witness.summary());
  for (const other of others) assertEquals(other, first, "two witnesses heard different things");
  assert(
    p99 <= ALLOWED_MILLISECONDS + calmP99,
    `99 % took up to ${p99} ms, and ${calmP99} ms where nobody misbehaved`,
  );
  for (const witness of [...witnesses, ...elsewhere]) witness.leave();
  let metrics = await scrape(relay);
  const left = async () => {
    metrics = await scrape(relay);
    return metrics.get("websocket_connected_clients") === 0;
  };
  await until(left, "the ten to leave");
  const evictions = checkCounters(metrics, relay.log, first);
  return { acts, messages: first.heard, p99, calmP99, memory: [before, after], evictions };
}

/** Compares the relay's numbers with the messages of the witnesses and with its log. */
function checkCounters(
  metrics: Map<string, number>,
  log: readonly LogEntry[],
  { heard, bytes }: { heard: number; bytes: number },
): Record<string, number> {
  const total = (name: string) => metrics.get(`websocket_${name}_total`)!;
  assertEquals([total("messages"), total("received_bytes")], [heard, bytes]);
  assert(total("deliveries") >= WITNESSES * heard && total("sent_bytes") >= WITNESSES * bytes);
  assertEquals(total("connections"), total("disconnections"));
  assertEquals(total("dropped_messages"), 0);
  assertEquals(metrics.get("websocket_backlog_bytes"), 0);

  const present = new Map<string, number>();
  const causes: Record<string, number> = {};
  const events = log.map(({ message }) =>
    /^(\S+:\d+) (?:(joined)|(?:left|evicted): (\w+))$/.exec(message)
  );
  for (const [, peer, joined, cause] of events.filter((event) => event !== null)) {
    present.set(peer, (present.get(peer) ?? 0) + (joined ? 1 : -1));
    if (cause) causes[cause] = (causes[cause] ?? 0) + 1;
  }
  const unequal = [...present].filter(([, balance]) => balance !== 0);
  assertEquals(unequal, [], "clients that joined more or less often than they left");
  assertEquals(Object.values(causes).reduce((sum, each) => sum + each), total("disconnections"));
  const evictions: Record<string, number> = {};
  for (const [name, count] of metrics) {
    const [, reason] = /^websocket_evictions_total\{reason="(\w+)"\}$/.exec(name) ?? [];
    if (reason) evictions[reason] = count;
  }
  for (const [reason, count] of Object.entries(evictions)) {
    assertEquals(count, causes[reason] ?? 0, `evictions for ${reason}`);
  }
  return evictions;
}

if (import.meta.main) {
  for (const transport of ["native", "ws"] as const) {
    const report = await chaos(transport, Number(Deno.args[0] ?? 60));
    console.log(`ok: ${transport}`, report);
  }
}
