/**
 * The clients of the load generator. They use no WebSocket library. Each builds its frame once, and reads
 * only the headers and stamps of incoming frames.
 *
 * @module
 */

import type { Job } from "./load.ts";
import { Latencies } from "./load_latencies.ts";
import { connectSocket, type Socket } from "./load_socket.ts";

const ID_DIGITS = 4, TIME_DIGITS = 12;

/** The number of bytes at the start of each message that hold its sender and its time. */
export const STAMP = ID_DIGITS + TIME_DIGITS;

const textDecoder = new TextDecoder();
const latin1 = new TextDecoder("latin1");

/** The counters of all clients together. */
export const seen = { deliveries: 0, returned: 0, lost: 0 };

/**
 * The times from sending to receipt: of all timed messages, of those that came back to their senders, and
 * of those whose sender is connected to another server.
 */
export const latencies = { all: new Latencies(), own: new Latencies(), foreign: new Latencies() };

const microseconds = () => Math.round(performance.now() * 1000);

/** A WebSocket client over a raw socket. */
export class Client {
  /** Resolves when it is connected. */
  readonly opened = Promise.withResolvers<void>();
  #socket!: Socket;
  #head = "";
  #open = false;
  /** The bytes of a frame whose end has not arrived. */
  #rest: Uint8Array | null = null;
  /** The number of bytes of the current frame that are yet to come and can be ignored. */
  #skip = 0;
  #frame: Uint8Array | null = null;
  #inFlight = 0;
  #window = 0;
  #ending = false;
  readonly #job: Job;
  readonly #id: number;
  readonly #url: number;
  readonly #timed: boolean;

  /** Creates a client that is not connected yet. */
  constructor(job: Job, id: number) {
    this.#job = job;
    this.#id = id;
    this.#url = indexOfUrl(job, id);
    this.#timed = job.rate !== undefined;
  }

  /** Connects, and reads everything unless `reads` is false. */
  async connect(reads = true): Promise<void> {
    const url = new URL(this.#job.urls[this.#url]);
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
    const { protocol, rooms, clients } = this.#job;
    const path = protocol
      ? "/socket.io/?EIO=4&transport=websocket"
      : rooms
      ? `/room/${Math.floor(this.#id * rooms / clients)}`
      : url.pathname;
    this.#socket.write(utf8(
      `GET ${path} HTTP/1.1\r\nHost: ${url.host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
    ));
    await this.opened.promise;
    if (!reads) this.#socket.pause();
  }

  /** Starts sending, and continues as its messages come back. */
  sendWithWindow(window: number): void {
    this.#window = window;
    this.#fill();
  }

  /** Sends a message. */
  send(): void {
    const frame = this.#frame ??= this.#build();
    stamp(frame, frame.length - this.#payloadLength() + this.#prefix().length + 4, microseconds());
    this.#inFlight++;
    this.#socket.write(frame);
  }

  /** Stops sending. */
  stop(): void {
    this.#window = 0;
  }

  /** Ends the connection. */
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

  /** Builds a frame without a stamp. Its mask is zero, which is allowed and gives the server the same work. */
  #build(): Uint8Array {
    const id = String(this.#id).padStart(ID_DIGITS, "0");
    const payload = this.#prefix() + id + "x".repeat(this.#job.size - ID_DIGITS) +
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

  /** Takes a frame whose header and stamp have arrived, and returns its length; 0 if bytes are missing. */
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
    const own = this.#frame !== null && digits(chunk, at, ID_DIGITS) === this.#id;
    if (own) {
      this.#inFlight--;
      seen.returned++;
    }
    if (!own && !this.#timed) return;
    const took = microseconds() - digits(chunk, at + ID_DIGITS, TIME_DIGITS);
    latencies.all.add(took);
    if (own) latencies.own.add(took);
    else if (indexOfUrl(this.#job, digits(chunk, at, ID_DIGITS)) !== this.#url) {
      latencies.foreign.add(took);
    }
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
    this.#head += latin1.decode(chunk); // One character per byte, so that positions are the same.
    const end = this.#head.indexOf("\r\n\r\n");
    if (end < 0) return;
    if (!this.#head.startsWith("HTTP/1.1 101")) return this.#socket.end();
    this.#open = true;
    if (!this.#job.protocol) this.opened.resolve();
    const rest = chunk.subarray(end + 4 - before);
    if (rest.length > 0) this.#take(rest);
  }
}

/** Finds a client's server. Each server gets the same number of clients, and the last one also the rest. */
function indexOfUrl({ urls, clients }: Job, id: number): number {
  return Math.min(urls.length - 1, Math.floor(id * urls.length / clients));
}

function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** Builds a client's frame for a whole message (RFC 6455 §5.2). */
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
  for (let digit = TIME_DIGITS - 1; digit >= 0; digit--) {
    frame[at + digit] = 48 + value % 10;
    value = Math.floor(value / 10);
  }
}

function digits(bytes: Uint8Array, at: number, count: number): number {
  let value = 0;
  for (let i = 0; i < count; i++) value = value * 10 + bytes[at + i] - 48;
  return value;
}
