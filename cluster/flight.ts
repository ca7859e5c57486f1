/**
 * The batch of this relay that is on its way into the order.
 *
 * @module
 */

import type { Batch } from "../hub.ts";
import { pause } from "../lib/timeout.ts";
import type { Session } from "./session.ts";
import { type Envelope, write } from "./wire.ts";

/** The pause in milliseconds before publishing is tried again. */
const RETRY_MILLISECONDS = 100;

/** The share of the time within which servers know a message again that is relied upon. */
const CERTAIN_SHARE = 1 / 2;

/** A batch that is published until the stream certainly has it. */
export class Flight {
  /** The number of the batch among those of this relay. */
  readonly number: number;
  /** The batch as it was appended. */
  readonly batch: Batch;
  /** What is published. */
  readonly payload: Uint8Array;
  readonly #id: string;
  #stored = Promise.withResolvers<number>();
  #sequence = 0;
  #received = false;
  #attemptedAt: number | null = null; // The first time, unless it is certain since then that it failed.
  #via: Session | null = null; // The connection over which it is being published.

  /** Writes a batch in its form for the stream. */
  constructor(envelope: Envelope) {
    this.number = envelope.number;
    this.batch = envelope.batch;
    this.payload = write(envelope);
    this.#id = `${envelope.origin}-${envelope.number}`;
  }

  /** Resolves with the number of its message, once the stream has it. */
  get stored(): Promise<number> {
    return this.#stored.promise;
  }

  /** The number of its message, as far as it is known that the stream took it in; else 0. */
  get sequence(): number {
    return this.#sequence;
  }

  /** Whether it has its place in the order. */
  get received(): boolean {
    return this.#received;
  }

  /**
   * Whether nobody knows if the stream has it, and the servers may not know it again if it came once more.
   *
   * @param window The time in milliseconds within which they do.
   */
  isDoubtful(window: number): boolean {
    if (this.#sequence > 0 || this.#received || this.#attemptedAt === null) return false;
    return performance.now() - this.#attemptedAt > window * CERTAIN_SHARE;
  }

  /** Ends all attempts: it has its place, as a message of this number. */
  arrive(sequence: number): void {
    this.#received = true;
    this.#sequence = sequence;
    this.#stored.resolve(sequence);
  }

  /** Ends all attempts: whether it ever had a place can no longer be told. */
  abandon(): void {
    this.#received = true;
    this.#stored.resolve(0);
  }

  /** Forgets that the stream has it: it may have lost that since. */
  doubt(): void {
    if (this.#received) return;
    this.#stored = Promise.withResolvers();
    this.#sequence = 0;
  }

  /** Forgets all attempts: the stream does not have it. */
  forget(): void {
    if (this.#received) return;
    this.doubt();
    this.#attemptedAt = null;
  }

  /**
   * Publishes it over a connection until it is certain that the stream has it, or doubtful, or the connection
   * breaks.
   *
   * @param fail Is told of each attempt that failed, and of `null` when it becomes doubtful.
   */
  async publish(
    session: Session,
    { name, window }: { name: string; window: number },
    fail: (error: unknown) => void,
  ): Promise<void> {
    if (this.#via === session) return;
    this.#via = session;
    // The same id each time: a publish that failed may have been one that arrived.
    const options = { msgID: this.#id, expect: { streamName: name } };
    const isWanted = () => this.#sequence === 0 && !this.#received && !this.isDoubtful(window);
    while (isWanted() && !session.closed) {
      const stored = this.#stored;
      this.#attemptedAt ??= performance.now();
      try {
        const ack = session.client.publish(name, this.payload, options);
        const { seq } = await session.during(ack);
        if (stored !== this.#stored) continue; // The answer was about a stream that is gone.
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
