/**
 * Limits how often the log mentions an event that may happen again and again.
 *
 * @module
 */

/** The time between two lines about the same name. */
const REMINDER_MILLISECONDS = 60_000;

/** The number of names that are remembered; other names are not mentioned at all. */
const MAX_REMEMBERED = 100;

/** Remembers recent names. It is bounded, because strangers can cause endless events under endless names. */
export class Reminders {
  readonly #said = new Map<string, number>();

  /** Tells whether a name is due to be mentioned, and remembers that it is mentioned now. */
  due(thing: string, now = performance.now()): boolean {
    for (const [each, at] of this.#said) {
      if (now - at < REMINDER_MILLISECONDS) break; // The map is in the order of time.
      this.#said.delete(each);
    }
    if (this.#said.has(thing) || this.#said.size >= MAX_REMEMBERED) return false;
    this.#said.set(thing, now);
    return true;
  }
}
