/**
 * The open clients of the `ws` transport: what they send, their silence, and their ends.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import type { Socket } from "node:net";
// @ts-types="npm:@types/ws@8.18.1"
import { WebSocket } from "ws";
import type { Seat } from "../../admission/admission.ts";
import type { Connection, Ending, Member, Membership, Replay } from "../../hub.ts";
import { CLOSE } from "../close.ts";
import { Unread } from "../unread.ts";
import type { WsMessage } from "./frames.ts";

/** The codes with which `ws` ends a connection for a message that is too big, or in too many fragments. */
const TOO_BIG: (number | undefined)[] = [1009, 1008];

/** The codes of the errors that `ws` reports then. */
const TOO_BIG_ERRORS = ["WS_ERR_UNSUPPORTED_MESSAGE_LENGTH", "WS_ERR_TOO_MANY_BUFFERED_PARTS"];

/** Gives the close frame that `ws` itself sends for a message that is too big code and reason of the contract. */
export class ReasonedWebSocket extends WebSocket {
  /** Closes as `ws` does, with code and reason where it has none. */
  override close(code?: number, reason?: string | Buffer): void {
    if (reason !== undefined || !TOO_BIG.includes(code)) return super.close(code, reason);
    super.close(CLOSE.too_big.code, CLOSE.too_big.reason);
  }
}

/** What `ws` does not make public: the fragments of the message that is arriving. */
interface Receiving {
  readonly _receiver: { readonly _fragments: Buffer[] };
}

/** So many fragments of a message may lie about: each takes more than a hundred bytes, however small it is. */
const LOOSE_FRAGMENTS = 1024;

/** The time that an evicted client has to take its close frame. */
const FAREWELL_SECONDS = 1;

/** How many times within the idle timeout all clients are looked at. */
const SWEEPS = 20;

/** After so many sweeps without a word from it a client is pinged: half of the timeout has passed for certain. */
const PING_AFTER = SWEEPS / 2;

/** After so many sweeps in silence a client is evicted: the timeout has passed for certain. */
const DROP_AFTER = SWEEPS;

/** What is read of one client before it is the others' turn: so many bytes, or what takes so long. */
const MAX_READ = { bytes: 256 * 1024, milliseconds: 2 };

/** The code of a connection that ended without a close frame (RFC 6455 §7.1.5). */
const NO_CLOSE_FRAME = 1006;

/** The transport's side of an open client, and how long it has been silent. */
class Client implements Connection<Buffer> {
  /** How many pieces of the message that is arriving were put together from fragments. */
  gathered = 0;
  readonly #webSocket: WebSocket;
  readonly #socket: Socket;
  readonly #seat: Seat;
  readonly #unread = new Unread();
  #bytesRead: number;
  #unheard = 0; // In sweeps, as is silence: to be unheard and to have nothing left to read.
  #silence = 0;
  #held = false; // By the hub.
  #readBytes = 0; // In this turn of the event loop, or in several small reads, as is the time for it.
  #readMilliseconds = 0;
  #arrivedAt = 0;

  constructor(webSocket: WebSocket, socket: Socket, seat: Seat) {
    this.#webSocket = webSocket;
    this.#socket = socket;
    this.#seat = seat;
    this.#bytesRead = socket.bytesRead;
  }

  get peer(): string {
    return this.#seat.peer;
  }

  get room(): string {
    return this.#seat.room;
  }

  get replay(): Replay | null {
    return this.#seat.replay;
  }

  get mayTalk(): boolean {
    return this.#seat.mayTalk;
  }

  get expires(): number {
    return this.#seat.expires;
  }

  backlog(): number {
    return this.#socket.writableLength;
  }

  write(frames: Buffer): void {
    this.#unread.add(frames.length);
    this.#socket.write(frames);
  }

  close(ending: Ending): void {
    const { code, reason } = CLOSE[ending];
    this.#webSocket.close(code, reason);
  }

  evict(ending: Ending): void {
    if (this.backlog() > 0) return this.terminate();
    this.close(ending);
    this.terminateSoon();
  }

  terminate(): void {
    this.#webSocket.terminate();
  }

  /** Leaves it a moment to take what was sent last. */
  terminateSoon(): void {
    const timer = setTimeout(() => this.terminate(), FAREWELL_SECONDS * 1000);
    this.#webSocket.once("close", () => clearTimeout(timer));
  }

  pause(): void {
    this.#held = true;
    this.#webSocket.pause();
  }

  resume(): void {
    this.#held = false;
    this.#webSocket.resume();
  }

  /** Puts the fragments together that have come of a message, if there are many. */
  gather(): void {
    const { _fragments: pieces } = (this.#webSocket as unknown as Receiving)._receiver;
    if (pieces.length - this.gathered <= LOOSE_FRAGMENTS) return;
    pieces.push(Buffer.concat(pieces.splice(this.gathered)));
    this.gathered = pieces.length;
  }

  /** Is told that something has arrived, before the library reads it. */
  arrived(): void {
    this.#arrivedAt = performance.now();
  }

  /**
   * Counts what was read, and lets the other clients have their turn after a good piece of it. That takes
   * a timer that begins after this turn's work: Deno looks at other sockets only when its loop rests.
   */
  read(bytes: number): void {
    this.#readBytes += bytes;
    this.#readMilliseconds += performance.now() - this.#arrivedAt;
    if (this.#readBytes < MAX_READ.bytes && this.#readMilliseconds < MAX_READ.milliseconds) return;
    this.#readBytes = this.#readMilliseconds = 0;
    this.#webSocket.pause();
    setImmediate(() => {
      setTimeout(() => {
        if (!this.#held) this.#webSocket.resume();
      });
    });
  }

  left(): void {
    this.#seat.release();
  }

  /** Pings it at each half of the timeout in which it sent nothing, and tells whether all of it passed in silence. */
  sweep(seconds: number): boolean {
    const { bytesRead } = this.#socket;
    const heard = bytesRead !== this.#bytesRead;
    this.#bytesRead = bytesRead;
    this.#unheard = heard ? 0 : this.#unheard + 1;
    if (!heard && this.#unheard % PING_AFTER === 0) this.#webSocket.ping();
    const reading = this.#unread.pass(seconds, this.backlog());
    this.#silence = heard || reading ? 0 : this.#silence + 1;
    return this.#silence >= DROP_AFTER;
  }
}

/** The open clients of one listener: tied to the hub, and dropped when they are silent. */
export class WsClients {
  readonly #members: Membership<WsMessage, Buffer>;
  readonly #clients = new Map<Client, Member>();
  #sweeping: ReturnType<typeof setInterval> | undefined;

  /** Begins without clients. */
  constructor(members: Membership<WsMessage, Buffer>) {
    this.#members = members;
  }

  /** Begins to watch for silence. */
  watch(idleTimeoutSeconds: number): void {
    const seconds = idleTimeoutSeconds / SWEEPS;
    this.#sweeping = setInterval(() => this.#sweep(seconds), seconds * 1000);
  }

  /** Makes an open client a member, until it ends. */
  add(webSocket: WebSocket, socket: Socket, seat: Seat): void {
    const members = this.#members;
    const client = new Client(webSocket, socket, seat);
    const member = members.join(client);
    this.#clients.set(client, member);
    socket.prependListener("data", () => client.arrived());
    socket.on("data", ({ length }: Buffer) => {
      client.gather();
      client.read(length);
    });
    webSocket.on("message", (data, binary) => {
      client.gathered = 0;
      const payload = data as Buffer; // The type that `ws` is set to hand over.
      members.publish(member, { payload, binary }, payload.length);
    });
    webSocket.on("error", (error) => {
      const { code = "" } = error as NodeJS.ErrnoException;
      members.leave(member, TOO_BIG_ERRORS.includes(code) ? "too_big" : "error");
      client.terminateSoon();
    });
    webSocket.on("close", (code) => {
      this.#clients.delete(client);
      members.leave(member, code === NO_CLOSE_FRAME ? "error" : "closed");
    });
  }

  /** Stops watching. */
  stop(): void {
    clearInterval(this.#sweeping);
  }

  #sweep(seconds: number): void {
    for (const [client, member] of this.#clients) {
      if (!client.sweep(seconds)) continue;
      this.#members.leave(member, "idle");
      client.terminate();
    }
  }
}
