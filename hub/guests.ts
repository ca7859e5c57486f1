/**
 * The guests of a hub: those whose messages are under way, and how many each address may still send.
 *
 * @module
 */

import { Guest, type Posted } from "./author.ts";
import { TokenBucket } from "./rate_limit.ts";
import type { Room } from "./room.ts";

/** Looks after those that send without being members. */
export class Guests<Message, Data> {
  readonly #rate: number | undefined;
  readonly #present = new Set<Guest<Message, Data>>();
  readonly #buckets = new Map<string, TokenBucket>(); // By address.

  /** Begins without any; each address may send so many messages a second, without a number any. */
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

  /** Makes a guest of a room, until it is known what became of its message. */
  enter(room: Room<Message, Data>): Guest<Message, Data> {
    const guest = new Guest(room);
    this.#present.add(guest);
    guest.outcome.then(() => this.#present.delete(guest));
    return guest;
  }

  /** Gives up on all messages that have no place yet; those that are queued are forgotten. */
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
