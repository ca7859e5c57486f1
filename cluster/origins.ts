/**
 * The last batch of each relay, so that a batch that was published twice is delivered once.
 *
 * @module
 */

/** The number of relays that are remembered. There are never more at once. */
const MAX_ORIGINS = 10_000;

/** The number of the last batch of each relay. */
export class Origins {
  readonly #last = new Map<number, number>();

  /** Tells whether a batch was seen before, and remembers it. */
  saw(origin: number, number: number): boolean {
    if (number <= (this.#last.get(origin) ?? 0)) return true;
    this.#last.set(origin, number);
    if (this.#last.size > MAX_ORIGINS) {
      const [oldest] = this.#last.keys();
      this.#last.delete(oldest);
    }
    return false;
  }

  /** Forgets all. */
  clear(): void {
    this.#last.clear();
  }
}
