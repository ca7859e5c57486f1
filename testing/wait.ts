/**
 * Bounded waits, whose errors say what they were waiting for.
 *
 * @module
 */

const BOUND_SECONDS = 20;

/** Waits for a promise, and rejects with a clear message if it takes too long. */
export async function bounded<T>(
  promise: Promise<T>,
  what: string,
  seconds = BOUND_SECONDS,
): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new Error(`waited ${seconds} s for ${what}, in vain`)),
      seconds * 1000,
    );
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Waits until a condition holds. Checks it at once and then every few milliseconds. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  what: string,
  seconds = BOUND_SECONDS,
): Promise<void> {
  const deadline = performance.now() + seconds * 1000;
  for (let pause = 0; !await condition(); pause = Math.min(pause + 0.001, 0.005)) {
    if (performance.now() > deadline) throw new Error(`waited ${seconds} s for ${what}, in vain`);
    await sleep(pause);
  }
}

/** Waits for the end of the turn, when a hub sends queued messages. */
export function endOfTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Waits for a time. Use this only in tests of time itself, never instead of an event. */
export function sleep(seconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, seconds * 1000));
}

/** An unbounded queue of arriving items for one reader that waits for them. */
export class Inbox<T> {
  readonly #items: T[] = [];
  #arrived = Promise.withResolvers<void>();

  /** The number of waiting items. */
  get size(): number {
    return this.#items.length;
  }

  /** Adds an item. */
  push(item: T): void {
    this.#items.push(item);
    this.#arrived.resolve();
  }

  /** Takes the oldest item, or waits for one if there is none. */
  async next(what: string): Promise<T> {
    while (this.#items.length === 0) {
      this.#arrived = Promise.withResolvers();
      await bounded(this.#arrived.promise, what);
    }
    return this.#items.shift()!;
  }
}
