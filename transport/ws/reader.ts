/**
 * The reader of the bytes of a WebSocket client: frames (RFC 6455 §5) that become messages.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { BREACH, CLOSE, type Close } from "../close.ts";
import { Utf8 } from "./utf8.ts";

/** What a reader reports to. */
export interface Findings {
  /** Takes a whole message; text is valid UTF-8. */
  message(payload: Buffer, binary: boolean): void;
  /** Takes a ping, with the payload that its pong must have. */
  ping(payload: Buffer): void;
  /** Takes a close frame, with its code or `null`. Nothing is read after it. */
  closed(code: number | null): void;
  /** Learns of a breach of the protocol or of the limit, and its close frame. Nothing is read after it. */
  breach(answer: Close): void;
}

/** How many frames are read in one call, however small they are. */
const FRAMES_AT_A_STRETCH = 128;

/** How many fragments a message may have besides one per byte: empty ones. */
const SPARE_FRAGMENTS = 16 * 1024;

/** The factor by which the buffer of a message grows when it is full. */
const GROWTH = 4;

/** The opcodes of RFC 6455 §5.2. */
const CONTINUATION = 0, TEXT = 1, BINARY = 2, CLOSING = 8, PING = 9, PONG = 10;

/** The longest head of a frame: two bytes, a length and a mask. */
const LONGEST_HEAD = 14;

const NOTHING = Buffer.alloc(0);

/** Reads the frames of one client from any pieces, and stops at the first breach. */
export class FrameReader {
  readonly #findings: Findings;
  readonly #maxMessageBytes: number;
  #ended = false;
  /** The beginning of a frame's head that is not complete. */
  #cut: Buffer | null = null;
  // The frame that is arriving: its head, and how many bytes of its payload are missing.
  #opcode = CONTINUATION;
  #final = true;
  #mask = 0;
  #missing = 0;
  // The message that is arriving: its opcode, or CONTINUATION for none, and its bytes so far.
  #message = CONTINUATION;
  #body: Buffer = NOTHING;
  #filled = 0;
  #fragments = 0;
  #utf8: Utf8 | null = null;
  /** The payload of a control frame, which may come between the fragments of a message. */
  #control: Buffer = NOTHING;

  /** Begins to read, and reports what it finds. */
  constructor(findings: Findings, maxMessageBytes: number) {
    this.#findings = findings;
    this.#maxMessageBytes = maxMessageBytes;
  }

  /**
   * Reads some frames, from a position in the bytes that have arrived.
   *
   * @returns The position to go on from; the end if everything was read.
   */
  read(bytes: Buffer, at: number): number {
    for (
      let frames = 0;
      frames < FRAMES_AT_A_STRETCH && at < bytes.length && !this.#ended;
      frames++
    ) {
      if (this.#missing === 0) {
        at = this.#readHead(bytes, at);
        if (this.#cut || this.#ended) break;
      }
      at = this.#readPayload(bytes, at);
    }
    return this.#ended ? bytes.length : at;
  }

  #readHead(bytes: Buffer, at: number): number {
    const before = this.#cut?.length ?? 0;
    const head = this.#cut
      ? Buffer.concat([this.#cut, bytes.subarray(at, at + LONGEST_HEAD - before)])
      : bytes;
    const length = this.#parseHead(head, this.#cut ? 0 : at);
    this.#cut = length > 0 ? null : Buffer.from(this.#cut ? head : bytes.subarray(at));
    return length > 0 ? at + length - before : bytes.length;
  }

  /** Returns the length of a head; 0 if it is incomplete or wrong. */
  #parseHead(bytes: Buffer, at: number): number {
    const first = bytes[at], second = bytes[at + 1], available = bytes.length - at;
    const opcode = first & 0x0f, final = first >= 0x80, control = opcode >= CLOSING;
    const inMessage = this.#message !== CONTINUATION;
    if ((first & 0x70) !== 0 || opcode > PONG || opcode > BINARY && !control) {
      return this.#fail(BREACH.bits);
    }
    if (control && !final) return this.#fail(BREACH.control);
    if (!control && (opcode === CONTINUATION) !== inMessage) return this.#fail(BREACH.order);
    if (available < 2) return 0;
    if (second < 0x80) return this.#fail(BREACH.mask);
    const short = second & 0x7f;
    if (control && short > 125) return this.#fail(BREACH.control);
    if (opcode === CLOSING && short === 1) return this.#fail(BREACH.close);
    if (short === 127 && bytes[at + 2] >= 0x80) return this.#fail(BREACH.length);
    const size = short < 126 ? 2 : short === 126 ? 4 : 10;
    if (available < size) return 0;
    const length = short < 126
      ? short
      : short === 126
      ? bytes.readUInt16BE(at + 2)
      : bytes.readUInt32BE(at + 2) * 2 ** 32 + bytes.readUInt32BE(at + 6);
    if (!control && !this.#fits(length)) return this.#fail(CLOSE.too_big);
    if (available < size + 4) return 0;
    this.#begin(opcode, final, length, bytes.readInt32LE(at + size));
    return size + 4;
  }

  #fits(length: number): boolean {
    return this.#filled + length <= this.#maxMessageBytes &&
      this.#fragments < this.#maxMessageBytes + SPARE_FRAGMENTS;
  }

  #begin(opcode: number, final: boolean, length: number, mask: number): void {
    this.#opcode = opcode;
    this.#final = final;
    this.#missing = length;
    this.#mask = mask;
    if (opcode >= CLOSING) this.#control = Buffer.allocUnsafe(length);
    else if (opcode !== CONTINUATION) this.#message = opcode;
    if (opcode < CLOSING) this.#fragments++;
  }

  #readPayload(bytes: Buffer, at: number): number {
    const count = Math.min(this.#missing, bytes.length - at);
    if (this.#opcode >= CLOSING) {
      const filled = this.#control.length - this.#missing;
      unmask(bytes, at, this.#control, filled, count, this.#mask);
    } else if (!this.#append(bytes, at, count)) return this.#fail(BREACH.utf8);
    this.#mask = turn(this.#mask, count);
    this.#missing -= count;
    if (this.#missing === 0) {
      if (this.#opcode >= CLOSING) this.#finishControl();
      else if (this.#final) this.#finishMessage();
    }
    return at + count;
  }

  /** Adds bytes to the message; tells whether they can be right. */
  #append(bytes: Buffer, at: number, count: number): boolean {
    const from = this.#filled, to = from + count;
    if (to > this.#body.length) this.#makeRoom(to);
    const ascii = unmask(bytes, at, this.#body, from, count, this.#mask);
    this.#filled = to;
    if (this.#message !== TEXT || ascii && (this.#utf8?.whole ?? true)) return true;
    return (this.#utf8 ??= new Utf8()).take(this.#body, from, to);
  }

  /** Grows with the bytes that have arrived, so that a head alone takes no memory. */
  #makeRoom(needed: number): void {
    const most = this.#final ? this.#filled + this.#missing : this.#maxMessageBytes;
    const size = Math.max(needed, Math.min(GROWTH * this.#body.length, most));
    const body = Buffer.allocUnsafe(size);
    this.#body.copy(body, 0, 0, this.#filled);
    this.#body = body;
  }

  #finishMessage(): void {
    if (this.#utf8 && !this.#utf8.whole) return void this.#fail(BREACH.utf8);
    const body = this.#body, binary = this.#message === BINARY;
    const payload = body.length === this.#filled ? body : body.subarray(0, this.#filled);
    this.#message = CONTINUATION;
    this.#body = NOTHING;
    this.#filled = this.#fragments = 0;
    this.#utf8 = null;
    this.#findings.message(payload, binary);
  }

  #finishControl(): void {
    const payload = this.#control;
    this.#control = NOTHING;
    if (this.#opcode === PING) return this.#findings.ping(payload);
    if (this.#opcode === PONG) return;
    const code = payload.length > 0 ? payload.readUInt16BE() : null;
    if (code !== null && !isCloseCode(code)) return void this.#fail(BREACH.close);
    const reason = new Utf8();
    if (!reason.take(payload, 2, payload.length) || !reason.whole) {
      return void this.#fail(BREACH.utf8);
    }
    this.#ended = true;
    this.#findings.closed(code);
  }

  #fail(answer: Close): 0 {
    this.#ended = true;
    this.#findings.breach(answer);
    return 0;
  }
}

/** The number of bytes from which on they are unmasked four at a time. */
const WORTH_WORDS = 64;

/** Unmasks bytes into a buffer, and tells whether all of them are ASCII. */
function unmask(
  from: Buffer,
  at: number,
  to: Buffer,
  start: number,
  count: number,
  mask: number,
): boolean {
  from.copy(to, start, at, at + count);
  const end = start + count;
  let all = 0;
  if (count >= WORTH_WORDS) {
    const first = start + (-(to.byteOffset + start) & 3); // Words must be aligned.
    all |= unmaskBytes(to, start, first, mask);
    const words = new Int32Array(to.buffer, to.byteOffset + first, end - first >> 2);
    mask = turn(mask, first - start);
    for (let i = 0; i < words.length; i++) all |= words[i] ^= mask;
    start = first + 4 * words.length;
  }
  all |= unmaskBytes(to, start, end, mask);
  return (all & 0x80808080) === 0;
}

function unmaskBytes(bytes: Buffer, from: number, to: number, mask: number): number {
  let all = 0;
  for (let at = from; at < to; at++) all |= bytes[at] ^= mask >>> 8 * (at - from & 3) & 0xff;
  return all;
}

/** Turns a mask for the byte that comes so many bytes later. */
function turn(mask: number, bytes: number): number {
  const bits = 8 * (bytes & 3);
  return mask >>> bits | mask << 32 - bits;
}

/** Tells whether a client may close with a code (RFC 6455 §7.4). */
function isCloseCode(code: number): boolean {
  return code >= 3000 && code < 5000 || code >= 1000 && code <= 1003 ||
    code >= 1007 && code <= 1014;
}
