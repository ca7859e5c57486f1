/**
 * Frames of the `ws` transport: a batch of messages is one buffer for all sockets, and control frames are for
 * single clients.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { cut, type Encoded, type Frames, payloadBytesOf } from "../../hub.ts";
import type { Close } from "../close.ts";
import { bufferOf, type Framed, writeFrames } from "../frames.ts";

/** A message as it arrived. */
export type WsMessage = Framed;

/** Frames the messages of a batch. */
export function encode(messages: readonly WsMessage[]): Encoded<Buffer> {
  return unpack(writeFrames(messages));
}

/** Takes frames as they are, without a copy. */
export function unpack({ frames, ends }: Frames): Encoded<Buffer> {
  const all = bufferOf(frames);
  const startOf = (index: number) => index === 0 ? 0 : ends[index - 1];
  return {
    all: [all],
    slice: (from, to) => [all.subarray(startOf(from), startOf(to))],
    payloadBytes: (from, to) => payloadBytesOf(cut({ frames, ends }, from, to)),
  };
}

const FIRST_BYTE = { close: 0x88, ping: 0x89, pong: 0x8a };

/** A ping without a payload. */
export const PING: Buffer = Buffer.from([FIRST_BYTE.ping, 0]);

/** Answers a ping. */
export function pongFrame(payload: Buffer): Buffer {
  return Buffer.concat([Buffer.from([FIRST_BYTE.pong, payload.length]), payload]);
}

/** Ends a connection, with a code and a reason or without. */
export function closeFrame(close: Close | null): Buffer {
  if (!close) return Buffer.from([FIRST_BYTE.close, 0]);
  const reason = Buffer.from(close.reason);
  const head = [FIRST_BYTE.close, 2 + reason.length, close.code >> 8, close.code & 0xff];
  return Buffer.concat([Buffer.from(head), reason]);
}
