/**
 * Loads a relay over raw TCP and counts what comes back.
 *
 * Run with one job as JSON (see {@link Job}); prints one {@link Result} as JSON. There is no WebSocket
 * library in the way: frames are built once, and read by their headers. Runs on Bun, whose sockets
 * cost least, and on Deno: `bun bench/load.ts '{"url": "ws://127.0.0.1:8443/", ...}'`.
 *
 * @module
 */

import { readdirSync, readFileSync } from "node:fs";
import process from "node:process";
import { connectSocket, type Socket } from "./load_socket.ts";

/** What to do. Sizes are in bytes of payload, times in seconds. */
export interface Job {
  /** Where the relay listens: `ws:` or `wss:`, an address, a port. Certificates are not verified. */
  readonly url: string;
  /** What is spoken on top of WebSocket. Default: nothing. */
  readonly protocol?: "socket.io";
  /** How many clients connect. */
  readonly clients: number;
  /** How many of them send; spread evenly among the rest. */
  readonly senders: number;
  /** Closed loop: how many messages each sender has on their way at any time. */
  readonly window?: number;
  /** Open loop: how many messages a second all senders send together. */
  readonly rate?: number;
  /** The size of a message, all of it text. At least {@link STAMP} bytes. */
  readonly size: number;
  /** How many more clients connect and never read. Default: 0. */
  readonly stuck?: number;
  /** How long messages flow before the measurement begins. */
  readonly warmup: number;
  /** How long the measurement takes; 0 measures the connections alone. */
  readonly seconds: number;
  /** The process whose tree is charged for the work. */
  readonly serverPid: number;
  /** Keep the connections until standard input ends. Default: false. */
  readonly hold?: boolean;
}

/** What was seen. */
export interface Result {
  /** From the first connection's start to the last one's upgrade. */
  connectSeconds: number;
  /** How long the measurement really took. */
  seconds: number;
  /** Messages sent and received back by their senders. */
  messages: number;
  /** Messages received, over all clients. */
  deliveries: number;
  /** Processor time of the server's process tree. */
  serverCpuSeconds: number;
  /** Processor time of this process. */
  loadCpuSeconds: number;
  /** From sending to receipt by any client, in milliseconds; without deliveries `null`. */
  latency: { p50: number; p99: number; p999: number } | null;
  /** Clients whose connection ended early. */
  lost: number;
}

/** How many bytes at the start of each message say who sent it and when. */
export const STAMP = 4 + 12;

const CONNECTING_AT_ONCE = 64;
const TICKS_A_SECOND = 100; // USER_HZ of every Linux that Deno runs on.
const textDecoder = new TextDecoder();
const latin1 = new TextDecoder("latin1");

/** Buckets of a logarithmic histogram: microseconds, 2 % wide. */
class Latencies {
  readonly #counts = new Float64Array(1200);
  #total = 0;

  add(microseconds: number): void {
    const bucket = microseconds < 1 ? 0 : Math.min(1199, Math.ceil(Math.log(microseconds) * 50));
    this.#counts[bucket]++;
    this.#total++;
  }

  clear(): void {
    this.#counts.fill(0);
    this.#total = 0;
  }

  /** In milliseconds. */
  quantile(q: number): number {
    let left = q * this.#total;
    const bucket = this.#counts.findIndex((count) => (left -= count) <= 0);
    return Math.exp(bucket / 50) / 1000;
  }

  summary(): Result["latency"] {
    if (this.#total === 0) return null;
    return { p50: this.quantile(0.5), p99: this.quantile(0.99), p999: this.quantile(0.999) };
  }
}

/** What all clients count together. */
const seen = { deliveries: 0, returned: 0, lost: 0 };
const latencies = new Latencies();

const microseconds = () => Math.round(performance.now() * 1000);

/** One raw WebSocket client. */
class Client {
  readonly opened = Promise.withResolvers<void>();
  #socket!: Socket;
  #head = "";
  #open = false;
  /** Bytes of a frame whose end has not arrived. */
  #rest: Uint8Array | null = null;
  /** Bytes of the current frame that are still to come and need no look. */
  #skip = 0;
  #ready = false;
  #frame: Uint8Array | null = null;
  #inFlight = 0;
  #window = 0;
  #ending = false;
  readonly #job: Job;
  readonly #id: number;
  readonly #timed: boolean;

  constructor(job: Job, id: number) {
    this.#job = job;
    this.#id = id;
    this.#timed = job.rate !== undefined;
  }

  async connect(reads = true): Promise<void> {
    const url = new URL(this.#job.url);
    this.#socket = await connectSocket({
      hostname: url.hostname,
      port: Number(url.port),
      tls: url.protocol === "wss:",
      onData: (chunk) => this.#take(chunk),
      onClose: () => {
        this.opened.reject(new Error(`Cannot connect to ${url}: ${this.#head.slice(0, 200)}`));
        if (!this.#ending) seen.lost++;
      },
    });
    const path = this.#job.protocol ? "/socket.io/?EIO=4&transport=websocket" : url.pathname;
    this.#socket.write(utf8(
      `GET ${path} HTTP/1.1\r\nHost: ${url.host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
    ));
    await this.opened.promise;
    if (!reads) this.#socket.pause();
  }

  /** Begins to send, and goes on as its messages come back. */
  sendWithWindow(window: number): void {
    this.#window = window;
    this.#fill();
  }

  send(): void {
    const frame = this.#frame ??= this.#build();
    stamp(frame, frame.length - this.#payloadLength() + this.#prefix().length + 4, microseconds());
    this.#inFlight++;
    this.#socket.write(frame);
  }

  stop(): void {
    this.#window = 0;
  }

  end(): void {
    this.#ending = true;
    this.#socket?.end();
  }

  #fill(): void {
    while (this.#inFlight < this.#window) this.send();
  }

  #prefix(): string {
    return this.#job.protocol ? '42["m","' : "";
  }

  #payloadLength(): number {
    return this.#job.size + (this.#job.protocol ? this.#prefix().length + 2 : 0);
  }

  /** A whole frame, masked with zeroes (allowed, and the server works as hard), ready for its stamp. */
  #build(): Uint8Array {
    const id = String(this.#id).padStart(4, "0");
    const payload = this.#prefix() + id + "x".repeat(this.#job.size - 4) +
      (this.#job.protocol ? '"]' : "");
    return frameOf(0x1, utf8(payload));
  }

  #take(chunk: Uint8Array): void {
    if (!this.#open) return this.#takeHead(chunk);
    let at = 0;
    if (this.#skip > 0) {
      at = Math.min(this.#skip, chunk.length);
      this.#skip -= at;
      if (at === chunk.length) return;
    }
    if (this.#rest) {
      const joined = new Uint8Array(this.#rest.length + chunk.length - at);
      joined.set(this.#rest);
      joined.set(chunk.subarray(at), this.#rest.length);
      this.#rest = null;
      chunk = joined;
      at = 0;
    }
    while (at < chunk.length) {
      const wanted = this.#takeFrame(chunk, at);
      if (wanted === 0) {
        this.#rest = chunk.slice(at);
        break;
      }
      at += wanted;
    }
    if (at > chunk.length) this.#skip = at - chunk.length;
    this.#fill();
  }

  /** Takes a frame whose header and stamp are there; returns its length, or 0 if more is needed first. */
  #takeFrame(chunk: Uint8Array, at: number): number {
    const available = chunk.length - at;
    if (available < 2) return 0;
    const opcode = chunk[at] & 0x0f;
    let length = chunk[at + 1];
    let header = 2;
    if (length === 126) {
      if (available < 4) return 0;
      length = chunk[at + 2] << 8 | chunk[at + 3];
      header = 4;
    } else if (length === 127) {
      if (available < 10) return 0;
      length = (chunk[at + 6] << 24 | chunk[at + 7] << 16 | chunk[at + 8] << 8 | chunk[at + 9]) >>>
        0;
      header = 10;
    }
    const look = Math.min(length, this.#prefix().length + STAMP);
    if (available < header + look) return 0;
    const payload = at + header;
    if (opcode === 0x1 && length === this.#payloadLength()) {
      this.#takeMessage(chunk, payload + this.#prefix().length);
    } else if (opcode >= 0x8 || this.#job.protocol) {
      if (available < header + length) return 0;
      this.#takeOther(opcode, chunk.subarray(payload, payload + length));
    }
    return header + length;
  }

  #takeMessage(chunk: Uint8Array, at: number): void {
    seen.deliveries++;
    const own = this.#frame !== null && digits(chunk, at, 4) === this.#id;
    if (own) {
      this.#inFlight--;
      seen.returned++;
    }
    if (own || this.#timed) latencies.add(microseconds() - digits(chunk, at + 4, 12));
  }

  #takeOther(opcode: number, payload: Uint8Array): void {
    if (opcode === 0x9) this.#socket.write(frameOf(0xa, payload));
    if (opcode !== 0x1 || !this.#job.protocol) return;
    const text = textDecoder.decode(payload);
    if (text === "2") this.#socket.write(frameOf(0x1, utf8("3")));
    else if (text.startsWith("0")) this.#socket.write(frameOf(0x1, utf8("40")));
    else if (text.startsWith("40")) this.opened.resolve();
  }

  #takeHead(chunk: Uint8Array): void {
    const before = this.#head.length;
    this.#head += latin1.decode(chunk); // One character a byte, so that positions are the same.
    const end = this.#head.indexOf("\r\n\r\n");
    if (end < 0) return;
    if (!this.#head.startsWith("HTTP/1.1 101")) return this.#socket.end();
    this.#open = true;
    if (!this.#job.protocol) this.opened.resolve();
    const rest = chunk.subarray(end + 4 - before);
    if (rest.length > 0) this.#take(rest);
  }
}

function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** A final frame as clients send it (RFC 6455 §5.2). */
function frameOf(opcode: number, payload: Uint8Array): Uint8Array {
  const { length } = payload;
  const header = length < 126
    ? [length]
    : length < 65536
    ? [126, length >> 8, length & 255]
    : [127, 0, 0, 0, 0, length >>> 24, length >> 16 & 255, length >> 8 & 255, length & 255];
  header[0] |= 0x80;
  const frame = new Uint8Array(1 + header.length + 4 + length);
  frame.set([0x80 | opcode, ...header]);
  frame.set(payload, 1 + header.length + 4);
  return frame;
}

function stamp(frame: Uint8Array, at: number, value: number): void {
  for (let digit = 11; digit >= 0; digit--) {
    frame[at + digit] = 48 + value % 10;
    value = Math.floor(value / 10);
  }
}

function digits(bytes: Uint8Array, at: number, count: number): number {
  let value = 0;
  for (let i = 0; i < count; i++) value = value * 10 + bytes[at + i] - 48;
  return value;
}

/** Adds up the processor time of a process and all that it started, in seconds. */
function cpuSeconds(pid: number): number {
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
  return sum(pid);
}

const sleep = (seconds: number) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

async function connectAll(clients: Client[], reads: boolean): Promise<void> {
  const waiting = [...clients];
  await Promise.all(Array.from({ length: CONNECTING_AT_ONCE }, async () => {
    for (let client = waiting.shift(); client; client = waiting.shift()) {
      await client.connect(reads);
    }
  }));
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
  await connectAll(clients, true);
  const connectSeconds = (performance.now() - connecting) / 1000;
  await connectAll(stuck, false);
  const result: Result = {
    connectSeconds,
    seconds: 0,
    messages: 0,
    deliveries: 0,
    serverCpuSeconds: 0,
    loadCpuSeconds: 0,
    latency: null,
    lost: 0,
  };
  if (job.seconds > 0) {
    const every = Math.floor(job.clients / job.senders);
    const senders = Array.from({ length: job.senders }, (_, i) => clients[i * every]);
    let stop = () => {};
    if (job.rate !== undefined) stop = sendAtRate(senders, job.rate);
    else for (const sender of senders) sender.sendWithWindow(job.window ?? 1);
    await sleep(job.warmup);
    latencies.clear();
    const from = snapshot(job);
    await sleep(job.seconds);
    const to = snapshot(job);
    result.latency = latencies.summary();
    stop();
    for (const sender of senders) sender.stop();
    result.seconds = to.at - from.at;
    result.messages = to.returned - from.returned;
    result.deliveries = to.deliveries - from.deliveries;
    result.serverCpuSeconds = to.server - from.server;
    result.loadCpuSeconds = to.load - from.load;
  }
  result.lost = seen.lost;
  if (job.hold) {
    console.log(JSON.stringify(result));
    await new Promise((resolve) => process.stdin.resume().once("end", resolve));
  }
  for (const client of [...clients, ...stuck]) client.end();
  return result;
}

function snapshot({ serverPid }: Job) {
  return {
    at: performance.now() / 1000,
    server: cpuSeconds(serverPid),
    load: cpuSeconds(process.pid),
    ...seen,
  };
}

const job: Job = JSON.parse(process.argv[2]);
const result = await run(job);
if (!job.hold) console.log(JSON.stringify(result));
process.exit(0);
