/**
 * A member and the state that the hub keeps for it.
 *
 * @module
 */

import type { Connection, Member } from "./connection.ts";
import { Author } from "./author.ts";
import type { TokenBucket } from "./rate_limit.ts";
import type { Room } from "./room.ts";

/** The state of a member whose socket accepts data more slowly than it is sent. */
export interface Lag {
  /** The position in the log of the next batch that it is given. */
  position: number;
  /** The bytes that its socket held at the last check. */
  held: number;
  /** The bytes that were yet to be sent to it at the last check. */
  unsent: number;
  /** How many messages at the beginning of the next batch are left out. */
  skip: number;
  /** Whether it is receiving the history, which it may read at its own pace. */
  replaying: boolean;
}

/** A member inside the hub. */
export class Tracked<Message, Data> extends Author<Message, Data> implements Member {
  /** The time at which its socket last accepted data. It is checked only while the member lags. */
  tookAt = -Infinity;
  /** The time at which it last began to lag. */
  laggedAt = -Infinity;
  /** The time at which it was last too far behind. */
  fellAt = -Infinity;
  /** Its state while it lags; `null` at the head. */
  lag: Lag | null = null;
  /** Whether it has joined and not left. */
  present = true;
  /** Its rate limit; `null` if it has none. */
  bucket: TokenBucket | null = null;

  /** Whether it may send messages. This copy is quick to read for each message. */
  readonly mayTalk: boolean;

  /** Wraps the transport's side of the member. */
  constructor(
    /** The transport's side. */
    readonly connection: Connection<Data>,
    room: Room<Message, Data>,
  ) {
    super(room);
    this.mayTalk = connection.mayTalk;
  }

  /** The client's address as it appears in the logs. */
  get peer(): string {
    return this.connection.peer;
  }
}
