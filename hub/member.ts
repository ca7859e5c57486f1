/**
 * A member with what the hub keeps of it.
 *
 * @module
 */

import type { Connection, Member } from "./connection.ts";
import { Author } from "./author.ts";
import type { TokenBucket } from "./rate_limit.ts";
import type { Room } from "./room.ts";

/** The state of a member whose socket does not take data as fast as it is sent. */
export interface Lag {
  /** The position in the log of the next batch that it is given. */
  position: number;
  /** The bytes that its socket held when it was last looked at. */
  held: number;
  /** The bytes that it had not been sent when it was last looked at. */
  unsent: number;
  /** How many messages of the next batch it is not given. */
  skip: number;
  /** Whether it is being given the history, which it may take at its own pace. */
  replaying: boolean;
}

/** A member inside the hub. */
export class Tracked<Message, Data> extends Author<Message, Data> implements Member {
  /** The time at which its socket was last seen to take data: that is looked at while it lags. */
  tookAt = -Infinity;
  /** The time at which it last began to lag. */
  laggedAt = -Infinity;
  /** The time at which it was last further behind than a member may be. */
  fellAt = -Infinity;
  /** Where it is while it lags; `null` at the head. */
  lag: Lag | null = null;
  /** Whether it has joined and not left. */
  present = true;
  /** The messages that it may send, where that is limited. */
  bucket: TokenBucket | null = null;

  /** Whether it may send messages, here at hand for each of them. */
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

  /** The other end as the logs name it. */
  get peer(): string {
    return this.connection.peer;
  }
}
