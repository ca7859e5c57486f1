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

/** What is kept of one room. */
interface Share<Room> {
  readonly room: Room;
  batches: number; // 0 if the room was forgotten, though the batches may still be listed.
  bytes: number;
}

/** One batch. */
interface Kept<Room> {
  readonly share: Share<Room>;
  readonly bytes: number;
  readonly time: number;
}

/** How many entries of discarded batches the list may hold besides one for each batch that is kept. */
const SLACK = 1024;

/** The kept batches of all rooms, in the order of their delivery. */
export class History<Room extends Chronicle> {
  /** The total size of the kept batches in bytes. */
  bytes = 0;
  /** The number of batches that are kept. */
  length = 0;
  readonly #bounds: Retention;
  readonly #forgot: (room: Room) => void;
  readonly #shares = new Map<Room, Share<Room>>(); // First the room in which nothing was said for the longest time.
  #list: Kept<Room>[] = [];
  #first = 0; // The index of the oldest batch that is kept, or of a discarded one before it.

  /**
   * Creates an empty history.
   *
   * @param forgot Called with a room after one of its batches was discarded.
   */
  constructor(bounds: Retention, forgot: (room: Room) => void) {
    this.#bounds = bounds;
    this.#forgot = forgot;
  }

  /** The rooms with a history; first the one in which nothing was said for the longest time. */
  get rooms(): Iterable<Room> {
    return this.#shares.keys();
  }

  /** Adds a batch that a room has put into its log. */
  add(room: Room, bytes: number, time: number): void {
    const share = this.#shares.get(room) ?? { room, batches: 0, bytes: 0 };
    this.#shares.delete(room);
    this.#shares.set(room, share);
    this.#list.push({ share, bytes, time });
    this.#count(share, 1, bytes);
    this.trim(time);
  }

  /** Discards batches that exceed the bounds; `now` is the time in milliseconds. */
  trim(now: number): void {
    const { bytes, milliseconds } = this.#bounds;
    while (this.length > 0) {
      if (this.bytes <= bytes && now - this.#oldest.time <= milliseconds) return;
      this.forgetOldest();
    }
  }

  /** Discards all batches. */
  clear(): void {
    while (this.length > 0) this.forgetOldest();
  }

  /** Discards the oldest batch. */
  forgetOldest(): void {
    const { share, bytes } = this.#oldest;
    this.#first++;
    this.#discard(share, 1, bytes);
  }

  /** Discards all batches of one room. */
  forget(room: Room): void {
    const share = this.#shares.get(room)!;
    this.#discard(share, share.batches, share.bytes);
  }

  get #oldest(): Kept<Room> {
    while (this.#list[this.#first].share.batches === 0) this.#first++;
    return this.#list[this.#first];
  }

  /** Discards the oldest batches of a room. */
  #discard(share: Share<Room>, batches: number, bytes: number): void {
    this.#count(share, -batches, -bytes);
    if (share.batches === 0) this.#shares.delete(share.room);
    if (this.length === 0 || this.#list.length > 2 * this.length + SLACK) {
      this.#list = this.#list.slice(this.#first).filter(({ share }) => share.batches > 0);
      this.#first = 0;
    }
    for (let i = 0; i < batches; i++) share.room.forgetOldest();
    this.#forgot(share.room);
  }

  #count(share: Share<Room>, batches: number, bytes: number): void {
    share.batches += batches;
    share.bytes += bytes;
    this.length += batches;
    this.bytes += bytes;
  }
}
