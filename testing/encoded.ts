/**
 * Messages that are written without an encoding, for tests of the hub alone.
 *
 * @module
 */

import type { Encoded } from "../hub.ts";

/** Encodes texts as themselves. */
export function encodeTexts(messages: readonly string[]): Encoded<string> {
  return {
    all: messages,
    slice: (from, to) => messages.slice(from, to),
    payloadBytes: (from, to) => messages.slice(from, to).join("").length,
  };
}
