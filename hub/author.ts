/**
 * Those whose messages wait for their place in the order: members, and guests.
 *
 * @module
 */

import type { Origin } from "./log.ts";
import type { Line, Queued } from "./queue.ts";
import type { Room } from "./room.ts";

/** Somebody who has sent a message. */
export abstract class Author<Message, Data> {
  /** Its messages that wait for their place in the order; `null` if it has never sent one. */
  line: Line<Message, Author<Message, Data>> | null = null;
  /** The time at which it was last seen to flood. */
  floodedAt = -Infinity;
  /** What stands for it in the history, which must not keep a connection that has ended. */
  readonly identity: object = {};

  /** Makes somebody who has sent nothing yet. */
  constructor(
    /** Where it is. */
    readonly room: Room<Message, Data>,
  ) {}

  /** Is told that a message has its place in the order. */
  placed(): void {}
}

/**
 * What became of a message of a guest: it has its place in the order; or it has not, because its address sends
 * too many, too much waits, the relay is shutting down, or it is cut off from its cluster. A message that was
 * under way when the cluster was lost may still get its place.
 */
export type Posted = "placed" | "rate" | "full" | "shutdown" | "cluster";

/** Somebody who sends one message without being a member. */
export class Guest<Message, Data> extends Author<Message, Data> {
  readonly #outcome = Promise.withResolvers<Posted>();

  /** Resolves with what became of the message. */
  get outcome(): Promise<Posted> {
    return this.#outcome.promise;
  }

  override placed(): void {
    this.settle("placed");
  }

  /** Says what became of the message; calls after the first do nothing. */
  settle(outcome: Posted): void {
    this.#outcome.resolve(outcome);
  }
}

/** Says who sent a message that was queued. */
export function originOf<Message>(
  { sender, bytes }: Queued<Message, Author<Message, unknown>>,
): Origin {
  return { sender: sender.identity, bytes };
}
