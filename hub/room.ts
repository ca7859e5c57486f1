/**
 * A room: its members and its messages, in one order for all of them.
 *
 * Messages wait in the queue until the room's turn. A turn puts a batch of them into the log and hands
 * it to the members at the head of the log. A member whose socket holds too much is lagging. It is given
 * nothing more until its socket has drained, and is then fed from the log at its own pace. A member that
 * asked for history is fed in the same way.
 *
 * @module
 */

import type { Ending, Eviction } from "./connection.ts";
import type { Chronicle } from "./history.ts";
import { type Beginning, type Entry, ENTRY_BYTES, Log, type Origin } from "./log.ts";
import type { Lag, Tracked } from "./member.ts";
import { isOfLate, Pace, type Situation, type Straggler } from "./pace.ts";
import { type BatchBounds, QUANTUM_BYTES } from "./queue.ts";
import type { Source, Tally } from "./source.ts";

/** The bytes that a batch may hold. A single message may be larger. */
const MAX_BATCH_BYTES = 256 * 1024;

/** The most bytes that a room with other rooms beside it writes in one turn, unless it has very many members. */
const MAX_TURN_BYTES = 512 * 1024;

/** A member whose socket holds more than this is lagging. */
const HIGH_WATER_BYTES = 128 * 1024;

/** The multiple of the allowed backlog that a member may reach while only a flood waits for it. */
const MOST_OVERSHOOT = 1.5;

/** The bytes after which no further laggard is fed in the same turn. */
const MAX_FED_BYTES = 4 * 1024 * 1024;

/** The bytes that can be copied in the time of one write. Small batches cost writes rather than bytes. */
const WRITE_BYTES = 4 * 1024;

/** The time after which a room that waits checks again whether it may move on. */
const PAUSE_MILLISECONDS = 1;

/** The longest time between two checks of laggards that accept nothing. */
const LONGEST_REST_MILLISECONDS = 25;

/** The options of a room. Sizes are in bytes. */
export interface RoomOptions<Message, Data> {
  /** The most deliveries for one batch. */
  readonly maxBatchDeliveries: number;
  /** Returns whether there is no other room that would have to wait for this one's turns. */
  isAlone(): boolean;
  /** The backlog over which a member falls off the log. */
  readonly maxBacklogBytes: number;
  /** The bytes in a member's socket over which it is lagging. Default: 128 KiB. */
  readonly highWaterBytes?: number;
  /** Whether a member that falls off is evicted. If not, it skips messages. */
  readonly evictSlow: boolean;
  /** Ends the membership of a member. */
  evict(member: Tracked<Message, Data>, ending: Ending & Eviction): void;
  /** The history of all rooms; `null` for none. */
  readonly history: { add(room: Chronicle, bytes: number, time: number): void } | null;
  /** Called after a batch was handed to the members at the head, with the time that it took. */
  onBatch(seconds: number): void;
}

/** A group of members that share one order. */
export class Room<Message, Data> implements Chronicle {
  /** The source of its batches. */
  readonly source: Source<Message, Data>;
  readonly #options: RoomOptions<Message, Data>;
  readonly #tally: Tally;
  readonly #log = new Log<Data>();
  readonly #pace = new Pace();
  readonly #ready = new Set<Tracked<Message, Data>>(); // The members at the head.
  readonly #laggards = new Set<Tracked<Message, Data>>();
  readonly #dismissed = new Set<Tracked<Message, Data>>(); // Closing; they are given nothing more.
  #rest = PAUSE_MILLISECONDS; // The planned time between the last turn and the next.
  readonly #highWater: number;
  #closing = false;

  /** Creates a room without members. */
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

  /**
   * Returns the bytes that the relay holds for a member: those in its socket and, unless it is receiving
   * history, those in the log from its position on.
   */
  unsent({ connection, lag }: Tracked<Message, Data>): number {
    return connection.backlog() + (lag && !lag.replaying ? this.#log.behind(lag.position) : 0);
  }

  /**
   * Adds a member. It is given the part of the history that it asked for, and then everything that gets
   * its place in the order from now on.
   *
   * @param at The time in milliseconds.
   * @returns Whether the room needs a turn to feed it.
   */
  join(member: Tracked<Message, Data>, at: number): boolean {
    const { position, skip } = this.#beginningOf(member, at);
    if (position < this.#log.head) {
      member.lag = { position, skip, held: 0, unsent: 0, replaying: true };
      member.laggedAt = this.#pace.now;
      this.#laggards.add(member);
      return true;
    }
    this.#ready.add(member);
    if (this.#closing && this.source.waiting === 0) this.dismiss(member);
    return false;
  }

  /** Removes a member. Messages that it sent stay in the queue. */
  leave(member: Tracked<Message, Data>): void {
    this.#ready.delete(member) || this.#laggards.delete(member) || this.#dismissed.delete(member);
    if (this.#laggards.size === 0) this.#log.release();
  }

  forgetOldest(): void {
    this.#log.forgetOldest();
  }

  /** Whether there is nothing to do until a message is published. */
  get idle(): boolean {
    return this.source.waiting === 0 && this.#laggards.size === 0;
  }

  /** Whether nothing would be lost if the room were removed. */
  get vacant(): boolean {
    return this.size === 0 && this.idle && this.#log.length === 0;
  }

  /** Starts to close all connections, after the queued messages were sent or, with `atOnce`, immediately. */
  close(atOnce = false): void {
    this.#closing = true;
    if (atOnce || this.source.waiting === 0) this.#dismissReady();
  }

  /** Starts to close the connection of a member at the head, and gives it nothing more. */
  dismiss(member: Tracked<Message, Data>): void {
    if (!this.#ready.delete(member)) return;
    this.#dismissed.add(member);
    member.connection.close("shutdown");
  }

  /**
   * Feeds the laggards and, if the pace allows it, delivers one batch.
   *
   * @param at The time in milliseconds.
   * @returns The milliseconds until the next turn; `null` for none until a message is published.
   */
  turn(at: number): number | null {
    this.#pace.tick(at, this.#rest);
    this.#rest = this.#feed();
    if (this.source.ready) this.#advance(at);
    if (this.source.ready) return this.#rest = PAUSE_MILLISECONDS;
    if (this.#closing && this.source.waiting === 0) this.#dismissReady();
    return this.#laggards.size > 0 ? this.#rest : null;
  }

  /** Delivers the next batch if the source and the pace allow it. */
  #advance(at: number): void {
    if (this.source.mayWait(at)) return;
    this.#findLaggards();
    if (this.source.pressing || this.#pace.mayMoveOn(this.#situation())) this.#moveOn(at);
    else this.#moveOthers(at);
  }

  #beginningOf({ connection: { replay } }: Tracked<Message, Data>, at: number): Beginning {
    if (!replay) return { position: this.#log.head, skip: 0 };
    if ("last" in replay) return this.#log.findLast(replay.last);
    return this.#log.findSince(at - replay.milliseconds);
  }

  /** Gives laggards as much as their sockets accept, and returns the milliseconds until the next check. */
  #feed(): number {
    if (this.#laggards.size === 0) return PAUSE_MILLISECONDS;
    const { now } = this.#pace;
    let needed = Infinity, quiet = Infinity, left = MAX_FED_BYTES;
    for (const member of this.#inOrder()) {
      const lag = member.lag!;
      if (lag.replaying && lag.position < this.#log.past) {
        this.#options.evict(member, "gap"); // It is too slow for the history that it asked for.
        continue;
      }
      if (member.connection.backlog() < lag.held) member.tookAt = now;
      if (left > 0) left -= this.#feedOne(member, lag, left);
      lag.held = member.connection.backlog();
      const behind = this.#log.behind(lag.position);
      if (behind === 0) lag.replaying = false;
      lag.unsent = lag.held + behind;
      if (this.#isFalling(member)) member.fellAt = now;
      if (behind === 0 && lag.held <= this.#highWater) this.#catchUp(member);
      else if (!lag.replaying) needed = Math.min(needed, lag.position);
      quiet = Math.min(quiet, now - Math.max(member.tookAt, member.laggedAt));
    }
    this.#log.release(needed);
    if (left <= 0) return PAUSE_MILLISECONDS;
    return Math.max(PAUSE_MILLISECONDS, Math.min(quiet / 8, LONGEST_REST_MILLISECONDS));
  }

  /** Returns first the laggards that become slow unless they are fed, and then those that receive history. */
  #inOrder(): Tracked<Message, Data>[] {
    const all = [...this.#laggards];
    return [
      ...all.filter(({ lag }) => !lag!.replaying),
      ...all.filter(({ lag }) => lag!.replaying),
    ];
  }

  /**
   * Gives a laggard as much as its socket accepts, and moves it behind the others.
   *
   * @param most The cost at which to stop.
   * @returns The cost: the bytes that were given, and {@link WRITE_BYTES} for each write.
   */
  #feedOne(member: Tracked<Message, Data>, lag: Lag, most: number): number {
    const held = member.connection.backlog();
    let fed = 0, cost = 0;
    while (lag.position < this.#log.head && held + fed < this.#highWater && cost < most) {
      const entry = this.#log.at(lag.position++);
      this.#give(member, entry, lag.skip);
      if (lag.replaying) this.#tally.replayedMessages += entry.messages - lag.skip;
      lag.skip = 0;
      fed += entry.bytes;
      cost += entry.bytes + WRITE_BYTES * entry.encoded.all.length;
    }
    if (fed > 0) {
      this.#laggards.delete(member);
      this.#laggards.add(member);
    }
    return cost;
  }

  #catchUp(member: Tracked<Message, Data>): void {
    this.#laggards.delete(member);
    this.#ready.add(member);
    member.lag = null;
  }

  /** Finds the members whose sockets hold too much for the next batch. */
  #findLaggards(): void {
    for (const member of this.#ready) {
      const held = member.connection.backlog();
      if (held <= this.#highWater) continue;
      const position = this.#log.head;
      member.lag = { position, skip: 0, held, unsent: held, replaying: false };
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

  /** Counts the members at the head that keep up with a flood; `null` if there is no flood. */
  #bystanders(): number | null {
    const { now } = this.#pace;
    if (!this.source.findFlood(now)) return null;
    return [...this.#ready].filter(({ floodedAt, fellAt }) =>
      !isOfLate(floodedAt, now) && !isOfLate(fellAt, now)
    ).length;
  }

  #isFalling({ lag }: Tracked<Message, Data>): boolean {
    return !lag!.replaying && lag!.unsent > this.#options.maxBacklogBytes;
  }

  *#stragglers(): Generator<Straggler> {
    for (const member of this.#laggards) {
      const { tookAt, laggedAt, lag } = member;
      if (lag!.replaying) continue; // It may take its time.
      yield { tookAt, laggedAt, falling: this.#isFalling(member) };
    }
  }

  /** Delivers a batch, but not to members that have fallen off the log. */
  #moveOn(at: number): void {
    const { evictSlow, evict } = this.#options;
    const fallen = [...this.#laggards].filter((member) => this.#isFalling(member));
    if (evictSlow) { for (const member of fallen) evict(member, "slow"); }
    this.#deliver(this.source.take(this.batchBounds(), at));
    if (!evictSlow) { for (const member of fallen) this.#skip(member); }
  }

  /** Delivers a batch from senders with little waiting, as long as no member falls too far behind. */
  #moveOthers(at: number): void {
    const most = MOST_OVERSHOOT * this.#options.maxBacklogBytes;
    if ([...this.#laggards].some(({ lag }) => !lag!.replaying && lag!.unsent > most)) return;
    const entry = this.source.takeOthers(this.batchBounds(), at, this.#pace.now);
    if (entry) this.#deliver(entry);
  }

  /** Returns the bounds of one turn's batch for the current number of members. */
  batchBounds(): BatchBounds {
    const messages = Math.max(1, Math.floor(this.#options.maxBatchDeliveries / this.size));
    const bytes = this.#options.isAlone() ? MAX_BATCH_BYTES : MAX_TURN_BYTES / this.size;
    return { bytes: Math.min(MAX_BATCH_BYTES, Math.max(QUANTUM_BYTES, bytes)), messages };
  }

  #deliver(entry: Entry<Data>): void {
    const started = performance.now();
    const { history } = this.#options;
    this.#log.append(entry, this.#laggards.size > 0, history !== null);
    history?.add(this, entry.bytes + ENTRY_BYTES, entry.time);
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

  /**
   * Writes a batch to one member, without its own messages if there is no echo.
   *
   * @param skip How many messages at the beginning are left out.
   */
  #give(member: Tracked<Message, Data>, entry: Entry<Data>, skip = 0): void {
    const { encoded, messages, payloadBytes, origins } = entry;
    const own = origins ? ownOf(member, origins).filter((at) => at >= skip) : [];
    const whole = own.length === 0 && skip === 0;
    let from = skip;
    for (const to of [...own, messages]) {
      const data = whole ? encoded.all : to > from ? encoded.slice(from, to) : [];
      for (const each of data) member.connection.write(each);
      from = to + 1;
    }
    const ownBytes = own.reduce((sum, at) => sum + origins![at].bytes, 0);
    const skippedBytes = skip === 0 ? 0 : encoded.payloadBytes(0, skip);
    this.#count(messages - skip - own.length, payloadBytes - skippedBytes - ownBytes);
  }

  /** Moves a member to the head. The messages that it misses are contiguous. */
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

/** Finds the indices of a member's own messages in a batch. */
function ownOf({ identity }: { identity: object }, origins: readonly Origin[]): number[] {
  return origins.flatMap(({ sender }, at) => sender === identity ? [at] : []);
}
