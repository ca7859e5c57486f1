/**
 * The hub: members, one queue, one order for all.
 *
 * The hub is plain data and synchronous methods. It knows nothing of sockets, configuration, logs or
 * metrics: a transport hands it a {@link Connection} for each open client and calls
 * {@link Hub.publish} and {@link Hub.leave}; {@link HubOptions.onLeave} and its siblings tell others.
 *
 * @module
 */

import {
  type Cause,
  type Connection,
  type Encoded,
  type Eviction,
  EVICTIONS,
  type Member,
  type Membership,
} from "./hub/connection.ts";
import type { HubOptions, HubStats, ShutdownReport } from "./hub/options.ts";

export {
  type Cause,
  type Connection,
  type Encoded,
  type Ending,
  type Eviction,
  EVICTIONS,
  type Member,
  type Membership,
} from "./hub/connection.ts";
export type { HubOptions, HubStats, ShutdownReport } from "./hub/options.ts";

/**
 * Relays every message to every member, in one order for all.
 *
 * Messages that come in during one turn of the event loop are queued and leave together at its end,
 * as one batch, or as several of a bounded size, one a turn. A member whose backlog is over the
 * limit by then is evicted instead of written to, or left out until it has caught up: the others never wait for it.
 *
 * A backlog need not be its client's fault: a burst comes in faster than it can be handed on, or the
 * relay has not got round to writing. So before anybody is found slow the batch waits until no backlog
 * has shrunk for a few milliseconds and no burst is under way, but a second at most. Meanwhile the
 * burst's sender is not read from, or, where the transport cannot stop that, evicted for its `rate`
 * once it has too much waiting.
 *
 * @example
 * ```ts
 * import { Hub } from "./hub.ts";
 *
 * const hub = new Hub<string, string>({
 *   encode: (messages) => ({ all: messages, slice: (from, to) => messages.slice(from, to) }),
 *   maxMessageBytes: 1024,
 *   maxBacklogBytes: 65536,
 * });
 * const heard: string[] = [];
 * const alice = hub.join({
 *   peer: "alice",
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
export class Hub<Message, Data> implements Membership<Message, Data> {
  readonly #options: HubOptions<Message, Data>;
  readonly #members = new Set<Tracked<Data>>();
  readonly #behind = new Set<Tracked<Data>>(); // Those for whom messages are skipped.
  #queue: Queued<Message, Data>[] = [];
  #queuedBytes = 0;
  #closed: PromiseWithResolvers<void> | undefined;

  // What the judgement of slow members remembers of earlier turns.
  #backlog = 0; // Over all members.
  #burstAt = -Infinity;
  #progressAt = 0;
  #overLimitSince: number | undefined;

  #connections = 0;
  #disconnections = 0;
  #messages = 0;
  #receivedBytes = 0;
  #deliveries = 0;
  #sentBytes = 0;
  #droppedMessages = 0;
  readonly #evictions = zeroes(EVICTIONS);
  readonly #report = { closed: 0, terminated: 0 };

  /** Makes a hub without members. */
  constructor(options: HubOptions<Message, Data>) {
    this.#options = options;
  }

  /** Tells how many members there are. */
  get size(): number {
    return this.#members.size;
  }

  /**
   * Makes an open client a member. It receives everything that is published from now on, and what is
   * queued in this turn. In a hub that is closing it is told to go away like the others.
   */
  join(connection: Connection<Data>): Member {
    const member = new Tracked(connection);
    this.#members.add(member);
    this.#connections++;
    this.#options.onJoin?.(member);
    if (this.#closed && this.#queue.length === 0) connection.close("shutdown");
    return member;
  }

  /**
   * Takes in a message for all members. What comes from a member that has left, or while the hub is
   * closing, is ignored.
   *
   * @param bytes The size of the payload; for text that of its UTF-8 form.
   */
  publish(from: Member, message: Message, bytes: number): void {
    const sender = from as Tracked<Data>;
    if (this.#closed || !this.#members.has(sender)) return;
    const { maxMessageBytes } = this.#options;
    if (bytes > maxMessageBytes) return this.#evict(sender, "too_big");
    if (!this.#allows(sender)) return this.#evict(sender, "rate");
    const cost = bytes + QUEUED_MESSAGE_BYTES;
    const most = Math.max(MAX_QUEUED_BYTES, MAX_QUEUED_MESSAGES * maxMessageBytes);
    if (sender.queuedBytes + cost > most) return this.#evict(sender, "rate");
    sender.queuedBytes += cost;
    if (!sender.paused && sender.queuedBytes > MAX_BATCH_BYTES) {
      sender.paused = true;
      sender.connection.pause?.();
    }
    this.#messages++;
    this.#receivedBytes += bytes;
    this.#queuedBytes += cost;
    if (this.#queue.push({ sender, message, bytes }) === 1) setImmediate(() => this.#turn());
  }

  /**
   * Ends a membership. Every removal passes here; calls after the first do nothing, so a transport may
   * report an end as often as its platform does.
   */
  leave(left: Member, cause: Cause): void {
    const member = left as Tracked<Data>;
    if (!this.#members.delete(member)) return;
    this.#behind.delete(member);
    this.#disconnections++;
    member.connection.left?.();
    if (this.#closed) this.#report[cause === "closed" ? "closed" : "terminated"]++;
    if (cause in this.#evictions) this.#evictions[cause as Eviction]++;
    this.#options.onLeave?.(member, cause);
    if (this.#members.size === 0) this.#closed?.resolve();
  }

  /**
   * Takes in nothing more, sends what is queued, and then tells every member to go away.
   *
   * @returns A promise for the moment when the last member has left, which {@link Hub.terminate} brings about.
   */
  close(): Promise<void> {
    if (!this.#closed) {
      this.#closed = Promise.withResolvers();
      if (this.#queue.length === 0) this.#sayGoodbye();
      if (this.#members.size === 0) this.#closed.resolve();
    }
    return this.#closed.promise;
  }

  /**
   * Removes the members that have not gone away after {@link Hub.close}.
   *
   * @returns How the members left since then.
   */
  terminate(): ShutdownReport {
    for (const member of this.#members) {
      member.connection.terminate();
      this.leave(member, "terminated");
    }
    return { ...this.#report };
  }

  /** Takes a snapshot of the numbers; asks each member for its backlog. */
  stats(): HubStats {
    let backlogBytes = 0;
    let backlogBytesMax = 0;
    for (const member of this.#members) {
      const backlog = member.connection.backlog();
      backlogBytes += backlog;
      if (backlog > backlogBytesMax) backlogBytesMax = backlog;
    }
    return {
      connected: this.#members.size,
      connections: this.#connections,
      disconnections: this.#disconnections,
      messages: this.#messages,
      receivedBytes: this.#receivedBytes,
      deliveries: this.#deliveries,
      sentBytes: this.#sentBytes,
      droppedMessages: this.#droppedMessages,
      evictions: { ...this.#evictions },
      queuedMessages: this.#queue.length,
      backlogBytes,
      backlogBytesMax,
    };
  }

  /** Takes one message from what a member may send: a bucket that holds, and regains, a second's worth. */
  #allows(member: Tracked<Data>): boolean {
    const { maxMessagesPerSecond: rate = Infinity } = this.#options;
    if (rate === Infinity) return true;
    const now = performance.now();
    const regained = (now - member.allowanceAt) / 1000 * rate;
    const allowance = Math.min(Math.max(1, rate), (member.allowance ?? Infinity) + regained);
    member.allowance = allowance - 1;
    member.allowanceAt = now;
    return allowance >= 1;
  }

  /** Ends a turn of the event loop: sends a batch, unless it is better to wait a moment. */
  #turn(): void {
    const judged = this.#judge();
    if (judged) this.#send(this.#nextBatch());
    if (this.#queue.length === 0) {
      if (this.#closed) this.#sayGoodbye();
    } else if (judged) setImmediate(() => this.#turn());
    else setTimeout(() => this.#turn(), 1); // Immediates in a row would hold up the sockets.
  }

  /** Deals with the members over the limit, once it is certain that their backlogs are their own. */
  #judge(): boolean {
    const slow: Tracked<Data>[] = [];
    let backlog = 0;
    for (const member of this.#members) {
      const own = member.connection.backlog();
      backlog += own;
      if (this.#behind.size > 0 && this.#behind.has(member)) {
        if (own === 0) this.#behind.delete(member);
      } else if (own > this.#options.maxBacklogBytes) slow.push(member);
    }
    const now = performance.now();
    if (this.#queuedBytes > MAX_BATCH_BYTES) this.#burstAt = now;
    if (slow.length > 0) {
      this.#overLimitSince ??= this.#progressAt = now;
      if (backlog < this.#backlog) this.#progressAt = now;
      this.#backlog = backlog;
      const burst = now - this.#burstAt < PATIENCE_MILLISECONDS;
      const quiet = !burst && now - this.#progressAt >= QUIET_MILLISECONDS;
      if (!quiet && now - this.#overLimitSince < PATIENCE_MILLISECONDS) return false;
      for (const member of slow) {
        if (this.#options.slowClient === "drop") this.#behind.add(member);
        else this.#evict(member, "slow");
      }
    }
    this.#overLimitSince = undefined;
    this.#backlog = backlog;
    return true;
  }

  #nextBatch(): Queued<Message, Data>[] {
    const { maxBatchDeliveries = Infinity } = this.#options;
    const most = Math.max(1, Math.floor(maxBatchDeliveries / this.#members.size));
    let count = 0;
    for (let bytes = 0; count < this.#queue.length && count < most; count++) {
      bytes += this.#queue[count].bytes;
      if (bytes > MAX_BATCH_BYTES && count > 0) break;
    }
    return this.#queue.splice(0, count);
  }

  #send(queued: Queued<Message, Data>[]): void {
    const started = performance.now();
    let bytes = 0;
    for (const { sender, bytes: own } of queued) {
      bytes += own;
      this.#queuedBytes -= own + QUEUED_MESSAGE_BYTES;
      sender.queuedBytes -= own + QUEUED_MESSAGE_BYTES;
      if (sender.paused && sender.queuedBytes <= MAX_BATCH_BYTES) {
        sender.paused = false;
        sender.connection.resume?.();
      }
    }
    const encoded = this.#options.encode(queued.map(({ message }) => message));
    if (this.#behind.size === 0 && this.#options.echo !== false) {
      for (const data of encoded.all) {
        for (const member of this.#members) member.connection.write(data);
      }
      this.#count(this.#members.size * queued.length, this.#members.size * bytes);
    } else this.#sendSome(queued, bytes, encoded);
    this.#options.onBatch?.((performance.now() - started) / 1000);
  }

  /** Sends a batch without what some members are not to have: their own messages, or any while they are behind. */
  #sendSome(queued: Queued<Message, Data>[], bytes: number, encoded: Encoded<Data>): void {
    const own = new Map<Tracked<Data>, number[]>();
    if (this.#options.echo === false) {
      queued.forEach(({ sender }, at) => {
        const places = own.get(sender);
        if (places) places.push(at);
        else own.set(sender, [at]);
      });
    }
    for (const member of this.#members) {
      const without = own.get(member) ?? [];
      const messages = queued.length - without.length;
      if (this.#behind.has(member)) {
        this.#droppedMessages += messages;
        continue;
      }
      let from = 0;
      for (const at of [...without, queued.length]) {
        if (at > from) {
          for (const data of encoded.slice(from, at)) member.connection.write(data);
        }
        from = at + 1;
      }
      this.#count(messages, without.reduce((sum, at) => sum - queued[at].bytes, bytes));
    }
  }

  #count(deliveries: number, bytes: number): void {
    this.#deliveries += deliveries;
    this.#sentBytes += bytes;
    this.#backlog += bytes;
  }

  #sayGoodbye(): void {
    for (const member of this.#members) member.connection.close("shutdown");
  }

  #evict(member: Tracked<Data>, reason: "slow" | "rate" | "too_big"): void {
    member.connection.evict(reason);
    this.leave(member, reason);
  }
}

/** How much a batch may hold; a single message may be larger. */
const MAX_BATCH_BYTES = 256 * 1024;

/** How much a sender may have waiting before it is evicted: so much, or so many of the largest messages. */
const MAX_QUEUED_BYTES = 4 * 1024 * 1024, MAX_QUEUED_MESSAGES = 16;

/** What a message costs while it waits, on top of its payload: many empty ones are much, too. */
const QUEUED_MESSAGE_BYTES = 64;

/** After so long without any backlog shrinking, those that remain are the clients' own. */
const QUIET_MILLISECONDS = 4;

/** How long a batch waits at most for members over the limit, while backlogs shrink or a burst lasts. */
const PATIENCE_MILLISECONDS = 1000;

/** A member with what the hub keeps of it. */
class Tracked<Data> implements Member {
  /** How many bytes its messages take up that wait for their turn to be sent. */
  queuedBytes = 0;
  /** Whether its transport was told to stop reading from it. */
  paused = false;
  /** How many messages it might send at once when it sent the last one, where that is limited. */
  allowance: number | undefined;
  /** When that was, in milliseconds. */
  allowanceAt = 0;

  constructor(readonly connection: Connection<Data>) {}

  get peer(): string {
    return this.connection.peer;
  }
}

interface Queued<Message, Data> {
  readonly sender: Tracked<Data>;
  readonly message: Message;
  readonly bytes: number;
}

function zeroes<Key extends string>(keys: readonly Key[]): Record<Key, number> {
  return Object.fromEntries(keys.map((key) => [key, 0])) as Record<Key, number>;
}
