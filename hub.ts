/**
 * The hub relays messages within rooms. Each room has one order, and no slow member holds up the others.
 *
 * The hub consists of plain data and synchronous methods. It does not depend on sockets, configuration,
 * logs or metrics. A transport hands it a {@link Connection} for each open client and calls
 * {@link Hub.publish} and {@link Hub.leave}. Callbacks such as {@link HubOptions.onLeave} report events.
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

/** Members that are disconnected a few at a time, so that they do not all reconnect at once. */
export interface Parting {
  /** The number of members. */
  readonly count: number;
  /** Disconnects the next `count` members, in random order. */
  next(count: number): void;
}

/**
 * Relays every message to every member of the sender's room, in one order for all of them.
 *
 * A room exists while it has members or history. Messages that arrive during one turn of the event loop
 * are queued and sent together at its end, as one batch or as several of a bounded size, one per turn. A
 * member that cannot keep up is fed at its own pace and evicted once it is too far behind. The others do
 * not wait for it. If too many messages of one sender are waiting, the hub pauses reading from it, or
 * evicts it where the transport cannot pause. Rooms share nothing but the memory for waiting messages.
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

  /** Creates a hub without members. */
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
      isAlone: () => this.#rooms.size <= 1,
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

  /** Whether the shared order responds. While it does not, accepted messages stay in the queue. */
  orderAnswers = true;

  /** The number of members. */
  get size(): number {
    return this.#connections - this.#disconnections;
  }

  /**
   * Makes an open client a member of its room. It receives the history that it asked for, the messages
   * that are already queued, and everything that is published in the room from now on. A hub that is
   * closing disconnects it along with the others.
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
   * Accepts a message for all members of the sender's room. Messages from a member that has left are
   * ignored, and so are all messages while the hub is closing.
   *
   * @param bytes The size of the payload; for text, the size in UTF-8.
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
   * Accepts a message from a sender that is not a member. The caller must have refused messages that are
   * too large.
   *
   * @returns A promise for the outcome, which resolves once it is known.
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

  /** Accepts the next batch of the shared order and delivers it like one of the hub's own. */
  deliver(batch: Batch, own: boolean, ageMilliseconds: number): void {
    this.#courier!.arrive(batch, own, this.#now() - ageMilliseconds);
  }

  /**
   * Ends all memberships at once and discards the history, because there would be a gap before whatever
   * follows. The connections receive nothing more. {@link Parting.next} ends them.
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

  /** Discards the batch that is on its way to the shared order, and all messages queued behind it. */
  giveUp(): void {
    this.#courier!.giveUp();
    for (const room of this.#rooms.values()) {
      const { queue } = room.source;
      for (const line of [...queue.lines]) queue.drop(line);
      this.#dropIfVacant(room);
    }
  }

  /**
   * Prepares to disconnect all members gradually before {@link Hub.close}. Members that have not been
   * disconnected yet are served as usual.
   */
  dismiss(): Parting {
    return part([...this.#members()], (member) => member.room.dismiss(member));
  }

  /**
   * Evicts members whose admission has expired and discards history that is too old. The caller has to
   * call this periodically.
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
   * Ends a membership. Every removal goes through here. Calls after the first do nothing, so a transport
   * may report an end as often as its platform does.
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
   * Stops accepting messages, sends those that are queued, and then starts to close every connection.
   *
   * @returns A promise that resolves when the last member has left and all accepted messages have their
   * places in the order. It does not wait for places while the shared order does not respond.
   * {@link Hub.terminate} removes members that stay.
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
   * Removes the members that are still connected after {@link Hub.close}.
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

  /** Takes a snapshot of the numbers, which reads the backlog of each member. */
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

  /** Resolves the promise of {@link Hub.close} if no members and no waiting messages are left. */
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
