/**
 * Loads a relay over raw TCP and counts the messages that come back.
 *
 * Run with one job as JSON (see {@link Job}); prints one {@link Result} as JSON. Runs on
 * Bun, whose sockets cost least, and on Deno:
 * `bun bench/load.ts '{"urls": ["ws://127.0.0.1:8443/"], ...}'`.
 *
 * @module
 */

import { readdirSync, readFileSync } from "node:fs";
import process from "node:process";
import { Client, latencies, seen } from "./load_client.ts";
import { Latencies, type Quantiles } from "./load_latencies.ts";

/** What to do. Sizes are in bytes of payload, times in seconds. */
export interface Job {
  /**
   * Where servers that act as one listen: `ws:` or `wss:`, an address, a port. Certificates are not
   * verified. The clients are spread evenly over them.
   */
  readonly urls: readonly string[];
  /** What is spoken on top of WebSocket. Default: nothing. */
  readonly protocol?: "socket.io";
  /** How many clients connect. */
  readonly clients: number;
  /** In how many rooms they are, each with as many neighbours as can be. Default: in that of the URL. */
  readonly rooms?: number;
  /** How many of them send; spread evenly among the rest. */
  readonly senders: number;
  /** Closed loop: how many messages each sender has on their way at any time. */
  readonly window?: number;
  /** Open loop: how many messages per second all senders send together. */
  readonly rate?: number;
  /** The size of a message, all of it text. At least `STAMP` of load_client.ts. */
  readonly size: number;
  /** How many more clients connect and never read. Default: 0. */
  readonly stuck?: number;
  /** How many connect at once. Default: 64. */
  readonly together?: number;
  /** How long messages flow before the measurement begins. */
  readonly warmup: number;
  /** How long the measurement takes; 0 measures the connections alone. */
  readonly seconds: number;
  /** The processes whose trees are charged for the work. */
  readonly serverPids: readonly number[];
  /** Keep the connections until standard input ends. Default: false. */
  readonly hold?: boolean;
}

/** What was seen. */
export interface Result {
  /** From the first connection's start to the last one's upgrade. */
  connectSeconds: number;
  /** How long each client took, from the start of its connection to its upgrade, in milliseconds. */
  joining: Quantiles | null;
  /** How long the measurement really took. */
  seconds: number;
  /** Messages sent and received back by their senders. */
  messages: number;
  /** Messages received, over all clients. */
  deliveries: number;
  /** Processor time of the servers' process trees. */
  serverCpuSeconds: number;
  /** The same apart, in the order of {@link Job.serverPids}. */
  serversCpuSeconds: number[];
  /** Processor time of this process. */
  loadCpuSeconds: number;
  /**
   * From sending to receipt, in milliseconds; without deliveries `null`. By any client at a fixed rate, by
   * the sender in a closed loop.
   */
  latency: Quantiles | null;
  /** The same, by the sender. */
  ownLatency: Quantiles | null;
  /** The same, at a fixed rate, by the clients of other servers than the sender's. */
  foreignLatency: Quantiles | null;
  /** Clients whose connection ended early. */
  lost: number;
}

const CONNECTING_AT_ONCE = 64;
const TICKS_A_SECOND = 100; // USER_HZ of every Linux that Deno runs on.

/** Adds up, for each of some processes, its processor time and that of all that it started, in seconds. */
function cpuSeconds(pids: readonly number[]): number[] {
  const parents = new Map<number, number[]>();
  const times = new Map<number, number>();
  for (const entry of readdirSync("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      const stat = readFileSync(`/proc/${entry}/stat`, "utf8");
      const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      const parent = Number(fields[1]);
      parents.set(parent, [...parents.get(parent) ?? [], Number(entry)]);
      times.set(Number(entry), (Number(fields[11]) + Number(fields[12])) / TICKS_A_SECOND);
    } catch { /* It has just ended. */ }
  }
  const sum = (pid: number): number =>
    (times.get(pid) ?? 0) +
    (parents.get(pid) ?? []).reduce((total, child) => total + sum(child), 0);
  return pids.map(sum);
}

const sleep = (seconds: number) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

async function connectAll(
  clients: Client[],
  reads: boolean,
  together = CONNECTING_AT_ONCE,
): Promise<Quantiles | null> {
  const waiting = clients.toReversed(), took = new Latencies();
  await Promise.all(Array.from({ length: together }, async () => {
    for (let client = waiting.pop(); client; client = waiting.pop()) {
      const began = performance.now();
      await client.connect(reads);
      took.add((performance.now() - began) * 1000);
    }
  }));
  return took.summary();
}

/** Sends at a fixed rate, whatever comes back; catches up when it was held up. */
function sendAtRate(senders: Client[], rate: number): () => void {
  const began = performance.now();
  let sent = 0;
  const timer = setInterval(() => {
    const due = (performance.now() - began) / 1000 * rate;
    for (; sent < due; sent++) senders[sent % senders.length].send();
  }, 1);
  return () => clearInterval(timer);
}

async function run(job: Job): Promise<Result> {
  const clients = Array.from({ length: job.clients }, (_, id) => new Client(job, id));
  const stuck = Array.from({ length: job.stuck ?? 0 }, (_, i) => new Client(job, job.clients + i));
  const connecting = performance.now();
  const joining = await connectAll(clients, true, job.together);
  const connectSeconds = (performance.now() - connecting) / 1000;
  await connectAll(stuck, false);
  const result: Result = {
    connectSeconds,
    joining,
    seconds: 0,
    messages: 0,
    deliveries: 0,
    serverCpuSeconds: 0,
    serversCpuSeconds: [],
    loadCpuSeconds: 0,
    latency: null,
    ownLatency: null,
    foreignLatency: null,
    lost: 0,
  };
  if (job.seconds > 0) {
    const every = Math.floor(job.clients / job.senders);
    const senders = Array.from({ length: job.senders }, (_, i) => clients[i * every]);
    let stop = () => {};
    if (job.rate !== undefined) stop = sendAtRate(senders, job.rate);
    else for (const sender of senders) sender.sendWithWindow(job.window ?? 1);
    await sleep(job.warmup);
    for (const each of Object.values(latencies)) each.clear();
    const from = snapshot(job);
    await sleep(job.seconds);
    const to = snapshot(job);
    result.latency = latencies.all.summary();
    result.ownLatency = latencies.own.summary();
    result.foreignLatency = latencies.foreign.summary();
    stop();
    for (const sender of senders) sender.stop();
    result.seconds = to.at - from.at;
    result.messages = to.returned - from.returned;
    result.deliveries = to.deliveries - from.deliveries;
    const [load, ...servers] = to.cpuSeconds.map((seconds, i) => seconds - from.cpuSeconds[i]);
    result.serverCpuSeconds = servers.reduce((sum, seconds) => sum + seconds, 0);
    result.serversCpuSeconds = servers;
    result.loadCpuSeconds = load;
  }
  result.lost = seen.lost;
  if (job.hold) {
    console.log(JSON.stringify(result));
    await new Promise((resolve) => process.stdin.resume().once("end", resolve));
  }
  for (const client of [...clients, ...stuck]) client.end();
  return result;
}

function snapshot({ serverPids }: Job) {
  return {
    at: performance.now() / 1000,
    cpuSeconds: cpuSeconds([process.pid, ...serverPids]),
    ...seen,
  };
}

const job: Job = JSON.parse(process.argv[2]);
const result = await run(job);
if (!job.hold) console.log(JSON.stringify(result));
process.exit(0);
