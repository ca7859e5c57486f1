/**
 * What has its place in an order that others decide, and is yet to be delivered.
 *
 * @module
 */

import type { Origin } from "./log.ts";
import type { Frames } from "./order.ts";
import { type BatchBounds, MESSAGE_BYTES } from "./queue.ts";
import type { Sum } from "./source.ts";

/** Messages that arrived, or were put together, as one. */
export interface Piece extends Frames {
  /** The bytes of their payloads. */
  readonly payloadBytes: number;
  /** The origin of each, as far as it is a member here; `null` if that does not matter. */
  readonly origins: readonly Origin[] | null;
  /** When they got their places in the order, in milliseconds. */
  readonly time: number;
}

/** What is here waits this share of the time that a delivery takes for what is on its way, at most so long. */
const SHARE = 1 / 4, LONGEST_WAIT_MILLISECONDS = 10;

/** Pieces that are further apart in time are not put together, so that the history can tell them apart. */
const LONGEST_SPAN_MILLISECONDS = 500;

/** The pieces that have arrived, in their order. */
export class Arrivals {
  /** The number of their messages. */
  messages = 0;
  /** The memory that they take up. */
  bytes = 0;
  /** The time in milliseconds that the last delivery took. */
  deliveryMilliseconds = 0;
  readonly #sum: Sum;
  #pieces: Piece[] = [];
  #since: number | null = null; // When it was first asked whether the first piece waits.

  /** Begins empty; its bytes are also counted in a sum, if there is one. */
  constructor(sum: Sum = { bytes: 0 }) {
    this.#sum = sum;
  }

  /** Adds a piece. */
  push(piece: Piece): void {
    this.#pieces.push(piece);
    this.#count(piece.ends.length, costOf(piece));
  }

  /**
   * Takes the first piece, and with it as many as the bounds allow: a copy of their frames costs less than
   * one more write to each member.
   */
  take(bounds: BatchBounds): Piece {
    const [{ time }] = this.#pieces;
    let count = 0, messages = 0, bytes = 0;
    for (const piece of this.#pieces) {
      const { length } = piece.ends, cost = costOf(piece);
      if (piece.time - time > LONGEST_SPAN_MILLISECONDS) break;
      if (count > 0 && (messages + length > bounds.messages || bytes + cost > bounds.bytes)) break;
      messages += length;
      bytes += cost;
      count++;
    }
    this.#count(-messages, -bytes);
    if (this.messages === 0) this.#since = null;
    return join(this.#pieces.splice(0, count));
  }

  /** Forgets all. */
  clear(): void {
    this.#pieces = [];
    this.#count(-this.messages, -this.bytes);
    this.#since = null;
  }

  /**
   * Tells whether what is here may wait for what is on its way: to a crowd one delivery costs as much time
   * as many round trips, and delivering both together costs half.
   *
   * @param at The time in milliseconds.
   */
  mayWait(at: number): boolean {
    this.#since ??= at;
    const wait = Math.min(this.deliveryMilliseconds * SHARE, LONGEST_WAIT_MILLISECONDS);
    return at - this.#since < wait;
  }

  #count(messages: number, bytes: number): void {
    this.messages += messages;
    this.bytes += bytes;
    this.#sum.bytes += bytes;
  }
}

/** Who sent what another relay took in: no member here. */
const STRANGER: Origin = { sender: null, bytes: 0 };

function join(pieces: Piece[]): Piece {
  if (pieces.length === 1) return pieces[0];
  const frames = new Uint8Array(pieces.reduce((sum, { frames }) => sum + frames.length, 0));
  const ends: number[] = [];
  let start = 0, payloadBytes = 0;
  for (const piece of pieces) {
    frames.set(piece.frames, start);
    for (const end of piece.ends) ends.push(start + end);
    start += piece.frames.length;
    payloadBytes += piece.payloadBytes;
  }
  const origins = pieces.every(({ origins }) => origins === null)
    ? null
    : pieces.flatMap(({ origins, ends }) => origins ?? ends.map(() => STRANGER));
  return { frames, ends, payloadBytes, origins, time: pieces[0].time };
}

function costOf({ payloadBytes, ends }: Piece): number {
  return payloadBytes + MESSAGE_BYTES * ends.length;
}
