/**
 * The log of a room: the batches that were delivered, encoded once for all members, in the one order.
 *
 * It holds only what somebody can still need: batches that a lagging member has not been given, and the
 * history. With no laggard and no history it is empty, and only its position moves.
 *
 * @module
 */

import type { Encoded } from "./connection.ts";

/** One delivered batch. */
export interface Entry<Data> {
  /** The batch as connections write it. */
  readonly encoded: Encoded<Data>;
  /** The number of its messages. */
  readonly messages: number;
  /** The bytes of their payloads. */
  readonly payloadBytes: number;
  /** The bytes that it counts for a member that has yet to be given it. */
  readonly bytes: number;
  /** The origin of each message, where senders do not receive their own messages. */
  readonly origins: readonly Origin[] | null;
}

/** The origin of one message. */
export interface Origin {
  /** The member that sent it. */
  readonly sender: unknown;
  /** The size of its payload. */
  readonly bytes: number;
}

interface Kept<Data> extends Entry<Data> {
  /** The bytes of all entries before this one. */
  readonly start: number;
  /** The moment of its delivery, in milliseconds. */
  readonly time: number;
}

/** How much of the past is kept although no laggard needs it. */
export interface Retention {
  /** The bytes, over all kept entries. */
  readonly bytes: number;
  /** The age in milliseconds. */
  readonly milliseconds: number;
}

/** How many let-go entries may stand before the kept ones in the array. */
const SLACK = 1024;

/** The batches of a room by their position: 0 for the first one ever, one more for each. */
export class Log<Data> {
  /** The position of the next batch. */
  head = 0;
  /** The bytes of all batches so far. */
  bytes = 0;
  readonly #retention: Retention;
  #entries: (Kept<Data> | undefined)[] = [];
  #base = 0; // The position of the array's first element.
  #first = 0; // The position of the first entry that is kept.

  /** Makes an empty log. */
  constructor(retention: Retention = { bytes: 0, milliseconds: 0 }) {
    this.#retention = retention;
  }

  /** The number of entries that are kept. */
  get length(): number {
    return this.head - this.#first;
  }

  /** The bytes of the entries that are kept. */
  get keptBytes(): number {
    return this.behind(this.#first);
  }

  /**
   * Moves the head past a batch.
   *
   * @param needed Whether a member lags and will have to be given this batch later.
   */
  append(entry: Entry<Data>, needed: boolean, time: number): void {
    if (needed || this.#retention.bytes > 0 || this.length > 0) {
      this.#entries.push({ ...entry, start: this.bytes, time });
    } else {
      this.#base++;
      this.#first++;
    }
    this.head++;
    this.bytes += entry.bytes;
  }

  /** Returns the entry at a position that was not let go of. */
  at(position: number): Entry<Data> {
    return this.#entries[position - this.#base]!;
  }

  /** Returns the bytes from a position up to the head. */
  behind(position: number): number {
    return position === this.head ? 0 : this.bytes - this.#entries[position - this.#base]!.start;
  }

  /** Lets go of the entries before a position, as far as they are not history. */
  release(position: number, now: number): void {
    const { bytes, milliseconds } = this.#retention;
    while (this.#first < position) {
      const index = this.#first - this.#base;
      const { start, time } = this.#entries[index]!;
      if (this.bytes - start <= bytes && now - time <= milliseconds) break;
      this.#entries[index] = undefined;
      this.#first++;
    }
    const gone = this.#first - this.#base;
    if (gone < SLACK && this.#first < this.head) return;
    this.#entries = this.#entries.slice(gone);
    this.#base = this.#first;
  }
}
