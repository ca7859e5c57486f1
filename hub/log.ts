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
  /** When it got its place in the order, in milliseconds. */
  readonly time: number;
}

/** The memory in bytes that an entry takes up besides its messages: many small ones are much, too. */
export const ENTRY_BYTES = 1024;

/** The origin of one message. */
export interface Origin {
  /** The identity of the author, which is kept longer than the author. */
  readonly sender: unknown;
  /** The size of its payload. */
  readonly bytes: number;
}

interface Kept<Data> extends Entry<Data> {
  /** The bytes of all entries before this one. */
  readonly start: number;
  /** The messages of all entries before this one. */
  readonly number: number;
}

/** Where somebody begins to read. */
export interface Beginning {
  /** The position of the first batch. */
  readonly position: number;
  /** How many messages of that batch are left out. */
  readonly skip: number;
}

/** How many let-go entries may stand before the kept ones in the array. */
const SLACK = 1024;

/** The batches of a room by their position: 0 for the first one ever, one more for each. */
export class Log<Data> {
  /** The position of the next batch. */
  head = 0;
  /** The position of the first batch that is history. */
  past = 0;
  /** The bytes of all batches so far. */
  bytes = 0;
  #messages = 0; // Of all batches so far.
  #entries: (Kept<Data> | undefined)[] = [];
  #base = 0; // The position of the array's first element.
  #first = 0; // The position of the first entry that is kept.
  #needed = Infinity; // The position of the first entry that a laggard needs.

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
   * @param historic Whether it is history from now on, until {@link Log.forgetOldest}.
   */
  append(entry: Entry<Data>, needed: boolean, historic: boolean): void {
    if (needed) this.#needed = Math.min(this.#needed, this.head);
    if (!historic) this.past = this.head + 1;
    if (needed || historic || this.length > 0) {
      this.#entries.push({ ...entry, start: this.bytes, number: this.#messages });
    } else {
      this.#base++;
      this.#first++;
    }
    this.head++;
    this.bytes += entry.bytes;
    this.#messages += entry.messages;
  }

  /** Returns the entry at a position that was not let go of. */
  at(position: number): Entry<Data> {
    return this.#kept(position);
  }

  /** Returns the bytes from a position up to the head. */
  behind(position: number): number {
    return position === this.head ? 0 : this.bytes - this.#kept(position).start;
  }

  /** Finds where the last so many messages of the history begin. */
  findLast(messages: number): Beginning {
    if (messages === 0) return { position: this.head, skip: 0 };
    const wanted = this.#messages - messages;
    const after = this.#findFirst(({ number }) => number > wanted);
    if (after === this.past) return { position: after, skip: 0 };
    return { position: after - 1, skip: wanted - this.#kept(after - 1).number };
  }

  /** Finds where the history since a moment begins. */
  findSince(time: number): Beginning {
    return { position: this.#findFirst((entry) => entry.time >= time), skip: 0 };
  }

  /** Lets go of the entries before a position, as far as they are not history; of all without one. */
  release(position = Infinity): void {
    this.#needed = position;
    this.#trim();
  }

  /** Lets go of the oldest entry that is history, as soon as nobody needs it. */
  forgetOldest(): void {
    this.past++;
    this.#trim();
  }

  #kept(position: number): Kept<Data> {
    return this.#entries[position - this.#base]!;
  }

  /** Finds the first entry of the history for which something is true that stays true; the head if there is none. */
  #findFirst(test: (entry: Kept<Data>) => boolean): number {
    let from = this.past, to = this.head;
    while (from < to) {
      const middle = (from + to) >> 1;
      if (test(this.#kept(middle))) to = middle;
      else from = middle + 1;
    }
    return from;
  }

  #trim(): void {
    const first = Math.min(this.#needed, this.past, this.head);
    for (; this.#first < first; this.#first++) {
      this.#entries[this.#first - this.#base] = undefined;
    }
    const gone = this.#first - this.#base;
    if (gone < SLACK && this.#first < this.head) return;
    this.#entries = this.#entries.slice(gone);
    this.#base = this.#first;
  }
}
