/**
 * The senders whose messages wait for their place in the order: members and guests.
 *
 * @module
 */

import type { Origin } from "./log.ts";
import type { Line, Queued } from "./queue.ts";
import type { Room } from "./room.ts";

/** A sender of messages. */
export abstract class Author<Message, Data> {
  /** Its messages that wait for their place in the order; `null` if it has never sent one. */
  line: Line<Message, Author<Message, Data>> | null = null;
  /** The time at which it was last found flooding. */
  floodedAt = -Infinity;
  /** Represents it in the history, which must not keep ended connections in memory. */
  readonly identity: object = {};

  /** Creates a sender that has not sent anything yet. */
  constructor(
    /** The room that it sends to. */
    readonly room: Room<Message, Data>,
  ) {}

  /** Called when a message gets its place in the order. */
  placed(): void {}
}

/**
 * The outcome of a guest's message. `placed` means that the message has its place in the order. Otherwise
 * the address sends too many messages (`rate`), too much is waiting (`full`), the relay is shutting down
 * (`shutdown`), or it has lost its cluster (`cluster`). A message that was under way when the cluster was
 * lost may still get its place.
 */
export type Posted = "placed" | "rate" | "full" | "shutdown" | "cluster";

/** A sender of one message that is not a member. */
export class Guest<Message, Data> extends Author<Message, Data> {
  readonly #outcome = Promise.withResolvers<Posted>();

  /** A promise for the outcome of the message. */
  get outcome(): Promise<Posted> {
    return this.#outcome.promise;
  }

  override placed(): void {
    this.settle("placed");
  }

  /** Sets the outcome of the message. Calls after the first do nothing. */
  settle(outcome: Posted): void {
    this.#outcome.resolve(outcome);
  }
}

/** Returns the origin of a queued message. */
export function originOf<Message>(
  { sender, bytes }: Queued<Message, Author<Message, unknown>>,
): Origin {
  return { sender: sender.identity, bytes };
}
