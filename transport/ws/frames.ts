/**
 * Frames for the `ws` transport.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import * as library from "ws";
import type { Encoded } from "../../hub.ts";

/** A message as it arrived. */
export interface WsMessage {
  /** The payload; of a text message its UTF-8 form. */
  readonly payload: Buffer;
  /** Whether it is binary and leaves so. */
  readonly binary: boolean;
}

/** What `ws` exports and its type declarations leave out. */
const { Sender } = library as unknown as {
  Sender: { frame(payload: Buffer, options: Record<string, boolean | number>): Buffer[] };
};

const OPCODE = { text: 1, binary: 2 };

/** Frames whole messages, unmasked and uncompressed (RFC 6455 §5.2), as one buffer for all sockets. */
export function encode(messages: WsMessage[]): Encoded<Buffer> {
  const parts: Buffer[] = [];
  const starts: number[] = [];
  let length = 0;
  for (const { payload, binary } of messages) {
    starts.push(length);
    const opcode = binary ? OPCODE.binary : OPCODE.text;
    const options = { fin: true, rsv1: false, opcode, mask: false, readOnly: true };
    for (const part of Sender.frame(payload, options)) {
      parts.push(part);
      length += part.length;
    }
  }
  starts.push(length);
  const all = Buffer.concat(parts, length);
  return { all: [all], slice: (from, to) => [all.subarray(starts[from], starts[to])] };
}
