/**
 * The source of a room in a cluster: what is queued is taken to where the order is decided, and comes
 * back from there among what other relays sent.
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

/** While more has arrived in all rooms than this, a room is pressed to deliver earlier. */
const MANY_ARRIVED_BYTES = 32 * 1024 * 1024;

/** So much may have arrived in one room before it waits for nobody any more. */
const MOST_ARRIVED_BYTES = { few: 16 * 1024 * 1024, many: 1024 * 1024 };

/** Makes batches of what has arrived. */
export class SharedSource<Message, Data> implements Source<Message, Data> {
  readonly queue: Queue<Message, Author<Message, Data>>;
  readonly #arrivals: Arrivals;
  readonly #unpack: (frames: Frames) => Encoded<Data>;
  readonly #arrived: Sum;
  #underway = 0; // The number of messages that were taken and have not come back.

  /**
   * Begins with nothing under way.
   *
   * @param unpack Turns frames into the pieces that connections write.
   * @param queued Counts what is queued, in this and other rooms.
   * @param arrived Counts what has arrived.
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
    return false; // What others put in order cannot be made to wait alone.
  }

  /** Takes what is queued to where the order is decided; it is to come back through {@link arrive}. */
  send(bounds: BatchBounds): Queued<Message, Author<Message, Data>>[] {
    const batch = this.queue.take(bounds);
    this.#underway += batch.length;
    return batch;
  }

  /** Takes note that so many messages of {@link send} have their place in the order. */
  landed(messages: number): void {
    this.#underway -= messages;
  }

  /** Takes in what comes next in the order. */
  arrive(piece: Piece): void {
    this.#arrivals.push(piece);
  }

  /** Forgets what has arrived and was not delivered. */
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
