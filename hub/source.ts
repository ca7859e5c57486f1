/**
 * The contract between a room and what puts its messages in order.
 *
 * @module
 */

import type { Entry } from "./log.ts";
import type { Author } from "./author.ts";
import type { BatchBounds, Queue } from "./queue.ts";

/** Where the batches of a room come from. */
export interface Source<Message, Data> {
  /** What the members have sent, until it is put in order. */
  readonly queue: Queue<Message, Author<Message, Data>>;
  /** The number of messages that are yet to be delivered, wherever they are. */
  readonly waiting: number;
  /** Whether there is something to deliver now. */
  readonly ready: boolean;
  /** Whether so much is here that it must not wait for anybody. */
  readonly pressing: boolean;
  /** Tells whether what is here had better wait a moment for more; `at` is a clock's milliseconds. */
  mayWait(at: number): boolean;
  /** Marks the members that flood the room at a time of its pace, and tells whether one has done so of late. */
  findFlood(now: number): boolean;
  /** Takes the next batch; `at` is a clock's milliseconds. */
  take(bounds: BatchBounds, at: number): Entry<Data>;
  /** Takes a batch of those who do not flood, at a time of the room's pace; `null` if there is none. */
  takeOthers(bounds: BatchBounds, at: number, now: number): Entry<Data> | null;
  /** Is told how long the delivery of a batch took. */
  delivered(milliseconds: number): void;
}

/** What several rooms hold together. */
export interface Sum {
  /** The memory that it takes up. */
  bytes: number;
}

/** The numbers that rooms count together. They only ever grow. */
export interface Tally {
  messages: number;
  receivedBytes: number;
  deliveries: number;
  sentBytes: number;
  droppedMessages: number;
  replayedMessages: number;
}
