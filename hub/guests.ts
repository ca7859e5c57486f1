/**
 * The guests of a hub: the senders whose messages are under way, and the rate limit of each address.
 *
 * @module
 */

import { Guest, type Posted } from "./author.ts";
import { TokenBucket } from "./rate_limit.ts";
import type { Room } from "./room.ts";

/** The senders that are not members. */
export class Guests<Message, Data> {
  readonly #rate: number | undefined;
  readonly #present = new Set<Guest<Message, Data>>();
  readonly #buckets = new Map<string, TokenBucket>(); // By address.

  /** Creates an empty set. Each address may send `rate` messages per second; `undefined` for no limit. */
  constructor(rate: number | undefined) {
    this.#rate = rate;
  }

  /** Tells whether an address may send one more message. */
  keepsRate(address: string, now: number): boolean {
    if (this.#rate === undefined) return true;
    let bucket = this.#buckets.get(address);
    if (!bucket) this.#buckets.set(address, bucket = new TokenBucket(this.#rate, now));
    return bucket.take(now);
  }

  /** Adds a guest to a room until the outcome of its message is known. */
  enter(room: Room<Message, Data>): Guest<Message, Data> {
    const guest = new Guest(room);
    this.#present.add(guest);
    guest.outcome.then(() => this.#present.delete(guest));
    return guest;
  }

  /** Settles all messages that have no place yet with `outcome`, and discards those that are queued. */
  refuse(outcome: Posted): void {
    for (const guest of this.#present) {
      if (guest.line) guest.room.source.queue.drop(guest.line);
      guest.settle(outcome);
    }
  }

  /** Forgets the addresses that have not sent anything for a while. */
  sweep(now: number): void {
    for (const [address, bucket] of this.#buckets) {
      if (bucket.isFull(now)) this.#buckets.delete(address);
    }
  }
}
