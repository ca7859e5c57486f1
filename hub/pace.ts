/**
 * The pace of a room: may the head of its log move on, or does it wait before members fall off the log?
 *
 * It waits for a crowd that takes data, so a flood is held back where it comes from. For a few it waits
 * out of a budget, so an honest burst costs nobody, and a client that is steadily too slow is found
 * out. For members that take nothing it does not wait. Senders with little waiting are not held up: see
 * `Room`.
 *
 * @module
 */

/** A member that took data so recently, in milliseconds, takes data; one that has not is stuck. */
const ALIVE_MILLISECONDS = 100;

/** The same in a flood, which keeps the machines of all others busy. */
const FLOODED_MILLISECONDS = 1000;

/**
 * The same for a member that has taken some of a flood: the kernel takes data for a slow line in steps
 * that are seconds apart.
 */
const PATIENT_MILLISECONDS = 5000;

/** The times for which a room waits for the few, in milliseconds; in a flood only its authors wait. */
const BUDGET_MILLISECONDS = { calm: 1000, flood: 5000 };

/** The share of passing time by which a spent budget grows again. */
const REGROWTH = 0.01;

/** How much later than meant a look may be for that time to count: if this process was held up, so were others. */
const LATENESS_MILLISECONDS = 5;

/** A lagging member. */
export interface Straggler {
  /** The time, by {@link Pace.now}, at which it was last seen to take data. */
  readonly tookAt: number;
  /** The time at which it was last at the head. */
  readonly laggedAt: number;
  /** Whether it has fallen so far behind that it is lost if the head moves on. */
  readonly falling: boolean;
}

/** What is known about a room before a batch. */
export interface Situation {
  /** The number of members at the head. */
  readonly ready: number;
  /** The members behind the head. */
  readonly stragglers: Iterable<Straggler>;
  /** Counts, if somebody floods, the members at the head that are not its authors and keep up; else `null`. */
  bystanders(): number | null;
}

/** The time that is left for waiting. */
class Budget {
  readonly #most: number;
  #left: number;
  #spending = false;

  constructor(milliseconds: number) {
    this.#most = this.#left = milliseconds;
  }

  tick(passed: number, step: number): void {
    if (this.#spending) this.#left -= step;
    this.#left = Math.min(this.#most, this.#left + passed * REGROWTH);
    this.#spending = false;
  }

  /** Begins to spend it, until the next tick, and tells whether there is some. */
  spend(): boolean {
    return this.#spending = this.#left > 0;
  }
}

/** The budgets of a room and its sense of time. */
export class Pace {
  /** The time in milliseconds, as far as this process was there to see it. */
  now = 0;
  #at = -Infinity;
  readonly #calm = new Budget(BUDGET_MILLISECONDS.calm);
  readonly #flood = new Budget(BUDGET_MILLISECONDS.flood);

  /**
   * Moves the time on; to be called whenever the room is looked at.
   *
   * @param at A clock's milliseconds.
   * @param rest The milliseconds after which the room was to be looked at again.
   */
  tick(at: number, rest: number): void {
    const passed = Math.max(0, at - this.#at);
    const step = Math.min(passed, rest + LATENESS_MILLISECONDS);
    this.#calm.tick(passed, step);
    this.#flood.tick(passed, step);
    this.now += step;
    this.#at = at;
  }

  /** Decides whether the head may move on now, as far as that is a matter of the members behind it. */
  mayMoveOn({ ready, stragglers, bystanders }: Situation): boolean {
    const behind = [...stragglers];
    const falling = behind.filter(({ falling }) => falling);
    if (!falling.some((each) => this.#tookWithin(PATIENT_MILLISECONDS, each))) return true;
    const inFlood = bystanders();
    if ((inFlood ?? ready) === 0) return false;
    const alive = behind.filter((each) => this.#tookWithin(ALIVE_MILLISECONDS, each));
    if (alive.some(({ falling }) => falling) && isCrowd(alive.length, ready)) return false;
    const flooded = inFlood !== null;
    const worthIt = falling.some((each) => this.#tookWithin(this.#patience(each, flooded), each));
    return !worthIt || !(flooded ? this.#flood : this.#calm).spend();
  }

  #patience({ tookAt }: Straggler, flooded: boolean): number {
    if (!flooded) return ALIVE_MILLISECONDS;
    return isOfLate(tookAt, this.now) ? PATIENT_MILLISECONDS : FLOODED_MILLISECONDS;
  }

  #tookWithin(milliseconds: number, { tookAt, laggedAt }: Straggler): boolean {
    return this.now - Math.max(tookAt, laggedAt) < milliseconds;
  }
}

/** Tells whether the members behind are too many to be at fault themselves. */
function isCrowd(behind: number, ready: number): boolean {
  return behind > 1 && 2 * behind > ready;
}

/** Tells whether something has happened lately enough to say what a member is like; a flood has pauses, too. */
export function isOfLate(at: number, now: number): boolean {
  return now - at < PATIENT_MILLISECONDS;
}
