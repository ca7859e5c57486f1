/**
 * Who is connected, what is queued for them, and the numbers.
 *
 * The hub is plain data and synchronous methods. It knows nothing of sockets, configuration, logs or
 * metrics: a transport hands it a {@link Connection} for each open client and calls
 * {@link Hub.publish} and {@link Hub.leave}; whoever wants to watch passes {@link HubOptions.onLeave}
 * and its siblings.
 *
 * @module
 */

/** Lists the reasons for which the relay removes a member; the label values of `websocket_evictions_total`. */
export const EVICTIONS = ["slow", "rate", "too_big", "idle", "error"] as const;

/** Names one reason for which the relay removes a member. */
export type Eviction = typeof EVICTIONS[number];

/** Lists the reasons for which a request may not join; the label values of `websocket_rejected_connections_total`. */
export const REJECTIONS = [
  "origin",
  "token",
  "full",
  "per_ip",
  "draining",
  "bad_request",
] as const;

/** Names one reason for which a request may not join. */
export type Rejection = typeof REJECTIONS[number];

/**
 * Says why a member left: it closed the connection with a close frame, the relay evicted it, or it was
 * still there when the time for a shutdown was over.
 */
export type Cause = "closed" | Eviction | "dropped";

/** Holds the code and the reason of a close frame (RFC 6455 §5.5.1, §7.4.1). */
export interface Close {
  /** The status code. */
  readonly code: number;
  /** The reason: constant text, so that it never exceeds 123 bytes or repeats what a client sent. */
  readonly reason: string;
}

/** Lists every close frame that the relay sends of its own accord. */
export const CLOSE = {
  shutdown: { code: 1001, reason: "server shutting down" },
  slow: { code: 1008, reason: "slow consumer" },
  rate: { code: 1008, reason: "message rate exceeded" },
  too_big: { code: 1009, reason: "message too big" },
} as const satisfies Record<string, Close>;

/** What a transport hands over for one open client. No method waits, and none may call back into the hub. */
export interface Connection<Data> {
  /** The other end as the logs name it, for example `192.0.2.7:51034`. */
  readonly peer: string;
  /** Tells how many bytes the relay still holds for this client. */
  backlog(): number;
  /** Queues data for sending. */
  write(data: Data): void;
  /** Starts to end the connection with a close frame, behind everything that was written before. */
  close(close: Close): void;
  /** Ends the connection as soon as the transport can; the close frame arrives if nothing is in its way. */
  evict(close: Close): void;
  /** Ends the connection at once, without a word, where the transport can. */
  terminate(): void;
  /** Stops reading from the client, whose messages come faster than they can be passed on. */
  pause?(): void;
  /** Reads from the client again. */
  resume?(): void;
  /** Is told, once, that the client is no member any more. */
  left?(): void;
}

/** The messages of one batch as a transport writes them. */
export interface Encoded<Data> {
  /** What a connection is given to write, in order, for all messages. */
  readonly all: readonly Data[];
  /** The same for the messages from index `from` up to, but without, `to`. */
  slice(from: number, to: number): readonly Data[];
}

/** One connected client inside the hub, as {@link Hub.join} returned it. */
export class Member<Data> {
  /** How many bytes its messages take up that wait for their turn to be sent. */
  queuedBytes = 0;
  /** Whether its transport was told to stop reading from it. */
  paused = false;
  /** How many messages it might send at once when it sent the last one, where that is limited. */
  allowance: number | undefined;
  /** When that was, in milliseconds. */
  allowanceAt = 0;

  /** Made by the hub. */
  constructor(
    /** Its transport's side. */
    readonly connection: Connection<Data>,
  ) {}
}

/** What a {@link Hub} is made with. Sizes are in bytes. */
export interface HubOptions<Message, Data> {
  /** Turns the messages of one batch into what connections are given to write. */
  encode(messages: Message[]): Encoded<Data>;
  /** Whether a sender receives its own messages. Default: true. */
  echo?: boolean;
  /** How many deliveries one batch may come to, so that one turn is never long. Default: no limit. */
  maxBatchDeliveries?: number;
  /** The largest message taken in; a member that sends a larger one is evicted as `too_big`. */
  maxMessageBytes: number;
  /** The backlog over which a member is slow, checked before each batch. */
  maxBacklogBytes: number;
  /**
   * What happens to a slow member: it is evicted, or messages are skipped for it until nothing of its
   * backlog is left. Default: `disconnect`.
   */
  slowClient?: "disconnect" | "drop";
  /**
   * How many messages a second a member may send, and how many at once after a quiet second; one that
   * sends more is evicted for its `rate`. Default: no limit.
   */
  maxMessagesPerSecond?: number;
  /** Called after a member has joined. */
  onJoin?(member: Member<Data>): void;
  /** Called after a member has left, once for each. */
  onLeave?(member: Member<Data>, cause: Cause): void;
  /** Called after a batch was handed to all members, with the time that took. */
  onBatch?(seconds: number): void;
}

/** A snapshot of a hub's numbers. All but `connected` and the backlog only ever grow. */
export interface HubStats {
  /** Members now; always `connections - disconnections`. */
  connected: number;
  /** Members that joined. */
  connections: number;
  /** Members that left, each once. */
  disconnections: number;
  /** Messages taken in. */
  messages: number;
  /** Their payload bytes. */
  receivedBytes: number;
  /** Messages handed to a connection. */
  deliveries: number;
  /** Their payload bytes. */
  sentBytes: number;
  /** Messages that were skipped for slow members. */
  droppedMessages: number;
  /** Members that the relay removed, by reason. */
  evictions: Record<Eviction, number>;
  /** Requests that were not allowed to join, by reason. */
  rejections: Record<Rejection, number>;
  /** Unsent bytes over all members. */
  backlogBytes: number;
  /** The largest backlog of one member. */
  backlogBytesMax: number;
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

interface Queued<Message, Data> {
  readonly sender: Member<Data>;
  readonly message: Message;
  readonly bytes: number;
}

/**
 * Relays every message to every member, in one order for all.
 *
 * Messages that come in during one turn of the event loop are queued and leave together at its end,
 * as one batch, or as several of a bounded size, one a turn. A member whose backlog is over the
 * limit by then is evicted instead of written to, or left out until it has caught up: nobody waits for it.
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
export class Hub<Message, Data> {
  readonly #options: HubOptions<Message, Data>;
  readonly #members = new Set<Member<Data>>();
  readonly #behind = new Set<Member<Data>>(); // Those for whom messages are skipped.
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
  readonly #rejections = zeroes(REJECTIONS);

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
  join(connection: Connection<Data>): Member<Data> {
    const member = new Member(connection);
    this.#members.add(member);
    this.#connections++;
    this.#options.onJoin?.(member);
    if (this.#closed && this.#queue.length === 0) connection.close(CLOSE.shutdown);
    return member;
  }

  /**
   * Takes in a message for all members. What comes from a member that has left, or while the hub is
   * closing, is ignored.
   *
   * @param bytes The size of the payload; for text that of its UTF-8 form.
   */
  publish(sender: Member<Data>, message: Message, bytes: number): void {
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
  leave(member: Member<Data>, cause: Cause): void {
    if (!this.#members.delete(member)) return;
    this.#behind.delete(member);
    this.#disconnections++;
    member.connection.left?.();
    if (cause in this.#evictions) this.#evictions[cause as Eviction]++;
    this.#options.onLeave?.(member, cause);
    if (this.#members.size === 0) this.#closed?.resolve();
  }

  /** Counts a request that was not allowed to join. */
  reject(reason: Rejection): void {
    this.#rejections[reason]++;
  }

  /**
   * Takes in nothing more, sends what is queued, and then tells every member to go away.
   *
   * @returns A promise for the moment when the last member has left, which {@link Hub.drop} brings about.
   */
  close(): Promise<void> {
    if (!this.#closed) {
      this.#closed = Promise.withResolvers();
      if (this.#queue.length === 0) this.#sayGoodbye();
      if (this.#members.size === 0) this.#closed.resolve();
    }
    return this.#closed.promise;
  }

  /** Removes the members that have not gone away after {@link Hub.close}. */
  drop(): void {
    for (const member of this.#members) {
      member.connection.terminate();
      this.leave(member, "dropped");
    }
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
      rejections: { ...this.#rejections },
      backlogBytes,
      backlogBytesMax,
    };
  }

  /** Takes one message from what a member may send: a bucket that holds, and regains, a second's worth. */
  #allows(member: Member<Data>): boolean {
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
    const slow: Member<Data>[] = [];
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
    const own = new Map<Member<Data>, number[]>();
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
    for (const member of this.#members) member.connection.close(CLOSE.shutdown);
  }

  #evict(member: Member<Data>, reason: "slow" | "rate" | "too_big"): void {
    member.connection.evict(CLOSE[reason]);
    this.leave(member, reason);
  }
}

function zeroes<Key extends string>(keys: readonly Key[]): Record<Key, number> {
  return Object.fromEntries(keys.map((key) => [key, 0])) as Record<Key, number>;
}
