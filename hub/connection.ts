/**
 * The contract between the hub and a transport for a connected client.
 *
 * @module
 */

import type { Posted } from "./author.ts";
import type { Replay } from "./history.ts";

/** The causes for which the relay removes a member; the label values of `websocket_evictions_total`. */
export const EVICTIONS = [
  "slow",
  "rate",
  "too_big",
  "role",
  "expired",
  "idle",
  "gap",
  "cluster",
  "error",
] as const;

/** A cause for which the relay removes a member. */
export type Eviction = typeof EVICTIONS[number];

/**
 * The cause for which a member left. It closed the connection with a close frame, the relay evicted it,
 * or it was still connected when the time for the shutdown was up.
 */
export type Cause = "closed" | Eviction | "terminated";

/** The causes for which the hub itself ends a connection. A transport has a close frame for each. */
export type Ending =
  | "shutdown"
  | "slow"
  | "rate"
  | "too_big"
  | "role"
  | "expired"
  | "gap"
  | "cluster";

/** The transport's side of one open client. No method blocks, and none may call back into the hub. */
export interface Connection<Data> {
  /** The client's address as it appears in the logs, for example `192.0.2.7:51034`. */
  readonly peer: string;
  /** The room that the client is in. */
  readonly room: string;
  /** The part of the history that it receives first; `null` for none. */
  readonly replay: Replay | null;
  /** Whether the client may send messages. If not, the first one gets it evicted with the cause `role`. */
  readonly mayTalk: boolean;
  /** When its membership expires, in milliseconds of Unix time; `Infinity` for never. */
  readonly expires: number;
  /** Returns how many bytes the transport still holds for this client. */
  backlog(): number;
  /** Queues data for sending. */
  write(data: Data): void;
  /** Starts the closing handshake after everything that was written before. */
  close(ending: Ending): void;
  /** Ends the connection as soon as possible. The close frame arrives only if no data is ahead of it. */
  evict(ending: Ending): void;
  /** Ends the connection at once, without a close frame if the transport supports that. */
  terminate(): void;
  /** Stops reading from the client because its messages arrive faster than they can be relayed. */
  pause?(): void;
  /** Resumes reading from the client. */
  resume?(): void;
  /** Called once, when the client is no longer a member. */
  left?(): void;
}

/** The messages of one batch in the form that a transport writes. */
export interface Encoded<Data> {
  /** The pieces to write, in order, for all messages. */
  readonly all: readonly Data[];
  /** Returns the pieces for the messages from index `from` up to, but not including, `to`. */
  slice(from: number, to: number): readonly Data[];
  /** Returns the total payload size of the same messages in bytes. */
  payloadBytes(from: number, to: number): number;
}

/** A connected client inside the hub, from {@link Hub.join} until it has left. */
export interface Member {
  /** The client's address as it appears in the logs. */
  readonly peer: string;
}

/** A message from a sender that is not a member. */
export interface Post<Message> {
  /** The room. */
  readonly room: string;
  /** The sender's address. */
  readonly address: string;
  /** The message. */
  readonly message: Message;
  /** The size of its payload; for text, the size in UTF-8. */
  readonly bytes: number;
}

/** The hub's side of a connected client: the methods that a transport calls. */
export interface Membership<Message, Data> {
  /** Makes an open client a member. */
  join(connection: Connection<Data>): Member;
  /** Accepts a message from a member. `bytes` is the size of its payload; for text, the size in UTF-8. */
  publish(sender: Member, message: Message, bytes: number): void;
  /** Ends a membership. Calls after the first do nothing. */
  leave(member: Member, cause: Cause): void;
  /** Accepts a message from a sender that is not a member, and resolves with the outcome. */
  post(post: Post<Message>): Promise<Posted>;
}
