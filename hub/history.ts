/**
 * The history: the past messages that the logs of all rooms keep for clients that join late or return.
 * Its bounds apply to all rooms together. The oldest batch is discarded first.
 *
 * @module
 */

/** The bounds of the history. */
export interface Retention {
  /** The size in bytes. Each message counts for 64 bytes more than its payload, and each batch for 1024. */
  readonly bytes: number;
  /** The greatest age in milliseconds. */
  readonly milliseconds: number;
}

/** The history that a client asks for: up to `last` messages, or those of the last `milliseconds`. */
export type Replay =
  | { readonly last: number }
  | { readonly milliseconds: number };

/** A room as the history sees it. */
export interface Chronicle {
  /** Discards the oldest batch of the room's history. */
  forgetOldest(): void;
}

interface Kept<Room> {
  readonly room: Room;
  readonly bytes: number;
  readonly time: number;
}

/** What is kept of one room. */
interface Share {
  batches: number;
  bytes: number;
}

/** How many discarded entries may precede the kept ones in the array. */
const SLACK = 1024;

/** The kept batches of all rooms, in the order of their delivery. */
export class History<Room extends Chronicle> {
  /** The total size of the kept batches in bytes. */
  bytes = 0;
  readonly #bounds: Retention;
  readonly #forgot: (room: Room) => void;
  #kept: Kept<Room>[] = [];
  #first = 0;
  readonly #shares = new Map<Room, Share>(); // First the room in which nothing was said for the longest time.
  readonly #gone = new Set<Room>(); // Their batches are let go of, but still listed.
  #goneBatches = 0;

  /**
   * Creates an empty history.
   *
   * @param forgot Called with a room after one of its batches was discarded.
   */
  constructor(bounds: Retention, forgot: (room: Room) => void) {
    this.#bounds = bounds;
    this.#forgot = forgot;
  }

  /** The number of batches that are kept. */
  get length(): number {
    return this.#kept.length - this.#first - this.#goneBatches;
  }

  /** The rooms with a history; first the one in which nothing was said for the longest time. */
  get rooms(): Iterable<Room> {
    return this.#shares.keys();
  }

  /** Adds a batch that a room has put into its log. */
  add(room: Room, bytes: number, time: number): void {
    if (this.#gone.has(room)) this.#unlist();
    const share = this.#shares.get(room) ?? { batches: 0, bytes: 0 };
    this.#shares.delete(room);
    this.#shares.set(room, share);
    this.#kept.push({ room, bytes, time });
    share.batches++;
    share.bytes += bytes;
    this.bytes += bytes;
    this.trim(time);
  }

  /** Discards batches that exceed the bounds; `now` is the time in milliseconds. */
  trim(now: number): void {
    const { bytes, milliseconds } = this.#bounds;
    while (this.length > 0) {
      this.#skipGone();
      if (this.bytes <= bytes && now - this.#kept[this.#first].time <= milliseconds) return;
      this.forgetOldest();
    }
  }

  /** Discards all batches. */
  clear(): void {
    while (this.length > 0) this.forgetOldest();
  }

  /** Discards the oldest batch. */
  forgetOldest(): void {
    this.#skipGone();
    const { room, bytes } = this.#kept[this.#first++];
    const share = this.#shares.get(room)!;
    this.bytes -= bytes;
    share.bytes -= bytes;
    if (--share.batches === 0) this.#shares.delete(room);
    if (this.#first >= SLACK || this.length === 0) this.#unlist();
    room.forgetOldest();
    this.#forgot(room);
  }

  /** Lets go of everything of one room. */
  forget(room: Room): void {
    const { batches, bytes } = this.#shares.get(room)!;
    this.#shares.delete(room);
    this.bytes -= bytes;
    this.#gone.add(room);
    this.#goneBatches += batches;
    if (this.#goneBatches > this.length) this.#unlist();
    for (let i = 0; i < batches; i++) room.forgetOldest();
    this.#forgot(room);
  }

  #skipGone(): void {
    for (; this.#gone.has(this.#kept[this.#first]?.room); this.#first++) this.#goneBatches--;
  }

  /** Takes what is let go of out of the list. */
  #unlist(): void {
    this.#kept = this.#kept.slice(this.#first).filter(({ room }) => !this.#gone.has(room));
    this.#first = 0;
    this.#gone.clear();
    this.#goneBatches = 0;
  }
}
