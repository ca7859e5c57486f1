/**
 * A member with what the hub keeps of it.
 *
 * @module
 */

import type { Connection, Member } from "./connection.ts";
import type { Pulse } from "./pace.ts";
import type { Line } from "./queue.ts";
import type { TokenBucket } from "./rate_limit.ts";

/** The state of a member whose socket does not take data as fast as it is sent. */
export interface Lag {
  /** The position in the log of the next batch that it is given. */
  position: number;
  /** The bytes that its socket held when it was last looked at. */
  held: number;
  /** Whether it is further behind than a member may be. */
  falling: boolean;
}

/** A member inside the hub. */
export class Tracked<Message, Data> implements Member {
  /** Its messages that wait for their place in the order; `null` if it has never sent one. */
  line: Line<Message, Tracked<Message, Data>> | null = null;
  /** When its socket takes data; `null` if it has never lagged. */
  pulse: Pulse | null = null;
  /** Where it is while it lags; `null` at the head. */
  lag: Lag | null = null;
  /** Whether it has joined and not left. */
  present = true;
  /** Whether it was told to go away. */
  dismissed = false;
  /** The messages that it may send, where that is limited. */
  bucket: TokenBucket | null = null;

  /** Wraps the transport's side of the member. */
  constructor(
    /** The transport's side. */
    readonly connection: Connection<Data>,
  ) {}

  /** The other end as the logs name it. */
  get peer(): string {
    return this.connection.peer;
  }
}
