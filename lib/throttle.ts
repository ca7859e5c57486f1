/**
 * A throttle for requests that strangers may send endlessly.
 *
 * @module
 */

/** Lets a number of calls through in each stretch of time. The others wait for the next stretch. */
export class Throttle {
  readonly #milliseconds: number;
  readonly #most: number;
  #began = -Infinity;
  #passed = 0;
  #next: Promise<void> | undefined;

  /** Sets the length of a stretch, and how many calls pass in it. */
  constructor(milliseconds: number, most: number) {
    this.#milliseconds = milliseconds;
    this.#most = most;
  }

  /** Resolves when the caller may continue; each call waits for one stretch at most. */
  async turn(): Promise<void> {
    const now = performance.now();
    const left = this.#began + this.#milliseconds - now;
    if (left <= 0) {
      this.#began = now;
      this.#passed = 0;
    }
    if (++this.#passed <= this.#most) return;
    await (this.#next ??= new Promise((resolve) =>
      setTimeout(() => {
        this.#next = undefined;
        resolve();
      }, left)
    ));
  }
}
