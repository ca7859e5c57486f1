/**
 * The pace of a room: may the head of its log move on, or does it wait for members that lag?
 *
 * The head keeps to the pace of the crowd: it waits while a good part of the members that take data
 * are behind, so a flood is held back where it comes from. It also waits before a member that takes
 * data falls off the log; that is charged to a budget, so an honest burst costs nobody, and a client
 * that is steadily too slow is found out. It never waits for members that take nothing.
 *
 * @module
 */

/** A member that took data so recently, in milliseconds, is taking it as fast as it can. */
const BUSY_MILLISECONDS = 20;

/** A member that took data so recently takes data; one that has not is stuck. */
const ALIVE_MILLISECONDS = 100;

/** The same in a flood, which keeps the machines of all others busy. */
const FLOODED_MILLISECONDS = 300;

/**
 * The same while waiting would delay no one but the authors of a flood and members on slow lines: the
 * kernel takes data for a slow line in steps that are seconds apart.
 */
const PATIENT_MILLISECONDS = 5000;

/** The time for which a room waits for the few, in milliseconds. */
const BUDGET_MILLISECONDS = 1000;

/** The share of passing time by which a spent budget grows again. */
const REGROWTH = 0.01;

/** The most that counts as one step of time: if the process itself stood still, no member is at fault. */
const LONGEST_STEP_MILLISECONDS = 50;

/** A lagging member. */
export interface Straggler {
  /** The time, by {@link Pace.now}, at which it last took data. */
  readonly tookAt: number;
  /** Whether it has fallen so far behind that it is lost if the head moves on. */
  readonly falling: boolean;
}

/** Senders have more waiting than fits a batch. */
export interface Flood {
  /** The number of such senders. */
  readonly authors: number;
  /** The members at the head that did not cause it and are not on slow lines themselves. */
  readonly bystanders: number;
}

/** The intervals at which a member takes data. */
export class Pulse {
  /** The time at which it last took some. */
  tookAt = -Infinity;
  #longest = 0; // The longest interval of late.
  #longestAt = -Infinity;

  /** Notes that it took data. */
  beat(now: number): void {
    const interval = now - this.tookAt;
    if (interval >= this.#longest || now - this.#longestAt > PATIENT_MILLISECONDS) {
      this.#longest = interval;
      this.#longestAt = now;
    }
    this.tookAt = now;
  }

  /** Tells whether it has of late taken data in steps so far apart that its line must be slow. */
  isSlow(now: number): boolean {
    return this.#longest >= ALIVE_MILLISECONDS && now - this.#longestAt < PATIENT_MILLISECONDS;
  }
}

/** What is known about a room before a batch. */
export interface Situation {
  /** The number of members at the head. */
  readonly ready: number;
  /** The members behind the head. */
  readonly stragglers: Iterable<Straggler>;
  /** Finds out whether there is a flood. */
  flood(): Flood | null;
}

/** The budget of a room and its sense of time. */
export class Pace {
  /** The time in milliseconds, as far as this process was there to see it. */
  now = 0;
  #budget = BUDGET_MILLISECONDS;
  #at = -Infinity;
  #waiting = false;

  /** Moves the time on; to be called whenever the room is looked at. `at` is a clock's milliseconds. */
  tick(at: number): void {
    const passed = Math.max(0, Math.min(at - this.#at, BUDGET_MILLISECONDS / REGROWTH));
    const step = Math.min(passed, LONGEST_STEP_MILLISECONDS);
    if (this.#waiting) this.#budget -= step;
    this.#budget = Math.min(BUDGET_MILLISECONDS, this.#budget + passed * REGROWTH);
    this.#waiting = false;
    this.now += step;
    this.#at = at;
  }

  /** Decides whether the head may move on now. */
  mayMoveOn({ ready, stragglers, flood }: Situation): boolean {
    let busy = 0, alive = 0, recent = 0, quietest = Infinity;
    for (const { tookAt, falling } of stragglers) {
      const quiet = this.now - tookAt;
      if (quiet < BUSY_MILLISECONDS) busy++;
      if (quiet < ALIVE_MILLISECONDS) alive++;
      if (quiet < PATIENT_MILLISECONDS) recent++;
      if (falling) quietest = Math.min(quietest, quiet);
    }
    if (busy > ready) return false;
    if (quietest >= PATIENT_MILLISECONDS) return true;
    const { authors, bystanders } = flood() ?? { authors: 0, bystanders: ready };
    if (bystanders === 0) return false;
    if (quietest < ALIVE_MILLISECONDS && isCrowd(alive, ready)) return false;
    const patience = authors > 0 ? FLOODED_MILLISECONDS : ALIVE_MILLISECONDS;
    const crowded = authors > 0 && isCrowd(recent, bystanders);
    this.#waiting = (crowded || quietest < patience) && this.#budget > 0;
    return !this.#waiting;
  }
}

/** Tells whether the members behind are too many to be at fault themselves. */
function isCrowd(behind: number, ready: number): boolean {
  return behind > 1 && 2 * behind > ready;
}
