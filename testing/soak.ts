/**
 * The soak test, which checks that the relay's memory stays flat. Run it with
 * `deno task soak [SECONDS [TRANSPORT]]`. The default is one hour.
 *
 * Both transports run side by side, each in a process of its own with a hundred clients. After a measurement
 * of the full load, each gets a tenth of that while clients join and leave. Memory counts as flat if the mean
 * of the last quarter is at most 5 % above that of the second quarter.
 *
 * @module
 */

import { LEAN_ALLOCATOR, Program } from "./program.ts";
import { frame, OPCODE, RawClient } from "./raw_client.ts";
import { scrape } from "./scrape.ts";
import { bounded, sleep } from "./wait.ts";

const CLIENTS = 100;
const MEASURING_SECONDS = 10;
const WINDOW = 16;
const CHURN_PER_SECOND = 5;
const TICKS_PER_SECOND = 20;
const SAMPLES = 120;
const ALLOWED_GROWTH = 0.05;

const MESSAGE = frame(OPCODE.text, "x".repeat(128));

const ENDINGS: ((client: RawClient) => void)[] = [
  (client) => client.send(frame(OPCODE.close)),
  (client) => client.fin(),
  (client) => client.reset(),
];

async function join(relay: Program): Promise<RawClient> {
  const client = await RawClient.join(relay);
  client.ignore();
  return client;
}

/** Sends as fast as messages come back, and returns the number of messages per second. */
async function fullLoad(relay: Program): Promise<number> {
  using sender = await RawClient.join(relay);
  let received = 0;
  sender.consume(() => {
    received++;
    sender.send(MESSAGE);
  });
  for (let i = 0; i < WINDOW; i++) sender.send(MESSAGE);
  await sleep(MEASURING_SECONDS);
  return received / MEASURING_SECONDS;
}

/** Keeps a relay busy and returns the samples of its memory in bytes. */
async function load(relay: Program, clients: RawClient[], rate: number, seconds: number) {
  const samples: number[] = [], heap: number[] = [];
  const started = performance.now();
  let sent = 0, turned = 0;
  for (let now = 0; now < seconds; now = (performance.now() - started) / 1000) {
    while (sent < now * rate) clients[sent++ % CLIENTS].send(MESSAGE);
    while (turned < now * CHURN_PER_SECOND) {
      const at = turned % CLIENTS;
      ENDINGS[turned++ % ENDINGS.length](clients[at]);
      clients[at] = await bounded(join(relay), "a newcomer");
    }
    if (samples.length < now / seconds * SAMPLES) {
      const metrics = await scrape(relay);
      samples.push(metrics.get("process_resident_memory_bytes")!);
      heap.push(metrics.get("process_heap_bytes")!);
    }
    await sleep(1 / TICKS_PER_SECOND);
  }
  return { samples, heap, sent, turned };
}

const mean = (values: number[]) => values.reduce((sum, each) => sum + each) / values.length;

/** Soaks one relay, prints the result, and returns whether its memory stayed flat. */
async function soak(relay: Program, transport: string, rate: number, seconds: number) {
  const clients = await Promise.all(Array.from({ length: CLIENTS }, () => join(relay)));
  const { samples, heap, sent, turned } = await load(relay, clients, rate, seconds);
  const metrics = await scrape(relay);
  for (const client of clients) client.reset();
  const quarter = samples.length >> 2;
  const second = mean(samples.slice(quarter, 2 * quarter));
  const last = mean(samples.slice(-quarter));
  const growth = last / second - 1;
  const evictions = ["slow", "rate", "too_big", "idle"].map((reason) =>
    metrics.get(`websocket_evictions_total{reason="${reason}"}`)!
  );
  const flat = growth <= ALLOWED_GROWTH && evictions.every((count) => count === 0);
  const mib = (bytes: number) => (bytes / 1024 / 1024).toFixed(1);
  console.log(
    `${flat ? "ok" : "FAILED"}: ${transport}, ${seconds} s, ${CLIENTS} clients, ${sent} messages ` +
      `(${rate.toFixed(0)} a second), ${turned} clients replaced: ${
        mib(second)
      } MiB in the second ` +
      `quarter, ${mib(last)} MiB in the last (${(100 * growth).toFixed(1)} %), ` +
      `evictions ${evictions.join(" ")}`,
  );
  const line = (values: number[]) => values.filter((_, i) => i % 10 === 0).map(mib).join(" ");
  console.log(`  MiB over time: ${line(samples)}; of that V8's heap: ${line(heap)}`);
  return flat;
}

const seconds = Number(Deno.args[0] ?? 3600);
const soaks: (() => Promise<boolean>)[] = [];
await using relays = new AsyncDisposableStack();
for (const transport of Deno.args[1] ? [Deno.args[1]] : ["native", "ws"]) {
  const env = { RELAY_SERVER_TRANSPORT: transport, ...LEAN_ALLOCATOR };
  const relay = relays.use(await Program.start({ env }));
  const readers = await Promise.all(Array.from({ length: CLIENTS }, () => join(relay)));
  const full = await fullLoad(relay);
  for (const reader of readers) reader.reset();
  console.log(`${transport}: full load is ${full.toFixed(0)} messages a second`);
  soaks.push(() => soak(relay, transport, full / 10, seconds));
}
const flat = await Promise.all(soaks.map((run) => run()));
Deno.exitCode = flat.every(Boolean) ? 0 : 1;
