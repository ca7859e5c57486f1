/**
 * The calls of a bus to its listener, in order. They are held back while the listener is paused.
 *
 * @module
 */

/** A queue of function calls, which are made at once or, while it is paused, later. */
export class Outbox {
  #held: (() => void)[] = [];
  #paused = false;
  #busy = false;
  #closed = false;

  /** Whether calls are held back. */
  get paused(): boolean {
    return this.#paused;
  }

  /** Adds a call. */
  push(call: () => void): void {
    if (this.#closed) return;
    this.#held.push(call);
    this.#work();
  }

  /** Holds all calls back from now on. */
  pause(): void {
    this.#paused = true;
  }

  /** Makes the calls that were held back, until it is paused again. */
  resume(): void {
    this.#paused = false;
    this.#work();
  }

  /** Discards the calls that were held back and all that are added from now on. */
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
