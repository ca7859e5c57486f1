/**
 * The contract between a room and the source of its batches.
 *
 * @module
 */

import type { Entry } from "./log.ts";
import type { Author } from "./author.ts";
import type { BatchBounds, Queue } from "./queue.ts";

/**
 * Puts the messages of a room in order and makes batches of them.
 *
 * Times are in milliseconds: `at` by the clock, `now` by the pace of the room (`Pace.now`).
 */
export interface Source<Message, Data> {
  /** The messages that wait for their place in the order. */
  readonly queue: Queue<Message, Author<Message, Data>>;
  /** The number of messages that are yet to be delivered, wherever they are. */
  readonly waiting: number;
  /** Whether there is something to deliver now. */
  readonly ready: boolean;
  /** Whether so much has arrived that its delivery must not wait for slow members. */
  readonly pressing: boolean;
  /** Tells whether the delivery should wait a moment for more messages. */
  mayWait(at: number): boolean;
  /** Marks the senders that flood the room, and tells whether there was a flood recently. */
  findFlood(now: number): boolean;
  /** Takes the next batch. */
  take(bounds: BatchBounds, at: number): Entry<Data>;
  /** Takes a batch from senders that do not flood; `null` if there is none. */
  takeOthers(bounds: BatchBounds, at: number, now: number): Entry<Data> | null;
  /** Called after each delivery, with the time that it took. */
  delivered(milliseconds: number): void;
}

/** A total over several rooms. */
export interface Sum {
  /** The size in memory, in bytes. */
  bytes: number;
}

/** The counters that all rooms share. They only ever grow. */
export interface Tally {
  messages: number;
  receivedBytes: number;
  deliveries: number;
  sentBytes: number;
  droppedMessages: number;
  replayedMessages: number;
}
