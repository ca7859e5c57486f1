/**
 * The hub: rooms and their members, one order a room, and nobody held up.
 *
 * The hub is plain data and synchronous methods. It knows nothing of sockets, configuration, logs or
 * metrics: a transport hands it a {@link Connection} for each open client and calls
 * {@link Hub.publish} and {@link Hub.leave}; {@link HubOptions.onLeave} and its siblings tell others.
 *
 * @module
 */

import { type Cause, type Connection, type Ending, EVICTIONS } from "./hub/connection.ts";
import type { Eviction, Member, Membership, Post } from "./hub/connection.ts";
import type { Author, Posted } from "./hub/author.ts";
import { Guests } from "./hub/guests.ts";
import { Courier } from "./hub/courier.ts";
import { Tracked } from "./hub/member.ts";
import { History } from "./hub/history.ts";
import { Intake } from "./hub/intake.ts";
import { LocalSource } from "./hub/local_source.ts";
import type { HubOptions, HubStats, ShutdownReport } from "./hub/options.ts";
import type { Batch, Ordered } from "./hub/order.ts";
import { Line } from "./hub/queue.ts";
import { Room, type RoomOptions } from "./hub/room.ts";
import { SharedSource } from "./hub/shared_source.ts";
import { Turns } from "./hub/turns.ts";

export {
  type Cause,
  type Connection,
  type Encoded,
  type Ending,
  type Eviction,
  EVICTIONS,
  type Member,
  type Membership,
  type Post,
} from "./hub/connection.ts";
export type { Posted } from "./hub/author.ts";
export type { Replay, Retention } from "./hub/history.ts";
export type { HubOptions, HubStats, SharedOrder, ShutdownReport } from "./hub/options.ts";
export type { Batch, Frames, Order, Ordered, Section } from "./hub/order.ts";
export { cut, MOST_HEAD_BYTES, payloadBytesOf } from "./hub/order.ts";

/** Members that are told to go away, some at a time, so that they do not all come back at once. */
export interface Parting {
  /** How many there are. */
  readonly count: number;
  /** Tells the next so many of them, in random order. */
  next(count: number): void;
}

/**
 * Relays every message to every member of the sender's room, in one order for all of them.
 *
 * A room is there as long as somebody is in it, or some of its past is kept. Messages that come in during one turn of the event loop are queued and leave together at its end, as
 * one batch, or as several of a bounded size, one a turn. A member that does not take them as fast is
 * fed at its own pace, and evicted once it is too far behind; the others do not wait for it. A sender
 * with too much waiting is not read from for a while, or, where the transport cannot stop that, evicted.
 * Rooms have nothing in common but the memory for what waits.
 *
 * @example
 * ```ts
 * import { Hub } from "./hub.ts";
 *
 * const hub = new Hub<string, string>({
 *   encode: (messages) => ({
 *     all: messages,
 *     slice: (from, to) => messages.slice(from, to),
 *     payloadBytes: (from, to) => messages.slice(from, to).join("").length,
 *   }),
 *   maxMessageBytes: 1024,
 *   maxBacklogBytes: 65536,
 * });
 * const heard: string[] = [];
 * const alice = hub.join({
 *   peer: "alice",
 *   room: "/",
 *   replay: null,
 *   mayTalk: true,
 *   expires: Infinity,
 *   backlog: () => 0,
 *   write: (message) => heard.push(message),
 *   close: () => {},
 *   evict: () => {},
 *   terminate: () => {},
 * });
 * hub.publish(alice, "hello", 5);
 * await new Promise((resolve) => setImmediate(resolve)); // The end of this turn.
 * if (heard.join() !== "hello") throw new Error("not relayed");
 * ```
 */
export class Hub<Message, Data> implements Membership<Message, Data>, Ordered {
  readonly #options: HubOptions<Message, Data>;
  readonly #rooms = new Map<string, Room<Message, Data>>();
  readonly #roomOptions: RoomOptions<Message, Data>;
  readonly #courier: Courier<Message, Data> | null;
  readonly #history: History<Room<Message, Data>> | null;
  readonly #intake: Intake<Message, Data>;
  readonly #arrived = { bytes: 0 };
  readonly #turns = new Turns<Room<Message, Data>>(
    (room) => this.#turn(room),
    () => this.#afterTurns(),
  );
  readonly #guests: Guests<Message, Data>;
  #closed: PromiseWithResolvers<void> | undefined;

  #connections = 0;
  #disconnections = 0;
  #postedMessages = 0;
  readonly #tally = {
    messages: 0,
    receivedBytes: 0,
    deliveries: 0,
    sentBytes: 0,
    droppedMessages: 0,
    replayedMessages: 0,
  };
  readonly #evictions = Object.fromEntries(EVICTIONS.map((cause) => [cause, 0])) as Record<
    Eviction,
    number
  >;
  readonly #report = { closed: 0, terminated: 0 };

  /** Makes a hub without members. */
  constructor(options: HubOptions<Message, Data>) {
    this.#options = options;
    const { echo = true, maxBatchDeliveries = Infinity, slowClient = "disconnect" } = options;
    this.#intake = new Intake({
      maxMessageBytes: options.maxMessageBytes,
      maxMessagesPerSecond: options.maxMessagesPerSecond,
      rooms: this.#rooms,
      now: () => this.#now(),
      whyShed: () => this.orderAnswers ? "rate" : "cluster",
      evict: (member, ending) => this.#evict(member, ending),
    });
    this.#guests = new Guests(options.maxMessagesPerSecond);
    this.#history = options.history
      ? new History(options.history, (room) => this.#dropIfVacant(room))
      : null;
    this.#roomOptions = {
      maxBatchDeliveries,
      maxBacklogBytes: options.maxBacklogBytes,
      evictSlow: slowClient === "disconnect",
      evict: (member, ending) => this.#evict(member, ending),
      history: this.#history,
      onBatch: (seconds) => options.onBatch?.(seconds),
    };
    const { shared } = options;
    this.#courier = shared
      ? new Courier({
        shared,
        echo,
        rooms: this.#rooms,
        arrived: this.#arrived,
        open: this.#history ? (name) => this.#rooms.get(name) ?? this.#open(name) : null,
        wake: (room) => this.#turns.wake(room),
      }, this.#tally)
      : null;
  }

  /** Whether what decides a shared order answers; while it does not, nothing that is taken in gets on. */
  orderAnswers = true;

  /** The number of members. */
  get size(): number {
    return this.#connections - this.#disconnections;
  }

  /**
   * Makes an open client a member of its room. It receives what it wants of the history, what is queued
   * already, and everything that is published there from now on. In a hub that is closing it is told to go away like the others.
   */
  join(connection: Connection<Data>): Member {
    const room = this.#rooms.get(connection.room) ?? this.#open(connection.room);
    const member = new Tracked<Message, Data>(connection, room);
    this.#connections++;
    if (room.join(member, this.#now())) this.#turns.wake(room);
    this.#options.onJoin?.(member);
    return member;
  }

  /**
   * Takes in a message for all members of the sender's room. What comes from a member that has left, or
   * while the hub is closing, is ignored.
   *
   * @param bytes The size of the payload; for text that of its UTF-8 form.
   */
  publish(from: Member, message: Message, bytes: number): void {
    const sender = from as Tracked<Message, Data>;
    if (this.#closed || !sender.present) return;
    const fault = this.#intake.findFault(sender, bytes);
    if (fault) return this.#evict(sender, fault);
    this.#enqueue(sender, message, bytes);
    this.#intake.bound(sender);
  }

  /**
   * Takes in a message of somebody who is no member: what was said of {@link Hub.publish}, but that too large a
   * message is the caller's to refuse, and that the sender is told what became of it.
   */
  async post({ room, address, message, bytes }: Post<Message>): Promise<Posted> {
    const now = this.#now();
    if (this.#closed) return "shutdown";
    if (!this.#guests.keepsRate(address, now)) return "rate";
    if (!this.#intake.hasSpace(bytes)) return "full";
    const guest = this.#guests.enter(this.#rooms.get(room) ?? this.#open(room));
    this.#enqueue(guest, message, bytes);
    const outcome = await guest.outcome;
    if (outcome === "placed") this.#postedMessages++;
    return outcome;
  }

  wants(room: string): boolean {
    return this.#history !== null || this.#rooms.has(room);
  }

  /** Takes the next batch of the shared order, which is delivered like one of the hub's own. */
  deliver(batch: Batch, own: boolean, ageMilliseconds: number): void {
    this.#courier!.arrive(batch, own, this.#now() - ageMilliseconds);
  }

  /**
   * Ends all memberships at once, and forgets the history, since what follows would not be what was promised.
   * Their connections are ended when it is their turn, and are given nothing more until then.
   */
  expel(ending: Ending & Eviction): Parting {
    const members = [...this.#members()];
    for (const member of members) this.leave(member, ending);
    this.#guests.refuse("cluster");
    this.#history?.clear();
    for (const room of this.#rooms.values()) {
      if (room.source instanceof SharedSource) room.source.forget();
      this.#dropIfVacant(room);
    }
    return part(members, ({ connection }) => connection.evict(ending));
  }

  /** Forgets the batch that is on its way to the shared order, and what its senders may have said after it. */
  giveUp(): void {
    this.#courier!.giveUp();
    for (const room of this.#rooms.values()) {
      const { queue } = room.source;
      for (const line of [...queue.lines]) queue.drop(line);
      this.#dropIfVacant(room);
    }
  }

  /** Prepares to tell all members to go away, before {@link Hub.close}. Who is not told yet is served as ever. */
  dismiss(): Parting {
    return part([...this.#members()], (member) => member.room.dismiss(member));
  }

  /**
   * Evicts the members whose time is over, and lets go of what is too old; for who owns a clock to call now and
   * then.
   */
  expire(unixMilliseconds: number): void {
    const now = this.#now();
    this.#history?.trim(now);
    this.#guests.sweep(now);
    for (const member of this.#members()) {
      if (member.connection.expires <= unixMilliseconds) this.#evict(member, "expired");
    }
  }

  /**
   * Ends a membership. Every removal passes here; calls after the first do nothing, so a transport may
   * report an end as often as its platform does.
   */
  leave(left: Member, cause: Cause): void {
    const member = left as Tracked<Message, Data>;
    if (!member.present) return;
    member.present = false;
    const { room } = member;
    room.leave(member);
    this.#intake.forget(member);
    this.#disconnections++;
    if (this.#closed) this.#report[cause === "closed" ? "closed" : "terminated"]++;
    if (cause in this.#evictions) this.#evictions[cause as Eviction]++;
    member.connection.left?.();
    this.#options.onLeave?.(member, cause);
    this.#dropIfVacant(room);
    this.#finish();
  }

  /**
   * Takes in nothing more, sends what is queued, and then tells every member to go away.
   *
   * @returns A promise for the moment when the last member has left, which {@link Hub.terminate} brings about, and
   * what was taken in has its place in the order, unless nobody answers who could give it one.
   */
  close(): Promise<void> {
    if (!this.#closed) {
      this.#closed = Promise.withResolvers();
      for (const room of this.#rooms.values()) room.close(!this.orderAnswers);
      this.#finish();
    }
    return this.#closed.promise;
  }

  /**
   * Removes the members that have not gone away after {@link Hub.close}.
   *
   * @returns How the members left since then.
   */
  terminate(): ShutdownReport {
    for (const member of this.#members()) {
      member.connection.terminate();
      this.leave(member, "terminated");
    }
    this.#guests.refuse("shutdown");
    return { ...this.#report };
  }

  /** Takes a snapshot of the numbers; asks each member for its backlog. */
  stats(): HubStats {
    let backlogBytes = 0;
    let backlogBytesMax = 0;
    for (const member of this.#members()) {
      const unsent = member.room.unsent(member);
      backlogBytes += unsent;
      if (unsent > backlogBytesMax) backlogBytesMax = unsent;
    }
    return {
      connected: this.size,
      rooms: this.#rooms.size,
      connections: this.#connections,
      disconnections: this.#disconnections,
      ...this.#tally,
      postedMessages: this.#postedMessages,
      historyBytes: this.#history?.bytes ?? 0,
      evictions: { ...this.#evictions },
      queuedMessages: [...this.#rooms.values()].reduce(
        (sum, { source }) => sum + source.waiting,
        0,
      ),
      backlogBytes,
      backlogBytesMax,
    };
  }

  /** Ends a closing when there is nobody, and nothing, left. */
  #finish(): void {
    if (!this.#closed || this.size > 0) return;
    const isWaiting = [...this.#rooms.values()].some(({ source }) => source.waiting > 0);
    if (!isWaiting || !this.orderAnswers) this.#closed.resolve();
  }

  *#members(): Generator<Tracked<Message, Data>> {
    for (const room of this.#rooms.values()) yield* room.members();
  }

  #open(name: string): Room<Message, Data> {
    const { encode, echo = true, shared } = this.#options;
    const source = shared
      ? new SharedSource<Message, Data>(shared.unpack, this.#intake.queued, this.#arrived)
      : new LocalSource<Message, Data>({ encode, echo }, this.#tally, this.#intake.queued);
    const room = new Room(name, source, this.#roomOptions, this.#tally);
    if (this.#closed) room.close();
    this.#rooms.set(name, room);
    const { maxRooms = Infinity } = this.#options;
    if (this.#rooms.size > maxRooms) this.#forgetDeserted();
    return room;
  }

  /** Lets go of the room with nobody in it in which nothing was said for the longest time, if there is one. */
  #forgetDeserted(): void {
    for (const room of this.#history?.rooms ?? []) {
      if (room.size === 0 && room.idle) return this.#history!.forget(room);
    }
  }

  #dropIfVacant(room: Room<Message, Data>): void {
    if (!room.vacant) return;
    this.#turns.forget(room);
    this.#rooms.delete(room.name);
  }

  #enqueue(sender: Author<Message, Data>, message: Message, bytes: number): void {
    const { room } = sender, { queue } = room.source;
    queue.push(sender.line ??= new Line(sender), message, bytes);
    if (queue.length > 1) return;
    this.#courier?.collect(room);
    this.#turns.wake(room);
  }

  #evict(member: Tracked<Message, Data>, ending: Ending & Eviction): void {
    member.connection.evict(ending);
    this.leave(member, ending);
  }

  #now(): number {
    return this.#options.now?.() ?? performance.now();
  }

  #turn(room: Room<Message, Data>): number | null {
    const rest = room.turn(this.#now());
    this.#dropIfVacant(room);
    return rest;
  }

  #afterTurns(): void {
    this.#courier?.turn();
    this.#intake.resume();
    this.#finish();
  }
}

function part<Each>(members: Each[], tell: (member: Each) => void): Parting {
  const left = members.map((member) => ({ member, at: Math.random() }))
    .sort((a, b) => a.at - b.at).map(({ member }) => member);
  return {
    count: members.length,
    next: (count) => left.splice(0, count).forEach(tell),
  };
}
