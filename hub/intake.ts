/**
 * The limits of the messages that members and guests may have waiting, per sender and over all rooms.
 *
 * @module
 */

import { type Author, Guest } from "./author.ts";
import type { Ending, Eviction } from "./connection.ts";
import type { Tracked } from "./member.ts";
import { FLOOD_BYTES, type Line, QUANTUM_BYTES } from "./queue.ts";
import { TokenBucket } from "./rate_limit.ts";
import type { Room } from "./room.ts";
import type { Sum } from "./source.ts";

/** The limit for all rooms together: so many bytes, or so many of the largest messages if that is more. */
const MAX_QUEUED_BYTES = 64 * 1024 * 1024, MAX_QUEUED_MESSAGES = 4;

/** The deliveries that the waiting messages of one sender may amount to. */
const MAX_QUEUED_DELIVERIES = 2 ** 21;

/** The options of {@link Intake}. */
export interface IntakeOptions<Message, Data> {
  /** The size of the largest message in bytes. */
  readonly maxMessageBytes: number;
  /** How many messages per second a member may send. Default: no limit. */
  readonly maxMessagesPerSecond?: number;
  /** All rooms by name. */
  readonly rooms: ReadonlyMap<string, Room<Message, Data>>;
  /** Returns the time in milliseconds. */
  now(): number;
  /** Returns the cause for which a sender loses its waiting messages. */
  whyShed(): "rate" | "cluster";
  /** Ends the membership of a member. */
  evict(member: Tracked<Message, Data>, ending: Ending & Eviction): void;
}

/** Decides which messages are accepted. */
export class Intake<Message, Data> {
  /** The total of waiting messages in all rooms. */
  readonly queued: Sum = { bytes: 0 };
  readonly #options: IntakeOptions<Message, Data>;
  readonly #paused = new Set<Tracked<Message, Data>>();
  readonly #maxQueuedBytes: number;

  /** Creates an intake with nothing waiting. */
  constructor(options: IntakeOptions<Message, Data>) {
    this.#options = options;
    const { maxMessageBytes } = options;
    this.#maxQueuedBytes = Math.max(MAX_QUEUED_BYTES, MAX_QUEUED_MESSAGES * maxMessageBytes);
  }

  /** Returns the cause to evict a member for a message that it sent; `null` if the message is acceptable. */
  findFault(sender: Tracked<Message, Data>, bytes: number): "role" | "too_big" | "rate" | null {
    if (!sender.mayTalk) return "role";
    if (bytes > this.#options.maxMessageBytes) return "too_big";
    return this.#keepsRate(sender) ? null : "rate";
  }

  /** Tells whether there is space for a guest's message. */
  hasSpace(bytes: number): boolean {
    return this.queued.bytes + bytes <= this.#maxQueuedBytes;
  }

  /** Pauses a sender that has too much waiting or, if its transport cannot pause, evicts the worst sender. */
  bound(sender: Tracked<Message, Data>): void {
    const { connection, line, room } = sender;
    if (connection.pause) {
      if (this.#paused.has(sender) || this.#mayRead(sender)) return;
      this.#paused.add(sender);
      connection.pause();
    } else if (line!.length * room.size > MAX_QUEUED_DELIVERIES) {
      this.#shed(line!);
    } else if (!this.hasSpace(0)) {
      const rooms = [...this.#options.rooms.values()];
      const lines = rooms.flatMap(({ source }) => [...source.queue.lines]);
      this.#shed(lines.reduce((a, b) => a.bytes >= b.bytes ? a : b));
    }
  }

  /** Resumes the senders that have little enough waiting. */
  resume(): void {
    for (const sender of this.#paused) {
      if (!this.#mayRead(sender)) continue;
      this.#paused.delete(sender);
      sender.connection.resume!();
    }
  }

  /** Forgets a member that has left. */
  forget(member: Tracked<Message, Data>): void {
    this.#paused.delete(member);
  }

  #keepsRate(sender: Tracked<Message, Data>): boolean {
    const { maxMessagesPerSecond, now } = this.#options;
    if (maxMessagesPerSecond === undefined) return true;
    const at = now();
    sender.bucket ??= new TokenBucket(maxMessagesPerSecond, at);
    return sender.bucket.take(at);
  }

  /** Tells whether to read from a sender. It may have only little waiting if too much waits in total. */
  #mayRead({ line }: Tracked<Message, Data>): boolean {
    return line!.bytes <= (this.hasSpace(0) ? FLOOD_BYTES : QUANTUM_BYTES);
  }

  /** Discards the waiting messages of a sender, and evicts it if it is a member. */
  #shed(line: Line<Message, Author<Message, Data>>): void {
    const { sender } = line, why = this.#options.whyShed();
    sender.room.source.queue.drop(line);
    if (sender instanceof Guest) return sender.settle(why);
    const member = sender as Tracked<Message, Data>;
    if (member.present) this.#options.evict(member, why);
  }
}
