/**
 * The rate limit of a sender, or of an address: a token bucket that holds, and regains, a second's worth of messages.
 *
 * @module
 */

/** The messages that may be sent. */
export class TokenBucket {
  #tokens: number;
  #at: number;

  /** Makes a full bucket for `rate` messages a second. */
  constructor(readonly rate: number, now: number) {
    this.#tokens = Math.max(1, rate);
    this.#at = now;
  }

  /**
   * Takes one message; one that is not within the rate costs nothing, so that who sends a little too much is not
   * refused for ever.
   *
   * @param now The time in milliseconds.
   * @returns Whether the message is within the rate.
   */
  take(now: number): boolean {
    this.#regain(now);
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }

  /** Tells whether it is as good as a new one. */
  isFull(now: number): boolean {
    this.#regain(now);
    return this.#tokens >= this.rate;
  }

  #regain(now: number): void {
    const regained = (now - this.#at) / 1000 * this.rate;
    this.#tokens = Math.min(Math.max(1, this.rate), this.#tokens + regained);
    this.#at = now;
  }
}
