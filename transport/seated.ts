/**
 * What the connections of both transports know of their client from its admission.
 *
 * @module
 */

import type { Seat } from "../admission/admission.ts";
import type { Connection } from "../hub.ts";

/** A client in its seat. */
export class Seated
  implements Pick<Connection<never>, "peer" | "room" | "replay" | "mayTalk" | "expires" | "left"> {
  readonly #seat: Seat;

  /** Takes over a seat, until {@link Seated.left}. */
  constructor(seat: Seat) {
    this.#seat = seat;
  }

  get peer(): string {
    return this.#seat.peer;
  }

  get room(): string {
    return this.#seat.room;
  }

  get replay(): Seat["replay"] {
    return this.#seat.replay;
  }

  get mayTalk(): boolean {
    return this.#seat.mayTalk;
  }

  get expires(): number {
    return this.#seat.expires;
  }

  left(): void {
    this.#seat.release();
  }
}
