/**
 * The queue of a room: messages that wait for their place in the order.
 *
 * Each sender has a line of its own. The lines are served in turn, so one sender's flood does not keep
 * the others waiting. The messages of one sender stay in order.
 *
 * @module
 */

import type { Sum } from "./source.ts";

/** The bytes of memory that a message takes up besides its payload, so that empty messages count, too. */
export const MESSAGE_BYTES = 64;

/** The bytes that are taken from one line before it is the next line's turn. */
export const QUANTUM_BYTES = 16 * 1024;

/** A sender with more than this waiting floods, unless only a few large messages are waiting. */
export const FLOOD_BYTES = 256 * 1024;

/** The number of waiting messages, from all senders, from which on they are more than a few. */
export const FLOOD_MESSAGES = 4;

/** A waiting message. */
export interface Queued<Message, Sender> {
  /** The member that sent it. */
  readonly sender: Sender;
  /** The message. */
  readonly message: Message;
  /** The size of its payload. */
  readonly bytes: number;
  /** Its number in the order of arrival. */
  readonly arrival: number;
}

/** The waiting messages of one sender. */
export class Line<Message, Sender> {
  /** Their size in memory, in bytes. */
  bytes = 0;
  #messages: Queued<Message, Sender>[] = [];
  #taken = 0; // The number of taken messages at the front: shifting a long array is slow.

  /** Creates an empty line. */
  constructor(
    /** The member whose messages it holds. */
    readonly sender: Sender,
  ) {}

  /** The number of waiting messages. */
  get length(): number {
    return this.#messages.length - this.#taken;
  }

  /** The first message. */
  get first(): Queued<Message, Sender> {
    return this.#messages[this.#taken];
  }

  /** Adds a message at the end. */
  push(queued: Queued<Message, Sender>): void {
    this.#messages.push(queued);
    this.bytes += costOf(queued);
  }

  /** Takes the first message. */
  shift(): Queued<Message, Sender> {
    const queued = this.first;
    this.bytes -= costOf(queued);
    if (++this.#taken === this.#messages.length) this.clear();
    return queued;
  }

  /** Discards all messages. */
  clear(): void {
    this.#messages = [];
    this.#taken = this.bytes = 0;
  }
}

/** The bounds of a batch. A single message may be larger. */
export interface BatchBounds {
  /** The size in bytes, including {@link MESSAGE_BYTES} for each message. */
  readonly bytes: number;
  /** The number of messages. */
  readonly messages: number;
}

/** The lines of all senders that have messages waiting. */
export class Queue<Message, Sender> {
  /** The number of waiting messages. */
  length = 0;
  /** Their size in memory, in bytes. */
  bytes = 0;
  readonly #sum: Sum;
  #arrivals = 0;
  #lines: Line<Message, Sender>[] = []; // In the order in which they are served.

  /** Creates an empty queue whose bytes are also added to `sum`. */
  constructor(sum: Sum = { bytes: 0 }) {
    this.#sum = sum;
  }

  /** The message that {@link Queue.take} takes first. */
  get first(): Queued<Message, Sender> | undefined {
    return this.#lines[0]?.first;
  }

  /** The lines that hold messages. */
  get lines(): Iterable<Line<Message, Sender>> {
    return this.#lines;
  }

  /** Adds a message to its sender's line. */
  push(line: Line<Message, Sender>, message: Message, bytes: number): void {
    line.push({ sender: line.sender, message, bytes, arrival: this.#arrivals++ });
    this.#count(1, bytes + MESSAGE_BYTES);
    if (line.length === 1) this.#lines.push(line);
  }

  /**
   * Takes the next batch from the lines in turn.
   *
   * @param waits Tells whether a line has to wait. Default: none has to.
   * @returns The messages in the order in which they arrived.
   */
  take(
    bounds: BatchBounds,
    waits?: (line: Line<Message, Sender>) => boolean,
  ): Queued<Message, Sender>[] {
    if (!waits) return this.#take(this.#lines, bounds);
    const waiting = this.#lines.filter(waits);
    const others = this.#lines.filter((line) => !waits(line));
    const batch = this.#take(others, bounds);
    this.#lines = [...others, ...waiting];
    return batch;
  }

  #take(lines: Line<Message, Sender>[], bounds: BatchBounds): Queued<Message, Sender>[] {
    const batch: Queued<Message, Sender>[] = [];
    let bytes = 0, visits = 0;
    while (lines.length > 0 && batch.length < bounds.messages) {
      const [line] = lines;
      if (batch.length > 0 && bytes + costOf(line.first) > bounds.bytes) break;
      let quantum = QUANTUM_BYTES;
      visits++;
      do {
        const queued = line.shift();
        batch.push(queued);
        bytes += costOf(queued);
        quantum -= costOf(queued);
      } while (
        line.length > 0 && quantum > 0 && batch.length < bounds.messages &&
        bytes + costOf(line.first) <= bounds.bytes
      );
      lines.shift();
      if (line.length > 0) lines.push(line);
    }
    this.#count(-batch.length, -bytes);
    if (visits > 1) batch.sort((a, b) => a.arrival - b.arrival);
    return batch;
  }

  /** Discards the waiting messages of one sender. */
  drop(line: Line<Message, Sender>): void {
    const at = this.#lines.indexOf(line);
    if (at < 0) return;
    this.#lines.splice(at, 1);
    this.#count(-line.length, -line.bytes);
    line.clear();
  }

  #count(messages: number, bytes: number): void {
    this.length += messages;
    this.bytes += bytes;
    this.#sum.bytes += bytes;
  }
}

/** Returns the memory that a message takes up, in bytes. */
export function costOf({ bytes }: { readonly bytes: number }): number {
  return bytes + MESSAGE_BYTES;
}
