/**
 * A TCP client that can send data that no browser would send.
 *
 * @module
 */

import { connect, type Socket } from "node:net";
import { Buffer } from "node:buffer";
import { pathOf } from "./client.ts";
import { bounded, Inbox } from "./wait.ts";

/** The opcodes of RFC 6455 §5.2. */
export const OPCODE = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

/** A frame from the relay. */
export interface ServerFrame {
  /** The opcode. */
  opcode: number;
  /** Its payload. */
  payload: Uint8Array;
}

/** Builds a client's frame (RFC 6455 §5.2), masked with zeros. */
export function frame(
  opcode: number,
  payload: Uint8Array | string = "",
  { fin = true, masked = true, reserved = 0 } = {},
): Uint8Array {
  const body = Buffer.from(payload as string);
  const long = body.length > 0xffff, short = body.length < 126;
  const head = Buffer.alloc(short ? 2 : long ? 10 : 4);
  head[0] = (fin ? 0x80 : 0) | reserved << 4 | opcode;
  head[1] = short ? body.length : long ? 127 : 126;
  if (long) head.writeBigUInt64BE(BigInt(body.length), 2);
  else if (!short) head.writeUInt16BE(body.length, 2);
  if (masked) head[1] |= 0x80;
  return Buffer.concat(masked ? [head, Buffer.alloc(4), body] : [head, body]);
}

/** Builds a handshake request. `headers` replaces headers, or removes them with `null`. */
export function handshake(
  headers: Record<string, string | null> = {},
  requestLine = "GET / HTTP/1.1",
): string {
  const all: Record<string, string | null> = {
    "Host": "localhost",
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    ...headers,
  };
  const lines = Object.entries(all).filter(([, value]) => value !== null);
  return [requestLine, ...lines.map(([name, value]) => `${name}: ${value}`), "", ""].join("\r\n");
}

/** A TCP connection. Disposing of it resets it. */
export class RawClient implements Disposable {
  /** Resolves when the connection has ended. */
  readonly ended: Promise<void>;
  /** The head of the relay's response. */
  head = "";
  readonly #socket: Socket;
  readonly #frames = new Inbox<ServerFrame>();
  #take = (frame: ServerFrame) => this.#frames.push(frame);
  readonly #answered = Promise.withResolvers<void>();
  #bytes: Buffer = Buffer.alloc(0);
  #line: { bytes: number; timer: ReturnType<typeof setInterval> } | null = null;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("error", () => {});
    socket.on("data", (chunk: Buffer) => {
      this.#receive(chunk);
      if (this.#line && (this.#line.bytes -= chunk.length) < 0) socket.pause();
    });
    this.ended = new Promise((resolve) => {
      socket.once("close", () => resolve());
      socket.once("end", () => resolve());
    });
  }

  /** Opens a connection to a TCP port or a Unix socket. */
  static async open(relay: { url: string }): Promise<RawClient> {
    const path = pathOf(relay.url), { hostname, port } = new URL(relay.url);
    const socket = path
      ? connect(path)
      : connect({ port: Number(port), host: hostname, noDelay: true });
    const client = new RawClient(socket);
    const connected = new Promise((resolve, reject) => {
      socket.once("connect", resolve);
      socket.once("error", reject);
    });
    await bounded(connected, `a connection to ${relay.url}`);
    return client;
  }

  /** Opens a WebSocket in the room of the URL. `headers` is as in {@link handshake}. */
  static async join(
    relay: { url: string },
    headers?: Record<string, string | null>,
  ): Promise<RawClient> {
    const client = await RawClient.open(relay);
    const room = pathOf(relay.url) ? "/" : new URL(relay.url).pathname;
    await client.ask(handshake(headers, `GET ${room} HTTP/1.1`));
    return client;
  }

  /** Sends a request and waits for the head of the response, which is empty if the connection ends first. */
  async ask(request: string | Uint8Array, seconds?: number): Promise<string> {
    this.send(request);
    await bounded(Promise.race([this.#answered.promise, this.ended]), "an answer", seconds);
    return this.head;
  }

  /** Sends bytes. */
  send(bytes: Uint8Array | string): void {
    this.#socket.write(bytes);
  }

  /** Sends bytes and waits until the kernel has accepted them. */
  sent(bytes: Uint8Array): Promise<void> {
    const written = new Promise<void>((resolve) => this.#socket.write(bytes, () => resolve()));
    return bounded(written, "the kernel to take what is sent", 60);
  }

  /** Stops reading. */
  pause(): void {
    this.#socket.pause();
  }

  /** Resumes reading. */
  resume(): void {
    this.#socket.resume();
  }

  /** Reads only as fast as a slow line would. */
  slowDown(bytesPerSecond: number): void {
    const ticks = 50; // Per second.
    const timer = setInterval(() => {
      const { bytes } = this.#line!;
      this.#line!.bytes = Math.min(bytes + bytesPerSecond / ticks, bytesPerSecond / ticks);
      if (this.#line!.bytes > 0) this.#socket.resume();
    }, 1000 / ticks);
    this.#line = { bytes: 0, timer };
  }

  /** Continues to read but ignores the data. */
  ignore(): void {
    this.#receive = () => {};
  }

  /** Passes each later frame to a function instead of keeping it for {@link next}. */
  consume(take: (frame: ServerFrame) => void): void {
    this.#take = take;
  }

  /** Takes the next frame. */
  next(): Promise<ServerFrame> {
    return this.#frames.next("a frame");
  }

  /** Ends the connection with a FIN only. */
  fin(): void {
    this.#socket.end();
  }

  /** Ends the connection with an RST. */
  reset(): void {
    clearInterval(this.#line?.timer);
    this.#socket.resetAndDestroy();
  }

  [Symbol.dispose](): void {
    this.reset();
  }

  #receive = (chunk: Buffer): void => {
    this.#bytes = this.#bytes.length > 0 ? Buffer.concat([this.#bytes, chunk]) : chunk;
    if (!this.head) {
      const end = this.#bytes.indexOf("\r\n\r\n");
      if (end < 0) return;
      this.head = this.#bytes.subarray(0, end).toString();
      this.#bytes = this.#bytes.subarray(end + 4);
      this.#answered.resolve();
    }
    if (!this.head.startsWith("HTTP/1.1 101")) return;
    while (this.#bytes.length >= 2) {
      const [first, second] = this.#bytes;
      const start = second === 127 ? 10 : second === 126 ? 4 : 2;
      if (this.#bytes.length < start) return;
      const length = second === 127
        ? Number(this.#bytes.readBigUInt64BE(2))
        : second === 126
        ? this.#bytes.readUInt16BE(2)
        : second;
      if (this.#bytes.length < start + length) return;
      const payload = new Uint8Array(this.#bytes.subarray(start, start + length));
      this.#bytes = this.#bytes.subarray(start + length);
      this.#take({ opcode: first & 0x0f, payload });
    }
  };
}

/** Sends a request on a new connection, and returns the response's status and its head in lower case. */
export async function ask(
  relay: { url: string },
  headers: Record<string, string>,
  requestLine?: string,
): Promise<{ status: number; head: string }> {
  using client = await RawClient.open(relay);
  const head = (await client.ask(handshake(headers, requestLine))).toLowerCase();
  return { status: Number(head.split(" ")[1]), head };
}
