/**
 * The options of a hub, and its statistics.
 *
 * @module
 */

import type { Cause, Encoded, Eviction, Member } from "./connection.ts";
import type { Retention } from "./history.ts";
import type { Frames, Order } from "./order.ts";

/** An order that several relays share, and the form that messages have in it. */
export interface SharedOrder<Message, Data> {
  /** The service that decides the order. */
  readonly order: Order;
  /** Encodes messages as frames for all relays. */
  pack(messages: readonly Message[]): Frames;
  /** Turns frames into the form that connections write. */
  unpack(frames: Frames): Encoded<Data>;
}

/** The options of a hub. Sizes are in bytes. */
export interface HubOptions<Message, Data> {
  /** Encodes the messages of one batch in the form that connections write. */
  encode(messages: Message[]): Encoded<Data>;
  /** The order that this hub shares with others. Default: the hub decides the order itself. */
  shared?: SharedOrder<Message, Data>;
  /** Whether a sender receives its own messages. Default: true. */
  echo?: boolean;
  /** The most deliveries for one batch, so that no turn takes long. Default: no limit. */
  maxBatchDeliveries?: number;
  /** The size of the largest message. A member that sends a larger one is evicted as `too_big`. */
  maxMessageBytes: number;
  /**
   * The backlog over which a member is slow, checked before each batch. The backlog consists of the bytes
   * in the member's socket and of those in the log that it has yet to be given. A message in the log
   * counts for 64 bytes more than its payload.
   */
  maxBacklogBytes: number;
  /**
   * What happens to a slow member: `disconnect` evicts it; `drop` moves it to the head of the log, so that
   * it misses everything up to there. Default: `disconnect`.
   */
  slowClient?: "disconnect" | "drop";
  /**
   * How many messages per second a member may send, and how many at once after a quiet second. A member
   * that sends more is evicted with the cause `rate`. Default: no limit.
   */
  maxMessagesPerSecond?: number;
  /** The bounds of the history, over all rooms together. Default: no history. */
  history?: Retention;
  /** The number of rooms over which the oldest history makes way for new rooms. Default: no limit. */
  maxRooms?: number;
  /** Tells the time in milliseconds. Default: `performance.now`. */
  now?(): number;
  /** Called after a member has joined. */
  onJoin?(member: Member): void;
  /** Called once for each member, after it has left. */
  onLeave?(member: Member, cause: Cause): void;
  /** Called after a batch was handed to all members, with the time that it took. */
  onBatch?(seconds: number): void;
}

/**
 * A snapshot of a hub's numbers. `connected`, `rooms`, `historyBytes`, `queuedMessages` and the backlogs
 * are current values. The others only ever grow.
 */
export interface HubStats {
  /** Current members; always `connections - disconnections`. */
  connected: number;
  /** Current rooms. */
  rooms: number;
  /** Members that joined. */
  connections: number;
  /** Members that left, each counted once. */
  disconnections: number;
  /** Accepted messages. */
  messages: number;
  /** Accepted messages from senders that were not members. */
  postedMessages: number;
  /** Payload bytes of accepted messages. */
  receivedBytes: number;
  /** Messages handed to a connection. */
  deliveries: number;
  /** Payload bytes of these deliveries. */
  sentBytes: number;
  /** Messages that were skipped for slow members. */
  droppedMessages: number;
  /** Messages of the history that were handed to a connection; deliveries include them. */
  replayedMessages: number;
  /** Size of the history in bytes. */
  historyBytes: number;
  /** Members that the relay removed, by cause. */
  evictions: Record<Eviction, number>;
  /** Messages that are waiting to be sent. */
  queuedMessages: number;
  /** Unsent bytes over all members. */
  backlogBytes: number;
  /** The largest backlog of one member. */
  backlogBytesMax: number;
}

/** How a shutdown went for the clients that were still connected. */
export interface ShutdownReport {
  /** How many completed the closing handshake. */
  readonly closed: number;
  /** How many did not. */
  readonly terminated: number;
}
