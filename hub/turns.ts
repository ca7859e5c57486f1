/**
 * The turns of rooms: at the end of a turn of the event loop for those in which something has happened,
 * or after a rest for those that wait for something.
 *
 * @module
 */

/** Gives each room its turn. */
export class Turns<Room> {
  readonly #turn: (room: Room) => number | null;
  readonly #after: () => void;
  #due = new Set<Room>(); // At the end of this turn of the event loop.
  readonly #resting = new Map<Room, ReturnType<typeof setTimeout>>();

  /**
   * Begins without a room.
   *
   * @param turn Gives a room its turn, and returns the milliseconds until its next; `null` for none.
   * @param after Is called after some had their turns.
   */
  constructor(turn: (room: Room) => number | null, after: () => void) {
    this.#turn = turn;
    this.#after = after;
  }

  /** Gives a room a turn at the end of this turn of the event loop. */
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

  /** Takes away a room's turns that are yet to come. */
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
