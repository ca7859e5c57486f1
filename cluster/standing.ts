/**
 * How a bus stands with its engine, and for how long the listener is patient with that.
 *
 * @module
 */

import type { BusState } from "./bus.ts";

/** Turns what is found into states, each told once. */
export class Standing {
  readonly #patienceMilliseconds: number;
  readonly #tell: (state: BusState) => void;
  #state: BusState = "connected";
  #patience: ReturnType<typeof setTimeout> | undefined;
  #settled = false;

  /**
   * Begins connected.
   *
   * @param tell Is told of each change.
   */
  constructor(patienceSeconds: number, tell: (state: BusState) => void) {
    this.#patienceMilliseconds = patienceSeconds * 1000;
    this.#tell = tell;
  }

  /** Takes note of a state. What is lost stays so until it is connected again. */
  become(state: BusState): void {
    if (this.#settled) return;
    if (state === "connected") clearTimeout(this.#patience);
    if (state === this.#state || state === "reconnecting" && this.#state === "lost") return;
    if (state === "reconnecting") {
      this.#patience = setTimeout(() => this.become("lost"), this.#patienceMilliseconds);
    }
    this.#state = state;
    this.#tell(state);
  }

  /** Keeps the state as it is for good. */
  settle(): void {
    this.#settled = true;
    clearTimeout(this.#patience);
  }
}
