/**
 * Batches of messages in the form that relays exchange.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import type { Batch, Section } from "../hub.ts";
import { frame, OPCODE } from "./raw_client.ts";

/** Builds the frames of messages as a server sends them, with the offset at which each ends. */
export function framesOf(messages: readonly (string | Uint8Array)[]): Omit<Section, "room"> {
  const frames = messages.map((message) => {
    const opcode = typeof message === "string" ? OPCODE.text : OPCODE.binary;
    return frame(opcode, message, { masked: false });
  });
  let end = 0;
  return { frames: Buffer.concat(frames), ends: frames.map(({ length }) => end += length) };
}

/** Builds a batch with one section. */
export function batchOf(messages: readonly (string | Uint8Array)[], room = "/"): Batch {
  return [{ room, ...framesOf(messages) }];
}

/** Reads short text messages from the sections of a batch. */
export function textsOf(batch: Batch): string[] {
  return batch.flatMap(({ frames, ends }) =>
    ends.map((end, i) => {
      const start = i === 0 ? 0 : ends[i - 1];
      const head = frames[start + 1] < 126 ? 2 : frames[start + 1] === 126 ? 4 : 10;
      return new TextDecoder().decode(frames.subarray(start + head, end));
    })
  );
}
