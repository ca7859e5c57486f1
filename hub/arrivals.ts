/**
 * Messages that have their place in the shared order and are yet to be delivered.
 *
 * @module
 */

import type { Origin } from "./log.ts";
import type { Frames } from "./order.ts";
import { type BatchBounds, MESSAGE_BYTES } from "./queue.ts";
import type { Sum } from "./source.ts";

/** Messages that arrived together or were joined afterwards. */
export interface Piece extends Frames {
  /** The total size of their payloads in bytes. */
  readonly payloadBytes: number;
  /** The origin of each message if its sender is a member of this hub; `null` if origins do not matter. */
  readonly origins: readonly Origin[] | null;
  /** When they got their places in the order, in milliseconds. */
  readonly time: number;
}

/** How long arrived messages wait for more: a share of the time that a delivery takes, up to a limit. */
const SHARE = 1 / 4, LONGEST_WAIT_MILLISECONDS = 10;

/** Pieces that are further apart in time are not joined, so that the history can tell them apart. */
const LONGEST_SPAN_MILLISECONDS = 500;

/** The pieces that have arrived, in their order. */
export class Arrivals {
  /** The number of their messages. */
  messages = 0;
  /** Their size in memory, in bytes. */
  bytes = 0;
  /** The duration of the last delivery, in milliseconds. */
  deliveryMilliseconds = 0;
  readonly #sum: Sum;
  #pieces: Piece[] = [];
  #since: number | null = null; // The time of the first mayWait() call for the first piece.

  /** Creates an empty collection whose bytes are also added to `sum`. */
  constructor(sum: Sum = { bytes: 0 }) {
    this.#sum = sum;
  }

  /** Adds a piece. */
  push(piece: Piece): void {
    this.#pieces.push(piece);
    this.#count(piece.ends.length, costOf(piece));
  }

  /**
   * Takes the first piece and joins as many of the following ones as the bounds allow. Copying their
   * frames costs less than one more write to each member.
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

  /** Discards all pieces. */
  clear(): void {
    this.#pieces = [];
    this.#count(-this.messages, -this.bytes);
    this.#since = null;
  }

  /**
   * Tells whether the pieces may wait for messages that are on their way. One delivery to many members
   * takes as long as many round trips, so one joint delivery costs half as much as two.
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

/** The origin of messages from other relays, which no member of this hub sent. */
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
