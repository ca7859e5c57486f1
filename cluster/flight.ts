/**
 * The batch of this relay that is on its way to its place in the order.
 *
 * @module
 */

import type { Batch } from "../hub.ts";
import { pause } from "../lib/timeout.ts";
import type { Session } from "./session.ts";
import { type Envelope, write } from "./wire.ts";

/** The pause before publishing is tried again. */
const RETRY_MILLISECONDS = 100;

/** The share of the servers' duplicate window that is safe to rely on. */
const CERTAIN_SHARE = 1 / 2;

/** A batch that is published until the stream certainly has it. */
export class Flight {
  /** The number of the batch among those of this relay. */
  readonly number: number;
  /** The appended batch. */
  readonly batch: Batch;
  /** The payload that is published. */
  readonly payload: Uint8Array;
  readonly #id: string;
  #stored = Promise.withResolvers<number>();
  #sequence = 0;
  #received = false;
  #attemptedAt: number | null = null; // The first attempt that is not known to have failed.
  #via: Session | null = null; // The connection over which it is being published.

  /** Encodes a batch for the stream. */
  constructor(envelope: Envelope) {
    this.number = envelope.number;
    this.batch = envelope.batch;
    this.payload = write(envelope);
    this.#id = `${envelope.origin}-${envelope.number}`;
  }

  /** A promise for the number of its message, which resolves once the stream has it. */
  get stored(): Promise<number> {
    return this.#stored.promise;
  }

  /** The number of its message in the stream; 0 if it is not known. */
  get sequence(): number {
    return this.#sequence;
  }

  /** Whether it has its place in the order. */
  get received(): boolean {
    return this.#received;
  }

  /**
   * Tells whether it is unknown if the stream has the batch, and too late to rely on the servers to
   * recognise a duplicate.
   *
   * @param window The servers' duplicate window in milliseconds.
   */
  isDoubtful(window: number): boolean {
    if (this.#sequence > 0 || this.#received || this.#attemptedAt === null) return false;
    return performance.now() - this.#attemptedAt > window * CERTAIN_SHARE;
  }

  /** Ends all attempts because the batch has its place as message `sequence`. */
  arrive(sequence: number): void {
    this.#received = true;
    this.#sequence = sequence;
    this.#stored.resolve(sequence);
  }

  /** Ends all attempts because it can no longer be known whether the batch ever had a place. */
  abandon(): void {
    this.#received = true;
    this.#stored.resolve(0);
  }

  /** Assumes no longer that the stream has the batch, because the stream may have lost it. */
  doubt(): void {
    if (this.#received) return;
    this.#stored = Promise.withResolvers();
    this.#sequence = 0;
  }

  /** Resets all attempts because the stream does not have the batch. */
  forget(): void {
    if (this.#received) return;
    this.doubt();
    this.#attemptedAt = null;
  }

  /**
   * Publishes the batch over a connection until the stream has it, its state becomes doubtful, or the
   * connection breaks.
   *
   * @param fail Called with the error of each failed attempt, and with `null` when the state is doubtful.
   */
  async publish(
    session: Session,
    { name, window }: { name: string; window: number },
    fail: (error: unknown) => void,
  ): Promise<void> {
    if (this.#via === session) return;
    this.#via = session;
    // The id is always the same, because the message of a failed attempt may have arrived.
    const options = { msgID: this.#id, expect: { streamName: name } };
    const isWanted = () => this.#sequence === 0 && !this.#received && !this.isDoubtful(window);
    while (isWanted() && !session.closed) {
      const stored = this.#stored;
      this.#attemptedAt ??= performance.now();
      try {
        const ack = session.client.publish(name, this.payload, options);
        const { seq } = await session.during(ack);
        if (stored !== this.#stored) continue; // The answer came from a stream that no longer exists.
        this.#sequence = seq;
        stored.resolve(seq);
      } catch (error) {
        if (session.closed || this.#received) break;
        fail(error);
        await pause(RETRY_MILLISECONDS, session.signal);
      }
    }
    if (this.#via === session) this.#via = null;
    if (this.isDoubtful(window) && !session.closed) fail(null);
  }
}
