/**
 * A WebSocket client for tests.
 *
 * @module
 */

import { bounded, Inbox } from "./wait.ts";

/** A message as the client received it. */
export type Received = string | Uint8Array;

/** How a connection ended. */
export interface Closed {
  /** The close code. */
  code: number;
  /** The close reason. */
  reason: string;
}

/** One open WebSocket; disposing of it closes it and waits for that. */
export class Client implements AsyncDisposable {
  /** Resolves when the connection has ended. */
  readonly closed: Promise<Closed>;
  readonly #socket: WebSocket;
  readonly #inbox = new Inbox<Received>();

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onmessage = ({ data }) => {
      this.#inbox.push(typeof data === "string" ? data : new Uint8Array(data));
    };
    this.closed = new Promise((resolve) => {
      socket.onclose = ({ code, reason }) => resolve({ code, reason });
    });
  }

  /** Connects, or rejects if the relay refuses. */
  static async connect(url: string, options?: WebSocketOptions): Promise<Client> {
    const path = pathOf(url);
    using unix = path === null
      ? null
      : Deno.createHttpClient({ proxy: { transport: "unix", path } });
    const socket = unix
      ? new WebSocket("ws://localhost/", { ...options, client: unix })
      : new WebSocket(url, options);
    const client = new Client(socket);
    const opened = new Promise<void>((resolve, reject) => {
      socket.onopen = () => resolve();
      socket.onerror = (event) => reject(new Error((event as ErrorEvent).message));
    });
    await bounded(opened, `a connection to ${url}`);
    socket.onerror = null;
    return client;
  }

  /** Tells how many messages have arrived and not been taken. */
  get waiting(): number {
    return this.#inbox.size;
  }

  /** Sends a message. */
  send(message: string | Uint8Array<ArrayBuffer>): void {
    this.#socket.send(message);
  }

  /** Hands over each message that is yet to arrive, instead of keeping it for {@link next}. */
  listen(take: (message: Received) => void): void {
    this.#socket.onmessage = ({ data }) => {
      take(typeof data === "string" ? data : new Uint8Array(data));
    };
  }

  /** Takes the next message. */
  next(): Promise<Received> {
    return this.#inbox.next("a message");
  }

  /** Takes the next `count` messages. */
  async take(count: number): Promise<Received[]> {
    const messages: Received[] = [];
    while (messages.length < count) messages.push(await this.next());
    return messages;
  }

  /** Closes the connection and waits until the relay has agreed. */
  async close(code?: number, reason?: string): Promise<Closed> {
    this.#socket.close(code, reason);
    return await bounded(this.closed, "the end of a connection");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** Finds the path of a Unix socket in a relay's URL; `null` where it listens on a port. */
export function pathOf(url: string): string | null {
  return /^ws\+unix:(.*):\/$/.exec(url)?.[1] ?? null;
}

/** Connects a client to a relay. */
export function connect(relay: { url: string }, options?: WebSocketOptions): Promise<Client> {
  return Client.connect(relay.url, options);
}

/** Names a room of a relay by a URL, for all that connects to one. */
export function roomOf({ url }: { url: string }, path: string): { url: string } {
  return { url: new URL(path, url).href };
}

/** Connects several clients to a relay. */
export function connectAll(relay: { url: string }, count: number): Promise<Client[]> {
  return Promise.all(Array.from({ length: count }, () => connect(relay)));
}

/** Closes clients, those that are closed already included. */
export async function closeAll(clients: Iterable<Client>): Promise<void> {
  await Promise.all(Array.from(clients, (client) => client.close()));
}
