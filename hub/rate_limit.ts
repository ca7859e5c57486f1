/**
 * The rate limit of a sender: a token bucket that holds, and regains, a second's worth of messages.
 *
 * @module
 */

/** The messages that a member may send. */
export class TokenBucket {
  #tokens: number;
  #at: number;

  /** Makes a full bucket for `rate` messages a second. */
  constructor(readonly rate: number, now: number) {
    this.#tokens = Math.max(1, rate);
    this.#at = now;
  }

  /**
   * Takes one message.
   *
   * @param now The time in milliseconds.
   * @returns Whether the message is within the rate.
   */
  take(now: number): boolean {
    const regained = (now - this.#at) / 1000 * this.rate;
    this.#tokens = Math.min(Math.max(1, this.rate), this.#tokens + regained) - 1;
    this.#at = now;
    return this.#tokens >= 0;
  }
}
