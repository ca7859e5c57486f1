/**
 * The source of a room in a cluster. Queued messages go to the shared order and come back in their places
 * among the messages of other relays.
 *
 * @module
 */

import { Arrivals, type Piece } from "./arrivals.ts";
import type { Encoded } from "./connection.ts";
import type { Entry } from "./log.ts";
import type { Author } from "./author.ts";
import type { Frames } from "./order.ts";
import { type BatchBounds, MESSAGE_BYTES, Queue, type Queued } from "./queue.ts";
import type { Source, Sum } from "./source.ts";

/** The arrived bytes in all rooms over which each room has to deliver earlier. */
const MANY_ARRIVED_BYTES = 32 * 1024 * 1024;

/** The arrived bytes in one room over which it no longer waits for slow members. */
const MOST_ARRIVED_BYTES = { few: 16 * 1024 * 1024, many: 1024 * 1024 };

/** Makes batches of messages that have arrived. */
export class SharedSource<Message, Data> implements Source<Message, Data> {
  readonly queue: Queue<Message, Author<Message, Data>>;
  readonly #arrivals: Arrivals;
  readonly #unpack: (frames: Frames) => Encoded<Data>;
  readonly #arrived: Sum;
  #underway = 0; // The number of messages that were sent and have not come back.

  /**
   * Creates a source with nothing under way.
   *
   * @param unpack Turns frames into the pieces that connections write.
   * @param queued The total of queued messages in all rooms.
   * @param arrived The total of arrived messages in all rooms.
   */
  constructor(unpack: (frames: Frames) => Encoded<Data>, queued: Sum, arrived: Sum) {
    this.#unpack = unpack;
    this.queue = new Queue(queued);
    this.#arrived = arrived;
    this.#arrivals = new Arrivals(arrived);
  }

  get waiting(): number {
    return this.queue.length + this.#underway + this.#arrivals.messages;
  }

  get ready(): boolean {
    return this.#arrivals.messages > 0;
  }

  get pressing(): boolean {
    const amount = this.#arrived.bytes > MANY_ARRIVED_BYTES ? "many" : "few";
    return this.#arrivals.bytes > MOST_ARRIVED_BYTES[amount];
  }

  mayWait(at: number): boolean {
    return this.#underway > 0 && this.#arrivals.mayWait(at);
  }

  findFlood(): boolean {
    return false; // A flood has its places in the order already and cannot wait alone.
  }

  /** Takes queued messages for the shared order. They come back through {@link SharedSource.arrive}. */
  send(bounds: BatchBounds): Queued<Message, Author<Message, Data>>[] {
    const batch = this.queue.take(bounds);
    this.#underway += batch.length;
    return batch;
  }

  /** Notes that messages of {@link SharedSource.send} are no longer under way; `messages` is their number. */
  landed(messages: number): void {
    this.#underway -= messages;
  }

  /** Accepts the next piece of the order. */
  arrive(piece: Piece): void {
    this.#arrivals.push(piece);
  }

  /** Discards messages that have arrived but were not delivered. */
  forget(): void {
    this.#arrivals.clear();
  }

  take(bounds: BatchBounds): Entry<Data> {
    const { frames, ends, payloadBytes, origins, time } = this.#arrivals.take(bounds);
    return {
      encoded: this.#unpack({ frames, ends }),
      messages: ends.length,
      payloadBytes,
      bytes: payloadBytes + MESSAGE_BYTES * ends.length,
      origins,
      time,
    };
  }

  takeOthers(): null {
    return null;
  }

  delivered(milliseconds: number): void {
    this.#arrivals.deliveryMilliseconds = milliseconds;
  }
}
