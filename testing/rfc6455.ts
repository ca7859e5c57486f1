/**
 * A client for cases of RFC 6455 that sends exact bytes and checks each frame of the answer.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { Buffer } from "node:buffer";
import { OPCODE, RawClient } from "./raw_client.ts";
import { bounded } from "./wait.ts";

/** The pieces that are sent, and the frames that answer them. */
export type Step = [sent: Uint8Array[], answers: Answer[]];
/** A frame from the relay. A close frame is given by its code, or `null` if it has none. */
export type Answer = { text: string } | { binary: string } | { pong: string } | {
  close: number | null;
};
export type Case = [id: string, ...steps: Step[]];

export interface Shape {
  fin?: boolean;
  reserved?: number;
}

/** Builds a frame with a mask that changes the payload. */
export function frame(
  opcode: number,
  body: string | Uint8Array = "",
  { fin = true, reserved = 0 }: Shape = {},
): Buffer {
  const payload = Buffer.from(body as string), { length } = payload;
  const size = length < 126 ? 0 : length < 65_536 ? 2 : 8;
  const head = Buffer.alloc(2 + size);
  head[0] = (fin ? 0x80 : 0) | reserved << 4 | opcode;
  head[1] = 0x80 | (size === 0 ? length : size === 2 ? 126 : 127);
  if (size === 2) head.writeUInt16BE(length, 2);
  if (size === 8) head.writeBigUInt64BE(BigInt(length), 2);
  const mask = Buffer.from([0x37, 0xfa, 0x21, 0x3d]);
  const masked = Buffer.alloc(length);
  for (let i = 0; i < length; i++) masked[i] = payload[i] ^ mask[i & 3];
  return Buffer.concat([head, mask, masked]);
}

export const text = (body: string | Uint8Array, shape?: Shape) => frame(OPCODE.text, body, shape);
export const binary = (body: string | Uint8Array, shape?: Shape) =>
  frame(OPCODE.binary, body, shape);
export const more = (body: string | Uint8Array, shape?: Shape) =>
  frame(OPCODE.continuation, body, shape);
export const ping = (body: string | Uint8Array = "", shape?: Shape) =>
  frame(OPCODE.ping, body, shape);
export const pong = (body: string | Uint8Array = "", shape?: Shape) =>
  frame(OPCODE.pong, body, shape);

export function closing(code?: number, reason: string | Uint8Array = ""): Buffer {
  if (code === undefined) return frame(OPCODE.close);
  return frame(
    OPCODE.close,
    Buffer.concat([Buffer.from([code >> 8, code & 255]), Buffer.from(reason as string)]),
  );
}

/** Cuts the sent bytes into pieces. */
export function chop(frames: Uint8Array[], bytes: number): Uint8Array[] {
  const all = Buffer.concat(frames);
  return Array.from(
    { length: Math.ceil(all.length / bytes) },
    (_, i) => all.subarray(i * bytes, (i + 1) * bytes),
  );
}

/** Builds a message in fragments of a given size. */
export function fragments(opcode: number, body: string | Uint8Array, bytes: number): Buffer[] {
  const payload = Buffer.from(body as string),
    count = Math.max(1, Math.ceil(payload.length / bytes));
  return Array.from(
    { length: count },
    (_, i) =>
      frame(i === 0 ? opcode : OPCODE.continuation, payload.subarray(i * bytes, (i + 1) * bytes), {
        fin: i === count - 1,
      }),
  );
}

/** Sends all steps of a case from one client, and reads the answers until the connection ends. */
export async function check(relay: { url: string }, [id, ...steps]: Case): Promise<void> {
  using client = await RawClient.join(relay);
  let closed = false;
  for (const [sent, answers] of steps) {
    for (const bytes of sent) client.send(bytes);
    for (const wanted of answers) {
      const { opcode, payload } = await client.next();
      const body = Buffer.from(payload);
      const heard: Answer = opcode === OPCODE.text
        ? { text: body.toString() }
        : opcode === OPCODE.binary
        ? { binary: body.toString("latin1") }
        : opcode === OPCODE.pong
        ? { pong: body.toString("latin1") }
        : { close: body.length > 0 ? body.readUInt16BE() : null };
      closed = "close" in heard;
      const same = JSON.stringify(heard) === JSON.stringify(wanted);
      if (!same) assertEquals(heard, wanted, `case ${id}`);
    }
  }
  if (!closed) {
    client.send(closing(1000));
    const { opcode, payload } = await client.next();
    assertEquals(
      [opcode, ...payload],
      [OPCODE.close, 3, 232],
      `case ${id}: something else was heard`,
    );
  }
  await bounded(client.ended, `the end of case ${id}`);
}
