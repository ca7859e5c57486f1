/**
 * The options of a hub, and the numbers that it shows.
 *
 * @module
 */

import type { Cause, Encoded, Eviction, Member } from "./connection.ts";
import type { Retention } from "./history.ts";
import type { Frames, Order } from "./order.ts";

/** How messages travel where several relays share one order. */
export interface SharedOrder<Message, Data> {
  /** What decides the order. */
  readonly order: Order;
  /** Turns messages into frames for all relays. */
  pack(messages: readonly Message[]): Frames;
  /** Turns frames into what connections are given to write. */
  unpack(frames: Frames): Encoded<Data>;
}

/** The options of a hub. Sizes are in bytes. */
export interface HubOptions<Message, Data> {
  /** Turns the messages of one batch into what connections are given to write. */
  encode(messages: Message[]): Encoded<Data>;
  /** The order that this hub shares with others. Default: it decides the order itself. */
  shared?: SharedOrder<Message, Data>;
  /** Whether a sender receives its own messages. Default: true. */
  echo?: boolean;
  /** How many deliveries one batch may come to, so that one turn is never long. Default: no limit. */
  maxBatchDeliveries?: number;
  /** The largest message taken in; a member that sends a larger one is evicted as `too_big`. */
  maxMessageBytes: number;
  /**
   * The unsent bytes over which a member is slow, checked before each batch: those in its socket, and
   * those in the log that it has yet to be given. Each message counts 64 bytes more than its payload
   * while it is in the log.
   */
  maxBacklogBytes: number;
  /**
   * What happens to a slow member: it is evicted, or it is put at the head of the log, so that it
   * misses everything up to there. Default: `disconnect`.
   */
  slowClient?: "disconnect" | "drop";
  /**
   * How many messages a second a member may send, and how many at once after a quiet second; one that
   * sends more is evicted for its `rate`. Default: no limit.
   */
  maxMessagesPerSecond?: number;
  /** How much of the past is kept for those who ask for it, over all rooms together. Default: nothing. */
  history?: Retention;
  /** How many rooms there may be; rooms in which nobody is are forgotten for others. Default: no limit. */
  maxRooms?: number;
  /** Tells the time in milliseconds. Default: `performance.now`. */
  now?(): number;
  /** Called after a member has joined. */
  onJoin?(member: Member): void;
  /** Called after a member has left, once for each. */
  onLeave?(member: Member, cause: Cause): void;
  /** Called after a batch was handed to all members, with the time that took. */
  onBatch?(seconds: number): void;
}

/** A snapshot of a hub's numbers. All but `connected`, the rooms, the history, the queue and the backlog only ever grow. */
export interface HubStats {
  /** Members now; always `connections - disconnections`. */
  connected: number;
  /** Rooms that there are now. */
  rooms: number;
  /** Members that joined. */
  connections: number;
  /** Members that left, each once. */
  disconnections: number;
  /** Messages taken in. */
  messages: number;
  /** How many of them came from others than members. */
  postedMessages: number;
  /** Their payload bytes. */
  receivedBytes: number;
  /** Messages handed to a connection. */
  deliveries: number;
  /** Their payload bytes. */
  sentBytes: number;
  /** Messages that were skipped for slow members. */
  droppedMessages: number;
  /** Messages of the history that were handed to a connection; they are among the deliveries. */
  replayedMessages: number;
  /** Bytes of the history. */
  historyBytes: number;
  /** Members that the relay removed, by reason. */
  evictions: Record<Eviction, number>;
  /** Messages that wait for their turn to be sent. */
  queuedMessages: number;
  /** Unsent bytes over all members. */
  backlogBytes: number;
  /** The largest backlog of one member. */
  backlogBytesMax: number;
}

/** How a shutdown went for the clients that were connected when their turn came. */
export interface ShutdownReport {
  /** How many closed the connection when they were told to. */
  readonly closed: number;
  /** How many did not, or failed on the way. */
  readonly terminated: number;
}
