/**
 * The connections of the `ws` transport that are not WebSockets yet: their requests, and the answers.
 *
 * @module
 */

import type { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import type { Socket } from "node:net";
import type { Seat } from "../../admission/admission.ts";
import { type HandshakeRequest, wantsUpgrade } from "../../admission/handshake.ts";
import type { Answer, ListenOptions } from "../transport.ts";
import type { WsMessage } from "./frames.ts";
import { HeadReader } from "./head.ts";
import { refuse, Requests } from "./requests.ts";
import { listenTo, own } from "./sockets.ts";

/** The text that is added to a key before it is hashed (RFC 6455 §1.3). */
const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/** The time between two checks for connections that take too long. */
const SWEEP_MILLISECONDS = 100;

/** A connection that has not become a WebSocket. */
interface Pending {
  readonly socket: Socket;
  /** When its time is over, in milliseconds of `performance.now()`. */
  deadline: number;
}

/** Takes over a connection after its handshake, with the bytes that came after that. */
export type Welcome = (socket: Socket, seat: Seat, rest: Buffer) => void;

/** The connections that have not become WebSockets, each of them for a limited time. */
export class Arrivals {
  readonly #options: ListenOptions<WsMessage, Buffer>;
  readonly #milliseconds: number;
  readonly #welcome: Welcome;
  readonly #requests: Requests;
  /** By the names of the connections. */
  readonly #pending = new Map<Socket | string, Pending>();
  #sweeping: ReturnType<typeof setInterval> | undefined;

  /** Begins without connections; the time is for the handshake of each. */
  constructor(
    options: ListenOptions<WsMessage, Buffer>,
    timeoutSeconds: number,
    welcome: Welcome,
  ) {
    this.#options = options;
    this.#milliseconds = timeoutSeconds * 1000;
    this.#welcome = welcome;
    this.#requests = new Requests(options);
  }

  /** Begins to check for connections that take too long. */
  watch(): void {
    this.#sweeping = setInterval(() => this.#sweep(), SWEEP_MILLISECONDS);
  }

  /** Starts the time of a connection that was accepted; with TLS this is the socket below the one to read. */
  expect(socket: Socket): void {
    if (socket.remoteAddress === undefined && "port" in this.#options.address) {
      return void socket.destroy(); // It was reset already, and has no name any more.
    }
    const deadline = performance.now() + this.#milliseconds;
    const name = this.#nameOf(socket);
    this.#pending.get(name)?.socket.destroy(); // The client can have its address again only if this one is gone.
    this.#pending.set(name, { socket, deadline });
  }

  /** Reads the request of a connection, and answers it. */
  receive(socket: Socket): void {
    const head = new HeadReader();
    const ended = () => socket.destroy();
    const take = (bytes: Buffer) => {
      const request = head.take(bytes);
      if (!request) return;
      own(socket, { take: nothing, ended, gone: nothing });
      if (!("status" in request)) return this.#take(socket, request, head);
      this.#options.countRejection(request.reason);
      refuse(socket, request);
    };
    listenTo(socket, { take, ended, gone: nothing });
  }

  /** Stops checking, and ends all connections that are left. */
  stop(): void {
    clearInterval(this.#sweeping);
    for (const { socket } of this.#pending.values()) socket.destroy();
  }

  #take(socket: Socket, request: HandshakeRequest, { bytes, rest }: HeadReader): void {
    const admit = () => {
      const { remoteAddress: hostname = "unknown", remotePort: port = 0 } = socket;
      return this.#options.admit(
        request,
        "path" in this.#options.address ? null : { hostname, port },
      );
    };
    if (request.method !== "CONNECT" && !wantsUpgrade(request)) {
      const extend = (seconds: number) => {
        const pending = this.#pending.get(this.#nameOf(socket));
        if (pending) pending.deadline = performance.now() + seconds * 1000 + this.#milliseconds;
      };
      return this.#requests.take(socket, bytes, { admit, extend });
    }
    const admitted = admit();
    if (!(admitted instanceof Promise)) return this.#answer(socket, request, rest, admitted);
    own(socket, null); // Its end, too, can wait until its token was checked.
    socket.pause();
    void admitted.then((admitted) => {
      socket.resume(); // First, because the client may be paused again at once.
      this.#answer(socket, request, rest, admitted);
    });
  }

  #answer(socket: Socket, request: HandshakeRequest, rest: Buffer, admitted: Seat | Answer): void {
    if ("status" in admitted) return refuse(socket, admitted);
    if (socket.destroyed) return admitted.release(); // The client has gone while its token was checked.
    this.#pending.delete(this.#nameOf(socket));
    socket.write(acceptance(request.header("sec-websocket-key")!, admitted.subprotocol), "latin1");
    this.#welcome(socket, admitted, rest);
  }

  #sweep(): void {
    const now = performance.now();
    for (const [name, { socket, deadline }] of this.#pending) {
      if (deadline <= now) socket.destroy();
      if (socket.destroyed) this.#pending.delete(name);
    }
  }

  /** Names a connection: by the address of its peer with TLS, because it has two sockets then. */
  #nameOf(socket: Socket): Socket | string {
    return this.#options.certificate ? `${socket.remoteAddress} ${socket.remotePort}` : socket;
  }
}

function nothing(): void {}

/** Makes the answer to a handshake that was admitted (RFC 6455 §4.2.2). */
function acceptance(key: string, subprotocol: string | null): string {
  return "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
    `Sec-WebSocket-Accept: ${createHash("sha1").update(key + GUID).digest("base64")}\r\n` +
    `${subprotocol ? `Sec-WebSocket-Protocol: ${subprotocol}\r\n` : ""}\r\n`;
}
