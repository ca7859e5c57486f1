/**
 * A relay that the test controls, for cases that are rare with a real one.
 *
 * @module
 */

import type { Received } from "./client.ts";

/** A relay with a history whose clients receive the test's messages. Disposing of it ends it. */
export class ScriptedRelay implements AsyncDisposable {
  /** The path and the query of each request, the oldest first. */
  readonly asked: string[] = [];
  /** How long the history keeps messages, in seconds. */
  keeps = 60;
  /** Whether messages are only kept in the history and not sent to clients. */
  mute = false;
  readonly #history: { data: Received; at: number }[] = [];
  readonly #sockets = new Set<WebSocket>();
  readonly #server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    (request) => this.#admit(request),
  );

  /** The port that it listens on. */
  get port(): number {
    return this.#server.addr.port;
  }

  /** The URL for clients. */
  get url(): string {
    return `ws://127.0.0.1:${this.port}/`;
  }

  /** The number of connected clients. */
  get connected(): number {
    return this.#sockets.size;
  }

  /** The number of messages so far. */
  get said(): number {
    return this.#history.length;
  }

  /** Sends a message to all clients. */
  say(data: Received): void {
    this.#history.push({ data, at: Date.now() });
    if (this.mute) return;
    for (const socket of this.#sockets) socket.send(data as string);
  }

  /** Ends all connections. */
  end(code: number, reason?: string): void {
    for (const socket of this.#sockets) socket.close(code, reason);
    this.#sockets.clear();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.end(1001);
    await this.#server.shutdown();
  }

  #admit(request: Request): Response {
    const { pathname, search, searchParams } = new URL(request.url);
    this.asked.push(pathname + search);
    const protocol = request.headers.get("Sec-WebSocket-Protocol") ? "relay" : undefined;
    const { socket, response } = Deno.upgradeWebSocket(request, { protocol });
    socket.onopen = () => {
      for (const data of this.#replay(searchParams)) socket.send(data as string);
      this.#sockets.add(socket);
    };
    socket.onmessage = ({ data }) => this.say(data);
    socket.onclose = () => this.#sockets.delete(socket);
    return response;
  }

  #replay(asked: URLSearchParams): Received[] {
    const [last, since] = ["last", "since"].map((name) => Number(asked.get(name)));
    const oldest = Date.now() - 1000 * Math.min(this.keeps, since || Infinity);
    const kept = this.#history.filter(({ at }) => at >= oldest).map(({ data }) => data);
    return last > 0 ? kept.slice(-last) : since > 0 ? kept : [];
  }
}
