/**
 * What was read of each relay, so that what it published twice is delivered once.
 *
 * @module
 */

/** So many relays are remembered; more have not been here at once. */
const MAX_ORIGINS = 10_000;

/** The number of the last batch of each relay. */
export class Origins {
  readonly #last = new Map<number, number>();

  /** Tells whether a batch was seen before, and remembers that it was seen now. */
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
