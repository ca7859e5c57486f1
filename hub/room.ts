/**
 * A room: its members, and what was said in it, in one order for all of them.
 *
 * Messages wait in the queue until the room's turn. A turn puts a batch of them into the log and hands
 * it to the members at the head of the log. A member whose socket holds too much is lagging: it is
 * given nothing more until its socket has drained, and is then fed from the log, at its own pace.
 *
 * @module
 */

import { type Entry, Log, type Origin } from "./log.ts";
import type { Tracked } from "./member.ts";
import { isOfLate, Pace, type Situation, type Straggler } from "./pace.ts";
import type { BatchBounds } from "./queue.ts";
import type { Source, Tally } from "./source.ts";

/** The bytes that a batch may hold; a single message may be larger. */
const MAX_BATCH_BYTES = 256 * 1024;

/** A member whose socket holds more than this is lagging. */
const HIGH_WATER_BYTES = 128 * 1024;

/** How far behind a member may fall while a flood waits for it and others do not, as a multiple of what it may. */
const MOST_OVERSHOOT = 1.5;

/** The time until a room looks again whether it may move on, in milliseconds. */
const PAUSE_MILLISECONDS = 1;

/** The longest time between two looks at laggards that take nothing, in milliseconds. */
const LONGEST_REST_MILLISECONDS = 25;

/** The options of a room. Sizes are in bytes. */
export interface RoomOptions<Message, Data> {
  /** The deliveries that one batch may come to. */
  readonly maxBatchDeliveries: number;
  /** The unsent bytes over which a member falls off the log. */
  readonly maxBacklogBytes: number;
  /** The bytes in a member's socket over which it is lagging. Default: 128 KiB. */
  readonly highWaterBytes?: number;
  /** Ends the membership of a member that fell off; without it messages are skipped for it. */
  readonly evictSlow: ((member: Tracked<Message, Data>) => void) | null;
  /** Called after a batch was handed to the members at the head, with the time that took. */
  onBatch(seconds: number): void;
}

/** Members that share one order. */
export class Room<Message, Data> {
  /** What puts its messages in order. */
  readonly source: Source<Message, Data>;
  readonly #options: RoomOptions<Message, Data>;
  readonly #tally: Tally;
  readonly #log = new Log<Data>();
  readonly #pace = new Pace();
  readonly #ready = new Set<Tracked<Message, Data>>(); // The members at the head.
  readonly #laggards = new Set<Tracked<Message, Data>>();
  readonly #dismissed = new Set<Tracked<Message, Data>>(); // Told to go away; they are given nothing more.
  #rest = PAUSE_MILLISECONDS; // The time from the last turn until the next was to be.
  readonly #highWater: number;
  #closing = false;

  /** Makes a room without members. */
  constructor(
    /** Its name, a path. */
    readonly name: string,
    source: Source<Message, Data>,
    options: RoomOptions<Message, Data>,
    tally: Tally,
  ) {
    this.source = source;
    this.#options = options;
    this.#tally = tally;
    const { highWaterBytes = HIGH_WATER_BYTES, maxBacklogBytes } = options;
    this.#highWater = Math.min(highWaterBytes, maxBacklogBytes);
  }

  /** The number of members. */
  get size(): number {
    return this.#ready.size + this.#laggards.size + this.#dismissed.size;
  }

  /** All members. */
  *members(): Generator<Tracked<Message, Data>> {
    yield* this.#ready;
    yield* this.#laggards;
    yield* this.#dismissed;
  }

  /** The bytes that the relay holds for a member: in its socket, and in the log from its position on. */
  unsent({ connection, lag }: Tracked<Message, Data>): number {
    return connection.backlog() + (lag ? this.#log.behind(lag.position) : 0);
  }

  /** Adds a member; it is given all that gets its place in the order from now on. */
  join(member: Tracked<Message, Data>): void {
    this.#ready.add(member);
    if (this.#closing && this.source.waiting === 0) this.dismiss(member);
  }

  /** Removes a member. What it sent stays in the queue. */
  leave(member: Tracked<Message, Data>): void {
    this.#ready.delete(member) || this.#laggards.delete(member) || this.#dismissed.delete(member);
    if (this.#laggards.size === 0) this.#log.release(this.#log.head, this.#pace.now);
  }

  /** Whether there is nothing to do until somebody publishes. */
  get idle(): boolean {
    return this.source.waiting === 0 && this.#laggards.size === 0;
  }

  /** Whether nothing would be lost with it. */
  get vacant(): boolean {
    return this.size === 0 && this.idle;
  }

  /** Tells every member to go away, once it has been given what is queued, or at once if that cannot be. */
  close(atOnce = false): void {
    this.#closing = true;
    if (atOnce || this.source.waiting === 0) this.#dismissReady();
  }

  /** Tells a member at the head to go away, and gives it nothing more. */
  dismiss(member: Tracked<Message, Data>): void {
    if (!this.#ready.delete(member)) return;
    this.#dismissed.add(member);
    member.connection.close("shutdown");
  }

  /**
   * Feeds the laggards and, if it is time, delivers one batch.
   *
   * @param at The time in milliseconds.
   * @returns The milliseconds until the next turn; `null` if there is nothing to do until somebody publishes.
   */
  turn(at: number): number | null {
    this.#pace.tick(at, this.#rest);
    this.#rest = this.#feed();
    if (this.source.ready) this.#advance(at);
    if (this.source.ready) return this.#rest = PAUSE_MILLISECONDS;
    if (this.#closing && this.source.waiting === 0) this.#dismissReady();
    return this.#laggards.size > 0 ? this.#rest : null;
  }

  /** Delivers what is next, if it is time for that. */
  #advance(at: number): void {
    if (this.source.mayWait(at)) return;
    this.#findLaggards();
    if (this.source.pressing || this.#pace.mayMoveOn(this.#situation())) this.#moveOn();
    else this.#moveOthers();
  }

  /** Gives laggards what their sockets take, and returns when to look at them again. */
  #feed(): number {
    if (this.#laggards.size === 0) return PAUSE_MILLISECONDS;
    const { now } = this.#pace;
    let needed = this.#log.head, quiet = Infinity;
    for (const member of this.#laggards) {
      const lag = member.lag!;
      let held = member.connection.backlog();
      if (held < lag.held) member.tookAt = now;
      while (held < this.#highWater && lag.position < this.#log.head) {
        const entry = this.#log.at(lag.position++);
        this.#give(member, entry);
        held += entry.bytes;
      }
      lag.held = member.connection.backlog();
      const behind = this.#log.behind(lag.position);
      lag.unsent = lag.held + behind;
      if (this.#isFalling(member)) member.fellAt = now;
      if (behind === 0 && lag.held <= this.#highWater) this.#catchUp(member);
      needed = Math.min(needed, lag.position);
      quiet = Math.min(quiet, now - Math.max(member.tookAt, member.laggedAt));
    }
    this.#log.release(needed, now);
    return Math.max(PAUSE_MILLISECONDS, Math.min(quiet / 8, LONGEST_REST_MILLISECONDS));
  }

  #catchUp(member: Tracked<Message, Data>): void {
    this.#laggards.delete(member);
    this.#ready.add(member);
    member.lag = null;
  }

  /** Finds the members whose sockets hold too much to be given the next batch. */
  #findLaggards(): void {
    for (const member of this.#ready) {
      const held = member.connection.backlog();
      if (held <= this.#highWater) continue;
      member.lag = { position: this.#log.head, held, unsent: held };
      member.laggedAt = this.#pace.now;
      this.#ready.delete(member);
      this.#laggards.add(member);
    }
  }

  #situation(): Situation {
    return {
      ready: this.#ready.size,
      stragglers: this.#stragglers(),
      bystanders: () => this.#bystanders(),
    };
  }

  /** Counts those at the head that keep up with a flood; `null` if nobody floods. */
  #bystanders(): number | null {
    const { now } = this.#pace;
    if (!this.source.findFlood(now)) return null;
    return [...this.#ready].filter(({ floodedAt, fellAt }) =>
      !isOfLate(floodedAt, now) && !isOfLate(fellAt, now)
    ).length;
  }

  #isFalling({ lag }: Tracked<Message, Data>): boolean {
    return lag!.unsent > this.#options.maxBacklogBytes;
  }

  *#stragglers(): Generator<Straggler> {
    for (const member of this.#laggards) {
      const { tookAt, laggedAt } = member;
      yield { tookAt, laggedAt, falling: this.#isFalling(member) };
    }
  }

  /** Delivers a batch, without the members that have fallen off. */
  #moveOn(): void {
    const { evictSlow } = this.#options;
    const fallen = [...this.#laggards].filter((member) => this.#isFalling(member));
    if (evictSlow) fallen.forEach(evictSlow);
    this.#deliver(this.source.take(this.batchBounds()));
    if (!evictSlow) { for (const member of fallen) this.#skip(member); }
  }

  /** Delivers a batch of those who have little waiting, as long as nobody falls too far behind by that. */
  #moveOthers(): void {
    const most = MOST_OVERSHOOT * this.#options.maxBacklogBytes;
    if ([...this.#laggards].some(({ lag }) => lag!.unsent > most)) return;
    const entry = this.source.takeOthers(this.batchBounds(), this.#pace.now);
    if (entry) this.#deliver(entry);
  }

  /** What may be delivered in one turn, to as many members as there are now. */
  batchBounds(): BatchBounds {
    const messages = Math.max(1, Math.floor(this.#options.maxBatchDeliveries / this.size));
    return { bytes: MAX_BATCH_BYTES, messages };
  }

  #deliver(entry: Entry<Data>): void {
    const started = performance.now();
    this.#log.append(entry, this.#laggards.size > 0, this.#pace.now);
    if (entry.origins) { for (const member of this.#ready) this.#give(member, entry); }
    else {
      for (const data of entry.encoded.all) {
        for (const { connection } of this.#ready) connection.write(data);
      }
      this.#count(this.#ready.size * entry.messages, this.#ready.size * entry.payloadBytes);
    }
    const took = performance.now() - started;
    this.source.delivered(took);
    this.#options.onBatch(took / 1000);
  }

  /** Writes a batch to one member, without its own messages where these are not for it. */
  #give(member: Tracked<Message, Data>, entry: Entry<Data>): void {
    const { encoded, messages, payloadBytes, origins } = entry;
    const own = origins ? ownOf(member, origins) : [];
    let from = 0;
    for (const to of [...own, messages]) {
      const data = own.length === 0 ? encoded.all : to > from ? encoded.slice(from, to) : [];
      for (const each of data) member.connection.write(each);
      from = to + 1;
    }
    const ownBytes = own.reduce((sum, at) => sum + origins![at].bytes, 0);
    this.#count(messages - own.length, payloadBytes - ownBytes);
  }

  /** Puts a member at the head; what it has missed is one piece. */
  #skip(member: Tracked<Message, Data>): void {
    const lag = member.lag!;
    for (; lag.position < this.#log.head; lag.position++) {
      const { messages, origins } = this.#log.at(lag.position);
      this.#tally.droppedMessages += messages - (origins ? ownOf(member, origins).length : 0);
    }
  }

  #count(deliveries: number, bytes: number): void {
    this.#tally.deliveries += deliveries;
    this.#tally.sentBytes += bytes;
  }

  #dismissReady(): void {
    for (const member of this.#ready) this.dismiss(member);
  }
}

/** Finds the places of a member's own messages in a batch. */
function ownOf(member: unknown, origins: readonly Origin[]): number[] {
  return origins.flatMap(({ sender }, at) => sender === member ? [at] : []);
}
