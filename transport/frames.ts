/**
 * Frames for messages on their way to clients, and to other relays: whole, unmasked, uncompressed
 * (RFC 6455 §5.2).
 *
 * @module
 */

import { Buffer } from "node:buffer";
import type { Frames } from "../hub.ts";

/** A message in the form that a frame carries. */
export interface Framed {
  /** The payload; for a text message its UTF-8 form. */
  readonly payload: Buffer;
  /** Whether it is binary. */
  readonly binary: boolean;
}

const FIRST_BYTE = { text: 0x81, binary: 0x82 };

/** The longest payload whose length fits into the second byte, and the marks of longer ones. */
const SHORT = 125, U16_FOLLOWS = 126, U64_FOLLOWS = 127;

/** Writes messages one after the other into one buffer. */
export function writeFrames(messages: readonly Framed[]): Frames & { readonly frames: Buffer } {
  let length = 0;
  for (const { payload } of messages) length += headBytes(payload.length) + payload.length;
  const frames = Buffer.allocUnsafe(length);
  const ends: number[] = [];
  let at = 0;
  for (const { payload, binary } of messages) {
    frames[at++] = binary ? FIRST_BYTE.binary : FIRST_BYTE.text;
    if (payload.length <= SHORT) frames[at++] = payload.length;
    else if (payload.length <= 0xffff) {
      frames[at++] = U16_FOLLOWS;
      at = frames.writeUInt16BE(payload.length, at);
    } else {
      frames[at++] = U64_FOLLOWS;
      at = frames.writeUInt32BE(0, at); // A message has at most 64 MiB.
      at = frames.writeUInt32BE(payload.length, at);
    }
    payload.copy(frames, at);
    ends.push(at += payload.length);
  }
  return { frames, ends };
}

/** Reads the frames of {@link writeFrames} without a copy. */
export function readFrames({ frames, ends }: Frames): Framed[] {
  const buffer = bufferOf(frames);
  let from = 0;
  return ends.map((end) => {
    const mark = buffer[from + 1];
    const head = mark <= SHORT ? 2 : mark === U16_FOLLOWS ? 4 : 10;
    const payload = buffer.subarray(from + head, end);
    const binary = buffer[from] === FIRST_BYTE.binary;
    from = end;
    return { payload, binary };
  });
}

/** Looks at bytes as a buffer. */
export function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function headBytes(payload: number): number {
  return payload <= SHORT ? 2 : payload <= 0xffff ? 4 : 10;
}
