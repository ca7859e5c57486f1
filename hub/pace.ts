/**
 * The pace of a room decides whether the head of its log moves on or waits for members that would
 * otherwise fall off the log.
 *
 * The head waits for a crowd that still accepts data, which holds a flood back at its sender. For a few
 * members it waits only as long as a time budget lasts. An honest burst therefore loses no member, and a
 * client that is constantly too slow is evicted. The head does not wait for members that accept nothing.
 * Senders with little waiting are not held up (see `Room`).
 *
 * @module
 */

/** A member that has not accepted data for this long counts as stuck. */
const ALIVE_MILLISECONDS = 100;

/** The same limit in a flood, which keeps the machines of all clients busy. */
const FLOODED_MILLISECONDS = 1000;

/**
 * The same limit for a member that has accepted some of a flood. On a slow line, the kernel accepts data
 * in steps that are seconds apart.
 */
const PATIENT_MILLISECONDS = 5000;

/** How long a room waits for a few members. In a flood, only the senders that cause it have to wait. */
const BUDGET_MILLISECONDS = { calm: 1000, flood: 5000 };

/** The share of passing time by which a budget recovers. */
const REGROWTH = 0.01;

/** How much of a turn's delay counts as passed time. A longer delay may have held up the clients, too. */
const LATENESS_MILLISECONDS = 5;

/** A lagging member. */
export interface Straggler {
  /** The time, by {@link Pace.now}, at which it last accepted data. */
  readonly tookAt: number;
  /** The time at which it was last at the head. */
  readonly laggedAt: number;
  /** Whether it is so far behind that it falls off the log if the head moves on. */
  readonly falling: boolean;
}

/** The situation of a room before a batch. */
export interface Situation {
  /** The number of members at the head. */
  readonly ready: number;
  /** The members behind the head. */
  readonly stragglers: Iterable<Straggler>;
  /** Counts the members at the head that keep up with a flood of others; `null` if there is no flood. */
  bystanders(): number | null;
}

/** A time budget for waiting. */
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

  /** Spends time until the next tick, and tells whether any is left. */
  spend(): boolean {
    return this.#spending = this.#left > 0;
  }
}

/** The time budgets of a room. */
export class Pace {
  /** The time in milliseconds, without the time during which this process was held up. */
  now = 0;
  #at = -Infinity;
  readonly #calm = new Budget(BUDGET_MILLISECONDS.calm);
  readonly #flood = new Budget(BUDGET_MILLISECONDS.flood);

  /**
   * Advances the time. Call this at the beginning of each turn of the room.
   *
   * @param at The time by the clock, in milliseconds.
   * @param rest The planned time since the last turn, in milliseconds.
   */
  tick(at: number, rest: number): void {
    const passed = Math.max(0, at - this.#at);
    const step = Math.min(passed, rest + LATENESS_MILLISECONDS);
    this.#calm.tick(passed, step);
    this.#flood.tick(passed, step);
    this.now += step;
    this.#at = at;
  }

  /** Decides whether the head may move on now, given the members behind it. */
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

/** Tells whether so many members are behind that they cannot be at fault themselves. */
function isCrowd(behind: number, ready: number): boolean {
  return behind > 1 && 2 * behind > ready;
}

/** Tells whether an event is recent enough to judge a member by it. Floods have pauses, too. */
export function isOfLate(at: number, now: number): boolean {
  return now - at < PATIENT_MILLISECONDS;
}
