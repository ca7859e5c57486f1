/**
 * Loads a relay over raw TCP and counts the messages that come back.
 *
 * Its argument is one job as JSON (see {@link Job}), and it prints one {@link Result} as JSON. It runs on
 * Deno and on Bun, whose sockets cost least:
 * `bun bench/load.ts '{"urls": ["ws://127.0.0.1:8443/"], ...}'`.
 *
 * @module
 */

import { readdirSync, readFileSync } from "node:fs";
import process from "node:process";
import { Client, latencies, seen } from "./load_client.ts";
import { Latencies, type Quantiles } from "./load_latencies.ts";

/** A job for the load generator. Sizes are in bytes of payload, times are in seconds. */
export interface Job {
  /**
   * The URLs of servers that act as one, with `ws:` or `wss:`, an address and a port. Certificates are not
   * verified. The clients are spread evenly over the servers.
   */
  readonly urls: readonly string[];
  /** The protocol on top of WebSocket. Default: none. */
  readonly protocol?: "socket.io";
  /** The number of clients. */
  readonly clients: number;
  /** The number of rooms, over which clients are spread evenly. Default: all are in the room of the URL. */
  readonly rooms?: number;
  /** The number of clients that send, spread evenly among all. */
  readonly senders: number;
  /** For a closed loop: how many messages each sender has on their way at any time. */
  readonly window?: number;
  /** For an open loop: how many messages per second all senders send together. */
  readonly rate?: number;
  /** The size of a message, which is text. It is at least `STAMP` of load_client.ts. */
  readonly size: number;
  /** The number of additional clients that never read. Default: 0. */
  readonly stuck?: number;
  /** How many clients connect at once. Default: 64. */
  readonly together?: number;
  /** How long messages flow before the measurement begins. */
  readonly warmup: number;
  /** How long the measurement takes; 0 to measure only the connections. */
  readonly seconds: number;
  /** The ids of the server processes whose CPU time is measured, including that of their children. */
  readonly serverPids: readonly number[];
  /** Whether the connections stay open until standard input ends. Default: false. */
  readonly hold?: boolean;
}

/** The result of a job. */
export interface Result {
  /** The time from the start of the first connection to the upgrade of the last one. */
  connectSeconds: number;
  /** The time from the start of each client's connection to its upgrade, in milliseconds. */
  joining: Quantiles | null;
  /** The actual duration of the measurement. */
  seconds: number;
  /** The number of messages that came back to their senders. */
  messages: number;
  /** The number of messages received by all clients together. */
  deliveries: number;
  /** The CPU time of the servers' process trees. */
  serverCpuSeconds: number;
  /** The CPU time of each server's process tree, in the order of {@link Job.serverPids}. */
  serversCpuSeconds: number[];
  /** The CPU time of this process. */
  loadCpuSeconds: number;
  /**
   * The time from sending to receipt in milliseconds; `null` without deliveries. At a fixed rate it is
   * measured at all clients, and in a closed loop at the sender.
   */
  latency: Quantiles | null;
  /** The same, measured at the sender. */
  ownLatency: Quantiles | null;
  /** The same at a fixed rate, measured at clients of other servers than the sender's. */
  foreignLatency: Quantiles | null;
  /** The number of clients whose connection ended early. */
  lost: number;
}

const CONNECTING_AT_ONCE = 64;
const TICKS_A_SECOND = 100; // USER_HZ of every Linux that Deno runs on.

/** Returns for each process the CPU time of it and all its descendants, in seconds. */
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

/** Sends at a fixed rate, whatever comes back, and catches up after it was held up. */
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
