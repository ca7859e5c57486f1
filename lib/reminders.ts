/**
 * What happens again and again, and is worth a line only now and then.
 *
 * @module
 */

/** The time between two lines about one thing. */
const REMINDER_MILLISECONDS = 60_000;

/** The most things that are remembered for that; nothing is said of others. */
const MAX_REMEMBERED = 100;

/** Remembers what was said lately: strangers can make things happen without end, under endless names. */
export class Reminders {
  readonly #said = new Map<string, number>();

  /** Tells whether something is to be said of a thing, and remembers that it is said now. */
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
