/**
 * The turns of rooms. A room has its turn at the end of a turn of the event loop in which something
 * happened in it, or after a rest if it is waiting.
 *
 * @module
 */

/** Gives each room its turn. */
export class Turns<Room> {
  readonly #turn: (room: Room) => number | null;
  readonly #after: () => void;
  #due = new Set<Room>(); // Their turn is at the end of this turn of the event loop.
  readonly #resting = new Map<Room, ReturnType<typeof setTimeout>>();

  /**
   * Starts without any rooms.
   *
   * @param turn Gives a room its turn, and returns the milliseconds until its next one; `null` for none.
   * @param after Called after one or more rooms have had their turn.
   */
  constructor(turn: (room: Room) => number | null, after: () => void) {
    this.#turn = turn;
    this.#after = after;
  }

  /** Schedules a room's turn for the end of this turn of the event loop. */
  wake(room: Room): void {
    this.#due.add(room);
    if (this.#due.size > 1) return;
    setImmediate(() => {
      const due = this.#due;
      this.#due = new Set();
      for (const room of due) this.#give(room);
      this.#after();
    });
  }

  /** Cancels a room's next turn. */
  forget(room: Room): void {
    this.#due.delete(room);
    this.#rouse(room);
  }

  #give(room: Room): void {
    this.#rouse(room);
    const rest = this.#turn(room);
    if (rest === null) return;
    const timer = setTimeout(() => {
      this.#give(room);
      this.#after();
    }, rest);
    this.#resting.set(room, timer);
  }

  #rouse(room: Room): void {
    clearTimeout(this.#resting.get(room));
    this.#resting.delete(room);
  }
}
