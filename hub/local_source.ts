/**
 * The source of a room in a single relay. Messages are ordered as they arrive here.
 *
 * @module
 */

import type { Encoded } from "./connection.ts";
import type { Entry } from "./log.ts";
import { type Author, originOf } from "./author.ts";
import { isOfLate } from "./pace.ts";
import {
  type BatchBounds,
  FLOOD_BYTES,
  FLOOD_MESSAGES,
  MESSAGE_BYTES,
  QUANTUM_BYTES,
  Queue,
  type Queued,
} from "./queue.ts";
import type { Source, Sum, Tally } from "./source.ts";

/** The options of {@link LocalSource}. */
export interface LocalOptions<Message, Data> {
  /** Encodes the messages of one batch as the pieces that connections write. */
  encode(messages: Message[]): Encoded<Data>;
  /** Whether a sender receives its own messages. */
  readonly echo: boolean;
}

/** Makes batches of queued messages. */
export class LocalSource<Message, Data> implements Source<Message, Data> {
  readonly queue: Queue<Message, Author<Message, Data>>;
  readonly pressing = false;
  readonly #options: LocalOptions<Message, Data>;
  readonly #tally: Tally;

  /** Creates a source with an empty queue whose bytes are also added to `queued`. */
  constructor(options: LocalOptions<Message, Data>, tally: Tally, queued: Sum) {
    this.#options = options;
    this.#tally = tally;
    this.queue = new Queue(queued);
  }

  get waiting(): number {
    return this.queue.length;
  }

  get ready(): boolean {
    return this.queue.length > 0;
  }

  mayWait(): boolean {
    return false;
  }

  findFlood(now: number): boolean {
    let flood = false;
    const many = this.queue.length >= FLOOD_MESSAGES;
    for (const { sender, bytes } of this.queue.lines) {
      if (many && bytes > FLOOD_BYTES) sender.floodedAt = now;
      flood ||= isOfLate(sender.floodedAt, now);
    }
    return flood;
  }

  take(bounds: BatchBounds, at: number): Entry<Data> {
    return this.#encode(this.queue.take(bounds), at);
  }

  takeOthers(bounds: BatchBounds, at: number, now: number): Entry<Data> | null {
    const batch = this.queue.take(
      bounds,
      ({ bytes, sender }) => bytes > QUANTUM_BYTES || isOfLate(sender.floodedAt, now),
    );
    return batch.length > 0 ? this.#encode(batch, at) : null;
  }

  delivered(): void {}

  #encode(batch: Queued<Message, Author<Message, Data>>[], time: number): Entry<Data> {
    let payloadBytes = 0;
    for (const { sender, bytes } of batch) {
      payloadBytes += bytes;
      sender.placed();
    }
    this.#tally.messages += batch.length;
    this.#tally.receivedBytes += payloadBytes;
    return {
      encoded: this.#options.encode(batch.map(({ message }) => message)),
      messages: batch.length,
      payloadBytes,
      bytes: payloadBytes + MESSAGE_BYTES * batch.length,
      origins: this.#options.echo ? null : batch.map(originOf),
      time,
    };
  }
}
