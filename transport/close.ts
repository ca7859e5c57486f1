/**
 * The close frames of the relay: every code and reason that it sends by itself.
 *
 * @module
 */

import type { Ending } from "../hub.ts";

/** The code and the reason of a close frame (RFC 6455 §5.5.1, §7.4.1). */
export interface Close {
  /** The status code. */
  readonly code: number;
  /** The reason: constant text, so that it never exceeds 123 bytes or repeats what a client sent. */
  readonly reason: string;
}

/** The close frame for each cause for which the relay ends a connection. */
export const CLOSE: Readonly<Record<Ending, Close>> = {
  shutdown: { code: 1001, reason: "server shutting down" },
  slow: { code: 1008, reason: "slow consumer" },
  rate: { code: 1008, reason: "message rate exceeded" },
  role: { code: 1008, reason: "not allowed to send" },
  expired: { code: 1008, reason: "token expired" },
  too_big: { code: 1009, reason: "message too big" },
  gap: { code: 1012, reason: "messages were lost" },
  cluster: { code: 1013, reason: "try again later" },
};

/**
 * The close frames for a client that breaks the protocol (RFC 6455 §7.4.1), on `ws`; `native` ends the
 * connection without one.
 */
export const BREACH = {
  bits: { code: 1002, reason: "reserved bits or opcode" },
  mask: { code: 1002, reason: "frame without a mask" },
  order: { code: 1002, reason: "fragments out of order" },
  control: { code: 1002, reason: "control frame in fragments or too long" },
  length: { code: 1002, reason: "length beyond 63 bits" },
  close: { code: 1002, reason: "close code out of range" },
  utf8: { code: 1007, reason: "text that is not UTF-8" },
} satisfies Readonly<Record<string, Close>>;
