/**
 * The contract between the hub and a transport: what each gives the other for a connected client.
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

/** One cause for which the relay removes a member. */
export type Eviction = typeof EVICTIONS[number];

/**
 * The cause for which a member left: it closed the connection with a close frame, the relay evicted it,
 * or it was still there when the time for a shutdown was over.
 */
export type Cause = "closed" | Eviction | "terminated";

/** The causes for which the hub itself ends a connection; a transport knows the close frame of each. */
export type Ending =
  | "shutdown"
  | "slow"
  | "rate"
  | "too_big"
  | "role"
  | "expired"
  | "gap"
  | "cluster";

/** A transport's side of one open client. No method waits, and none may call back into the hub. */
export interface Connection<Data> {
  /** The other end as the logs name it, for example `192.0.2.7:51034`. */
  readonly peer: string;
  /** The room that the client is in. */
  readonly room: string;
  /** What it wants to hear of the history first; `null` for nothing. */
  readonly replay: Replay | null;
  /** Whether the client may send messages; one that sends all the same is evicted for its `role`. */
  readonly mayTalk: boolean;
  /** When its membership ends at the latest, in milliseconds of Unix time; `Infinity` for never. */
  readonly expires: number;
  /** Returns how many bytes the relay still holds for this client. */
  backlog(): number;
  /** Queues data for sending. */
  write(data: Data): void;
  /** Starts to end the connection with a close frame, behind everything that was written before. */
  close(ending: Ending): void;
  /** Ends the connection as soon as the transport can; the close frame arrives if nothing is in its way. */
  evict(ending: Ending): void;
  /** Ends the connection at once and without a close frame, where the transport can. */
  terminate(): void;
  /** Stops reading from the client, whose messages come faster than they can be passed on. */
  pause?(): void;
  /** Reads from the client again. */
  resume?(): void;
  /** Is told, once, that the client is no longer a member. */
  left?(): void;
}

/** The messages of one batch as a transport writes them. */
export interface Encoded<Data> {
  /** The pieces to write, in order, for all messages. */
  readonly all: readonly Data[];
  /** Returns the pieces for the messages from index `from` up to, but without, `to`. */
  slice(from: number, to: number): readonly Data[];
  /** Returns the bytes of the payloads of the same. */
  payloadBytes(from: number, to: number): number;
}

/** One connected client inside the hub, from {@link Hub.join} until it has left. */
export interface Member {
  /** The other end as the logs name it. */
  readonly peer: string;
}

/** A message of somebody who is no member. */
export interface Post<Message> {
  /** The room. */
  readonly room: string;
  /** The address that it comes from. */
  readonly address: string;
  /** The message. */
  readonly message: Message;
  /** The size of its payload; for text that of its UTF-8 form. */
  readonly bytes: number;
}

/** The hub's side of a connected client: all that a transport calls. */
export interface Membership<Message, Data> {
  /** Makes an open client a member. */
  join(connection: Connection<Data>): Member;
  /** Takes in a message from a member; `bytes` is the size of its payload, for text that of its UTF-8 form. */
  publish(sender: Member, message: Message, bytes: number): void;
  /** Ends a membership; calls after the first do nothing. */
  leave(member: Member, cause: Cause): void;
  /** Takes in a message of an address that is no member, and resolves with what became of it. */
  post(post: Post<Message>): Promise<Posted>;
}
