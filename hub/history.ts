/**
 * The history: what the logs of all rooms keep of the past for those who come late or come back. It is
 * bounded over all rooms together, and the oldest goes first.
 *
 * @module
 */

/** How much of the past is kept. */
export interface Retention {
  /** The bytes; each message counts 64 more than its payload, and each batch 1024. */
  readonly bytes: number;
  /** The age in milliseconds. */
  readonly milliseconds: number;
}

/** What a client asks for when it joins: at most the last so many messages, or those of the last milliseconds. */
export type Replay =
  | { readonly last: number }
  | { readonly milliseconds: number };

/** A room, as far as the history knows it. */
export interface Chronicle {
  /** Lets go of the oldest batch that is history. */
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

/** How many forgotten entries may stand before the kept ones in the array. */
const SLACK = 1024;

/** The kept batches of all rooms, in the order of their delivery. */
export class History<Room extends Chronicle> {
  /** The bytes that are kept. */
  bytes = 0;
  readonly #bounds: Retention;
  readonly #forgot: (room: Room) => void;
  #kept: Kept<Room>[] = [];
  #first = 0;
  readonly #shares = new Map<Room, Share>(); // First the room in which nothing was said for the longest time.
  readonly #gone = new Set<Room>(); // Their batches are let go of, but still listed.
  #goneBatches = 0;

  /**
   * Makes an empty history.
   *
   * @param forgot Is told of each room that has let go of something.
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

  /** Keeps a batch that a room has put into its log. */
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

  /** Lets go of what is too old or too much; `now` is the time in milliseconds. */
  trim(now: number): void {
    const { bytes, milliseconds } = this.#bounds;
    while (this.length > 0) {
      this.#skipGone();
      if (this.bytes <= bytes && now - this.#kept[this.#first].time <= milliseconds) return;
      this.forgetOldest();
    }
  }

  /** Lets go of everything. */
  clear(): void {
    while (this.length > 0) this.forgetOldest();
  }

  /** Lets go of the oldest batch of all. */
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
