/**
 * Messages for the `ws` transport: a batch is one buffer of frames for all sockets.
 *
 * @module
 */

import type { Buffer } from "node:buffer";
import { cut, type Encoded, type Frames, payloadBytesOf } from "../../hub.ts";
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
