/**
 * The state of a bus, including the time after which an unreachable engine counts as lost.
 *
 * @module
 */

import type { BusState } from "./bus.ts";

/** Turns observations into states and reports each change once. */
export class Standing {
  readonly #patienceMilliseconds: number;
  readonly #tell: (state: BusState) => void;
  #state: BusState = "connected";
  #patience: ReturnType<typeof setTimeout> | undefined;
  #settled = false;

  /**
   * Starts in the state `connected`.
   *
   * @param tell Called on each change.
   */
  constructor(patienceSeconds: number, tell: (state: BusState) => void) {
    this.#patienceMilliseconds = patienceSeconds * 1000;
    this.#tell = tell;
  }

  /** Records an observed state. A bus that is lost stays lost until it is connected again. */
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

  /** Freezes the state. */
  settle(): void {
    this.#settled = true;
    clearTimeout(this.#patience);
  }
}
