/**
 * A WebSocket client for tests.
 *
 * @module
 */

import { bounded, Inbox } from "./wait.ts";

/** A received message. */
export type Received = string | Uint8Array;

/** The end of a connection. */
export interface Closed {
  /** The close code. */
  code: number;
  /** The close reason. */
  reason: string;
}

/** An open WebSocket. Disposing of it closes it and waits for the end. */
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

  /** Connects, and rejects if the relay refuses the client. */
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

  /** The number of messages that have arrived and were not taken yet. */
  get waiting(): number {
    return this.#inbox.size;
  }

  /** Sends a message. */
  send(message: string | Uint8Array<ArrayBuffer>): void {
    this.#socket.send(message);
  }

  /** Passes each later message to a function instead of keeping it for {@link next}. */
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

  /** Closes the connection and waits for the relay's close frame. */
  async close(code?: number, reason?: string): Promise<Closed> {
    this.#socket.close(code, reason);
    return await bounded(this.closed, "the end of a connection");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** Finds the path of a Unix socket in a relay's URL; `null` if the relay listens on a port. */
export function pathOf(url: string): string | null {
  return /^ws\+unix:(.*):\/$/.exec(url)?.[1] ?? null;
}

/** Connects a client to a relay. */
export function connect(relay: { url: string }, options?: WebSocketOptions): Promise<Client> {
  return Client.connect(relay.url, options);
}

/** Makes the URL of a room of a relay. */
export function roomOf({ url }: { url: string }, path: string): { url: string } {
  return { url: new URL(path, url).href };
}

/** Connects several clients to a relay. */
export function connectAll(relay: { url: string }, count: number): Promise<Client[]> {
  return Promise.all(Array.from({ length: count }, () => connect(relay)));
}

/** Closes clients. Some may be closed already. */
export async function closeAll(clients: Iterable<Client>): Promise<void> {
  await Promise.all(Array.from(clients, (client) => client.close()));
}
