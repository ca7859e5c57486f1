/**
 * The open clients of the `ws` transport: what they send, their silence, and their ends.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import type { Socket } from "node:net";
import type { Seat } from "../../admission/admission.ts";
import type { Cause, Connection, Ending, Member, Membership } from "../../hub.ts";
import { CLOSE, type Close } from "../close.ts";
import { Seated } from "../seated.ts";
import { Unread } from "../unread.ts";
import { closeFrame, PING, pongFrame, type WsMessage } from "./frames.ts";
import { type Findings, FrameReader } from "./reader.ts";
import { own, type Owner } from "./sockets.ts";

/** The time for a client to answer a close frame, after it has read everything before it. */
const GOODBYE_SECONDS = 30;

/** The time for a client to read its close frame if it was evicted or broke the protocol. */
const FAREWELL_SECONDS = 1;

/** How many times within the idle timeout all clients are looked at. */
const SWEEPS = 20;

/** After so many sweeps without a word from it a client is pinged: half of the timeout has passed for certain. */
const PING_AFTER = SWEEPS / 2;

/** After so many sweeps in silence a client is evicted: the timeout has passed for certain. */
const DROP_AFTER = SWEEPS;

/** What is read of one client before it is the others' turn: so many bytes, or what takes so long. */
const MAX_READ = { bytes: 256 * 1024, milliseconds: 2 };

/** The number of pongs that may wait; beyond it only the latest ping is answered (RFC 6455 §5.5.3). */
const MAX_PONGS = 64;

type Members = Membership<WsMessage, Buffer>;

/** The transport's side of an open client. */
class Client extends Seated implements Connection<Buffer>, Findings, Owner {
  readonly #socket: Socket;
  readonly #clients: WsClients;
  readonly #member: Member;
  readonly #reader: FrameReader;
  readonly #unread = new Unread();
  #closing = false; // Since a close frame was sent.
  #farewell: ReturnType<typeof setTimeout> | undefined;
  // Bytes that have arrived and must wait to be read.
  #input: Buffer | null = null;
  #at = 0;
  #held = false; // By the hub.
  #resting = false; // For the others' turn.
  #ended = false; // By the client.
  #readBytes = 0; // In this turn of the event loop, or in several small reads, like the time below.
  #readMilliseconds = 0;
  // How many pongs wait to be sent, and the latest ping if it must wait for them.
  #pongs = 0;
  #ping: Buffer | null = null;
  #heard = false; // Since the last sweep.
  #unheard = 0; // In sweeps, like silence: unheard, and with nothing left to read.
  #silence = 0;

  /** Makes an open client a member. */
  constructor(socket: Socket, seat: Seat, clients: WsClients) {
    super(seat);
    this.#socket = socket;
    this.#clients = clients;
    this.#reader = new FrameReader(this, clients.maxMessageBytes);
    clients.all.add(this);
    this.#member = clients.members.join(this);
  }

  leave(cause: Cause): void {
    this.#clients.members.leave(this.#member, cause);
  }

  backlog(): number {
    return this.#socket.writableLength;
  }

  write(frames: Buffer): void {
    if (this.#closing) return;
    this.#unread.add(frames.length);
    this.#socket.write(frames);
  }

  close(ending: Ending): void {
    this.#close(closeFrame(CLOSE[ending]), GOODBYE_SECONDS);
  }

  evict(ending: Ending): void {
    if (this.backlog() > 0) return this.terminate();
    this.#close(closeFrame(CLOSE[ending]), FAREWELL_SECONDS);
  }

  terminate(): void {
    this.#socket.destroy();
  }

  #close(frame: Buffer, seconds: number): void {
    if (this.#closing) return;
    this.#closing = true;
    this.#socket.write(frame);
    this.#farewell = setTimeout(() => this.terminate(), seconds * 1000);
  }

  pause(): void {
    this.#held = true;
    this.#socket.pause();
  }

  resume(): void {
    this.#held = false;
    if (this.#input || this.#ended) this.#rest(); // Not at once, because the hub is at work.
    else if (!this.#resting) this.#socket.resume();
  }

  take(bytes: Buffer): void {
    this.#heard = true;
    this.#input = bytes;
    this.#at = 0;
    this.#readBytes += bytes.length;
    this.#read();
  }

  /** Reads what has arrived, until it is the turn of the others or the hub pauses the client. */
  #read(): void {
    const input = this.#input!;
    const started = performance.now();
    let spent = this.#readMilliseconds;
    while (this.#at < input.length && !this.#held && spent < MAX_READ.milliseconds) {
      this.#at = this.#reader.read(input, this.#at);
      spent = this.#readMilliseconds + performance.now() - started;
    }
    this.#readMilliseconds = spent;
    if (this.#at === input.length) this.#input = null;
    if (spent >= MAX_READ.milliseconds || this.#readBytes >= MAX_READ.bytes) this.#rest();
  }

  /**
   * Lets the other clients have their turn. This needs a timer that starts after the work of this turn, because
   * Deno looks at other sockets only when its loop rests.
   */
  #rest(): void {
    if (this.#resting) return;
    this.#resting = true;
    this.#socket.pause();
    setImmediate(() => setTimeout(() => this.#goOn()));
  }

  #goOn(): void {
    this.#resting = false;
    this.#readBytes = this.#readMilliseconds = 0;
    if (this.#held || this.#socket.destroyed) return;
    if (this.#input) this.#read();
    if (this.#input || this.#held || this.#resting) return;
    if (this.#ended) this.#finish();
    else this.#socket.resume();
  }

  message(payload: Buffer, binary: boolean): void {
    this.#clients.members.publish(this.#member, { payload, binary }, payload.length);
  }

  ping(payload: Buffer): void {
    if (this.#closing) return;
    if (this.#pongs === MAX_PONGS) {
      this.#ping = payload;
      return;
    }
    this.#pongs++;
    this.#socket.write(pongFrame(payload), () => {
      this.#pongs--;
      const ping = this.#ping;
      this.#ping = null;
      if (ping) this.ping(ping);
    });
  }

  closed(code: number | null): void {
    this.#close(closeFrame(code === null ? null : { code, reason: "" }), GOODBYE_SECONDS);
    this.leave("closed");
    this.#socket.end();
  }

  breach(answer: Close): void {
    this.#close(closeFrame(answer), FAREWELL_SECONDS);
    this.leave(answer === CLOSE.too_big ? "too_big" : "error");
    this.#socket.end();
  }

  ended(): void {
    this.#ended = true;
    if (!this.#input) this.#finish();
  }

  /** Ends the own side as well, after everything was read. */
  #finish(): void {
    this.leave("error");
    this.#closing = true;
    this.#socket.end();
    this.#farewell ??= setTimeout(() => this.terminate(), FAREWELL_SECONDS * 1000);
  }

  gone(): void {
    this.#clients.all.delete(this);
    this.leave("error");
    clearTimeout(this.#farewell);
  }

  /** Pings the client after each silent half of the timeout, and tells whether all of it passed in silence. */
  sweep(seconds: number): boolean {
    const heard = this.#heard;
    this.#heard = false;
    this.#unheard = heard ? 0 : this.#unheard + 1;
    if (!heard && !this.#closing && this.#unheard % PING_AFTER === 0) this.#socket.write(PING);
    const reading = this.#unread.pass(seconds, this.backlog());
    this.#silence = heard || reading ? 0 : this.#silence + 1;
    return this.#silence >= DROP_AFTER;
  }
}

/** The open clients of one listener, connected to the hub, and dropped when they are silent. */
export class WsClients {
  /** All of them. */
  readonly all = new Set<Client>();
  /** The hub's side of them. */
  readonly members: Members;
  /** The largest message. */
  readonly maxMessageBytes: number;
  #sweeping: ReturnType<typeof setInterval> | undefined;

  /** Begins without clients. */
  constructor(members: Members, maxMessageBytes: number) {
    this.members = members;
    this.maxMessageBytes = maxMessageBytes;
  }

  /** Begins to watch for silence. */
  watch(idleTimeoutSeconds: number): void {
    const seconds = idleTimeoutSeconds / SWEEPS;
    this.#sweeping = setInterval(() => this.#sweep(seconds), seconds * 1000);
  }

  /** Makes an open client a member, and reads what came after its handshake. */
  add(socket: Socket, seat: Seat, rest: Buffer): void {
    const client = new Client(socket, seat, this);
    own(socket, client);
    if (rest.length > 0) client.take(rest);
    if (socket.readableEnded) client.ended(); // It has ended while its token was checked.
  }

  /** Stops watching. */
  stop(): void {
    clearInterval(this.#sweeping);
  }

  #sweep(seconds: number): void {
    for (const client of this.all) {
      if (!client.sweep(seconds)) continue;
      client.leave("idle");
      client.terminate();
    }
  }
}
