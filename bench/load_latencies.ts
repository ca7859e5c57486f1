/**
 * Latencies as the load generator counts them: a histogram takes millions without slowing it down.
 *
 * @module
 */

/** What was seen, in milliseconds. */
export interface Quantiles {
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
}

/** Buckets of a logarithmic histogram: microseconds, 2 % wide. */
export class Latencies {
  readonly #counts = new Float64Array(1200);
  #total = 0;

  /** Counts one. */
  add(microseconds: number): void {
    const bucket = microseconds < 1 ? 0 : Math.min(1199, Math.ceil(Math.log(microseconds) * 50));
    this.#counts[bucket]++;
    this.#total++;
  }

  /** Forgets all. */
  clear(): void {
    this.#counts.fill(0);
    this.#total = 0;
  }

  /** Summarizes latencies; `null` if there are none. */
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
