/**
 * What a bus has to tell its listener, in order; held back while the listener wants nothing.
 *
 * @module
 */

/** Calls one function after the other, at once or, while it is paused, later. */
export class Outbox {
  #held: (() => void)[] = [];
  #paused = false;
  #busy = false;
  #closed = false;

  /** Whether it holds everything back. */
  get paused(): boolean {
    return this.#paused;
  }

  /** Adds a function. */
  push(call: () => void): void {
    if (this.#closed) return;
    this.#held.push(call);
    this.#work();
  }

  /** Holds everything back from now on. */
  pause(): void {
    this.#paused = true;
  }

  /** Calls what was held back, until it is paused again. */
  resume(): void {
    this.#paused = false;
    this.#work();
  }

  /** Forgets what was held back, and whatever is added from now on. */
  close(): void {
    this.#closed = true;
    this.#held = [];
  }

  #work(): void {
    if (this.#busy) return;
    this.#busy = true;
    let called = 0;
    while (!this.#paused && called < this.#held.length) this.#held[called++]();
    this.#held = this.#held.slice(called);
    this.#busy = false;
  }
}
