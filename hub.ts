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
export const EVICTIONS = ["slow", "too_big", "idle", "error"] as const;

/** Names one reason for which the relay removes a member. */
export type Eviction = typeof EVICTIONS[number];

/** Lists the reasons for which a request may not join; the label values of `websocket_rejected_connections_total`. */
export const REJECTIONS = ["full", "draining", "bad_request"] as const;

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
  too_big: { code: 1009, reason: "message too big" },
} as const satisfies Record<string, Close>;

/** What a transport hands over for one open client. No method waits, and none may call back into the hub. */
export interface Connection<Batch> {
  /** The other end as the logs name it, for example `192.0.2.7:51034`. */
  readonly peer: string;
  /** Tells how many bytes the relay still holds for this client. */
  backlog(): number;
  /** Queues a batch for sending. */
  write(batch: Batch): void;
  /** Starts to end the connection with a close frame, behind everything that was written before. */
  close(close: Close): void;
}

/** One connected client inside the hub, as {@link Hub.join} returned it. */
export interface Member<Batch> {
  /** Its transport's side. */
  readonly connection: Connection<Batch>;
}

/** What a {@link Hub} is made with. Sizes are in bytes. */
export interface HubOptions<Message, Batch> {
  /** Turns the messages of one turn into what every connection is given to write. Called once a batch. */
  encode(messages: Message[]): Batch;
  /** The largest message taken in; a member that sends a larger one is evicted as `too_big`. */
  maxMessageBytes: number;
  /** The backlog over which a member is evicted as `slow`, checked before each batch. */
  maxBacklogBytes: number;
  /** Called after a member has joined. */
  onJoin?(member: Member<Batch>): void;
  /** Called after a member has left, once for each. */
  onLeave?(member: Member<Batch>, cause: Cause): void;
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
  /** Members that the relay removed, by reason. */
  evictions: Record<Eviction, number>;
  /** Requests that were not allowed to join, by reason. */
  rejections: Record<Rejection, number>;
  /** Unsent bytes over all members. */
  backlogBytes: number;
  /** The largest backlog of one member. */
  backlogBytesMax: number;
}

/**
 * Relays every message to every member, in one order for all.
 *
 * Messages that come in during one turn of the event loop are queued and leave together, as one
 * batch, at the end of that turn. A member whose backlog is over the limit by then is evicted
 * instead, without waiting for it: the others never notice.
 *
 * @example
 * ```ts
 * import { Hub } from "./hub.ts";
 *
 * const hub = new Hub<string, string[]>({
 *   encode: (messages) => messages,
 *   maxMessageBytes: 1024,
 *   maxBacklogBytes: 65536,
 * });
 * const heard: string[] = [];
 * const alice = hub.join({
 *   peer: "alice",
 *   backlog: () => 0,
 *   write: (batch) => heard.push(...batch),
 *   close: () => {},
 * });
 * hub.publish(alice, "hello", 5);
 * await hub.close();
 * if (heard.join() !== "hello") throw new Error("not relayed");
 * ```
 */
export class Hub<Message, Batch> {
  readonly #options: HubOptions<Message, Batch>;
  readonly #members = new Set<Member<Batch>>();
  #queue: Message[] = [];
  #queueBytes = 0;
  #closed: PromiseWithResolvers<void> | undefined;

  #connections = 0;
  #disconnections = 0;
  #messages = 0;
  #receivedBytes = 0;
  #deliveries = 0;
  #sentBytes = 0;
  readonly #evictions = zeroes(EVICTIONS);
  readonly #rejections = zeroes(REJECTIONS);

  /** Makes a hub without members. */
  constructor(options: HubOptions<Message, Batch>) {
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
  join(connection: Connection<Batch>): Member<Batch> {
    const member = { connection };
    this.#members.add(member);
    this.#connections++;
    this.#options.onJoin?.(member);
    if (this.#closed) connection.close(CLOSE.shutdown);
    return member;
  }

  /**
   * Takes in a message for all members, the sender included. What comes from a member that has left,
   * or while the hub is closing, is ignored.
   *
   * @param bytes The size of the payload; for text that of its UTF-8 form.
   */
  publish(sender: Member<Batch>, message: Message, bytes: number): void {
    if (this.#closed || !this.#members.has(sender)) return;
    if (bytes > this.#options.maxMessageBytes) {
      return this.#evict(sender, "too_big");
    }
    this.#messages++;
    this.#receivedBytes += bytes;
    this.#queueBytes += bytes;
    if (this.#queue.push(message) === 1) setImmediate(() => this.#flush());
  }

  /**
   * Ends a membership. Every removal passes here; calls after the first do nothing, so a transport may
   * report an end as often as its platform does.
   */
  leave(member: Member<Batch>, cause: Cause): void {
    if (!this.#members.delete(member)) return;
    this.#disconnections++;
    if (cause in this.#evictions) this.#evictions[cause as Eviction]++;
    this.#options.onLeave?.(member, cause);
    if (this.#members.size === 0) this.#closed?.resolve();
  }

  /** Counts a request that was not allowed to join. */
  reject(reason: Rejection): void {
    this.#rejections[reason]++;
  }

  /**
   * Sends what is queued, then tells every member to go away.
   *
   * @returns A promise for the moment when the last member has left, which {@link Hub.drop} brings about.
   */
  close(): Promise<void> {
    if (!this.#closed) {
      this.#flush();
      this.#closed = Promise.withResolvers();
      for (const member of this.#members) {
        member.connection.close(CLOSE.shutdown);
      }
      if (this.#members.size === 0) this.#closed.resolve();
    }
    return this.#closed.promise;
  }

  /** Removes the members that have not gone away after {@link Hub.close}. */
  drop(): void {
    for (const member of this.#members) this.leave(member, "dropped");
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
      evictions: { ...this.#evictions },
      rejections: { ...this.#rejections },
      backlogBytes,
      backlogBytesMax,
    };
  }

  #flush(): void {
    if (this.#queue.length === 0) return;
    const { encode, maxBacklogBytes, onBatch } = this.#options;
    const started = performance.now();
    const count = this.#queue.length;
    const bytes = this.#queueBytes;
    const batch = encode(this.#queue);
    this.#queue = [];
    this.#queueBytes = 0;

    let receivers = 0;
    for (const member of this.#members) {
      const { connection } = member;
      if (connection.backlog() > maxBacklogBytes) {
        this.#evict(member, "slow");
        continue;
      }
      connection.write(batch);
      receivers++;
    }
    this.#deliveries += receivers * count;
    this.#sentBytes += receivers * bytes;
    onBatch?.((performance.now() - started) / 1000);
  }

  #evict(member: Member<Batch>, reason: "slow" | "too_big"): void {
    member.connection.close(CLOSE[reason]);
    this.leave(member, reason);
  }
}

function zeroes<Key extends string>(keys: readonly Key[]): Record<Key, number> {
  return Object.fromEntries(keys.map((key) => [key, 0])) as Record<Key, number>;
}
