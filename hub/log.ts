/**
 * The log of a room: the delivered batches in the room's order, encoded once for all members.
 *
 * It holds only the batches that a lagging member has not been given yet, and the history. Without either
 * it is empty, and only its position moves.
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
  /** The total size of their payloads in bytes. */
  readonly payloadBytes: number;
  /** The bytes for which it counts in the backlog of a member that has yet to be given it. */
  readonly bytes: number;
  /** The origin of each message, where senders do not receive their own messages. */
  readonly origins: readonly Origin[] | null;
  /** When it got its place in the order, in milliseconds. */
  readonly time: number;
}

/** The bytes of memory that an entry takes up besides its messages, so that small batches count, too. */
export const ENTRY_BYTES = 1024;

/** The origin of one message. */
export interface Origin {
  /** The identity of the sender, which may be kept longer than the sender itself. */
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

/** The place where a member begins to read. */
export interface Beginning {
  /** The position of the first batch. */
  readonly position: number;
  /** How many messages of that batch are left out. */
  readonly skip: number;
}

/** How many discarded entries may precede the kept ones in the array. */
const SLACK = 1024;

/** The batches of a room by position. The first batch ever has position 0. */
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

  /** Returns the entry at a position that is still kept. */
  at(position: number): Entry<Data> {
    return this.#kept(position);
  }

  /** Returns the bytes from a position up to the head. */
  behind(position: number): number {
    return position === this.head ? 0 : this.bytes - this.#kept(position).start;
  }

  /** Finds where the last messages of the history begin; `messages` is their number. */
  findLast(messages: number): Beginning {
    if (messages === 0) return { position: this.head, skip: 0 };
    const wanted = this.#messages - messages;
    const after = this.#findFirst(({ number }) => number > wanted);
    if (after === this.past) return { position: after, skip: 0 };
    return { position: after - 1, skip: wanted - this.#kept(after - 1).number };
  }

  /** Finds where the history since `time` begins. */
  findSince(time: number): Beginning {
    return { position: this.#findFirst((entry) => entry.time >= time), skip: 0 };
  }

  /** Discards the entries before a position unless they are history. Default: all entries. */
  release(position = Infinity): void {
    this.#needed = position;
    this.#trim();
  }

  /** Removes the oldest entry from the history. It is discarded once no laggard needs it. */
  forgetOldest(): void {
    this.past++;
    this.#trim();
  }

  #kept(position: number): Kept<Data> {
    return this.#entries[position - this.#base]!;
  }

  /** Finds the first entry of the history that passes a test, as all later ones do; the head if none does. */
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
