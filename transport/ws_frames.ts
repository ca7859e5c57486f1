/**
 * Frames for the `ws` transport.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import * as library from "ws";

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
export function encode(messages: WsMessage[]): Buffer[] {
  const parts: Buffer[] = [];
  for (const { payload, binary } of messages) {
    const opcode = binary ? OPCODE.binary : OPCODE.text;
    parts.push(
      ...Sender.frame(payload, { fin: true, rsv1: false, opcode, mask: false, readOnly: true }),
    );
  }
  return [Buffer.concat(parts)];
}
