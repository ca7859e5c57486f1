/**
 * The rate limit of a member or an address: a token bucket that holds one second's worth of messages.
 *
 * @module
 */

/** The allowance of messages, which refills over time. */
export class TokenBucket {
  #tokens: number;
  #at: number;

  /** Creates a full bucket for `rate` messages per second; `now` is the time in milliseconds. */
  constructor(readonly rate: number, now: number) {
    this.#tokens = Math.max(1, rate);
    this.#at = now;
  }

  /**
   * Takes one message. A message that exceeds the rate costs nothing, so that a sender that is slightly too
   * fast is not refused forever.
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

  /** Tells whether the bucket is full, like a new one; `now` is the time in milliseconds. */
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
