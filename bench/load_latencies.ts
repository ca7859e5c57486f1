/**
 * The latencies of the load generator, in a histogram that takes millions of them without slowing it down.
 *
 * @module
 */

/** The quantiles of latencies, in milliseconds. */
export interface Quantiles {
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
}

/** A logarithmic histogram of microseconds whose buckets are 2 % wide. */
export class Latencies {
  readonly #counts = new Float64Array(1200);
  #total = 0;

  /** Counts a latency. */
  add(microseconds: number): void {
    const bucket = microseconds < 1 ? 0 : Math.min(1199, Math.ceil(Math.log(microseconds) * 50));
    this.#counts[bucket]++;
    this.#total++;
  }

  /** Discards all latencies. */
  clear(): void {
    this.#counts.fill(0);
    this.#total = 0;
  }

  /** Returns the quantiles; `null` if there are no latencies. */
  summary(): Quantiles | null {
    if (this.#total === 0) return null;
    return { p50: this.#quantile(0.5), p99: this.#quantile(0.99), p999: this.#quantile(0.999) };
  }

  #quantile(q: number): number {
    let left = q * this.#total;
    const bucket = this.#counts.findIndex((count) => (left -= count) <= 0);
    return Math.exp(bucket / 50) / 1000;
  }
}
