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
    return this.#kept.length - this.#first;
  }

  /** Keeps a batch that a room has put into its log. */
  add(room: Room, bytes: number, time: number): void {
    this.#kept.push({ room, bytes, time });
    this.bytes += bytes;
    this.trim(time);
  }

  /** Lets go of what is too old or too much; `now` is the time in milliseconds. */
  trim(now: number): void {
    const { bytes, milliseconds } = this.#bounds;
    while (this.length > 0) {
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
    const { room, bytes } = this.#kept[this.#first++];
    this.bytes -= bytes;
    if (this.#first >= SLACK || this.length === 0) {
      this.#kept = this.#kept.slice(this.#first);
      this.#first = 0;
    }
    room.forgetOldest();
    this.#forgot(room);
  }
}
