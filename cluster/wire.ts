/**
 * The form in which batches travel between relays. Each batch is the payload of one NATS message.
 *
 * A header (version, origin, number) is followed by the sections, each with its room and its frames. All
 * numbers are big-endian:
 *
 * ```txt
 * header   u8 version (1), u48 origin, u48 number
 * section  u8 bytes of the room, u32 messages, u32 bytes of the frames, room in UTF-8, frames
 * ```
 *
 * The ends of messages are not stored, because the frames contain them and have to be checked anyway.
 *
 * @module
 */

import type { Batch, Section } from "../hub.ts";

/** The version that this relay writes, and the only one that it can read. */
export const VERSION = 1;

const HEADER_BYTES = 13, SECTION_BYTES = 9, ROOM_BYTES_MAX = 200;

/** The most bytes that a section takes besides its frames, and the same for the first one with the header. */
export const SECTION_OVERHEAD_BYTES = SECTION_BYTES + ROOM_BYTES_MAX;
export const OVERHEAD_BYTES = HEADER_BYTES + SECTION_OVERHEAD_BYTES;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });

/** The longest payload whose length fits into the second byte of a frame, and the marks of longer ones. */
const SHORT = 125, U16_FOLLOWS = 126, U64_FOLLOWS = 127;

/** The first byte of an unfragmented message: FIN, no reserved bits, text or binary (RFC 6455 §5.2). */
const TEXT = 0x81, BINARY = 0x82;

/** A batch with its identification. */
export interface Envelope {
  /** The process that accepted the messages: a random number of 48 bits. */
  readonly origin: number;
  /** The number of the batch among those of its origin, from 1. */
  readonly number: number;
  /** The messages. */
  readonly batch: Batch;
}

/**
 * The content of a payload: a batch, a version that this relay does not know, or nothing readable.
 */
export type Reading =
  | { readonly kind: "batch" } & Envelope
  | { readonly kind: "unknown version"; readonly version: number }
  | { readonly kind: "unreadable"; readonly why: string };

/** Generates a number for {@link Envelope.origin}. */
export function randomOrigin(): number {
  const [high, low] = crypto.getRandomValues(new Uint32Array(2));
  return (high & 0xffff) * 2 ** 32 + low;
}

/** Encodes a batch. */
export function write({ origin, number, batch }: Envelope): Uint8Array<ArrayBuffer> {
  const rooms = batch.map(({ room }) => encoder.encode(room));
  const bytes = batch.reduce(
    (sum, { frames }, i) => sum + SECTION_BYTES + rooms[i].length + frames.length,
    HEADER_BYTES,
  );
  const payload = new Uint8Array(bytes), view = new DataView(payload.buffer);
  view.setUint8(0, VERSION);
  setUint48(view, 1, origin);
  setUint48(view, 7, number);
  let at = HEADER_BYTES;
  batch.forEach(({ frames, ends }, i) => {
    view.setUint8(at, rooms[i].length);
    view.setUint32(at + 1, ends.length);
    view.setUint32(at + 5, frames.length);
    payload.set(rooms[i], at + SECTION_BYTES);
    payload.set(frames, at + SECTION_BYTES + rooms[i].length);
    at += SECTION_BYTES + rooms[i].length + frames.length;
  });
  return payload;
}

/**
 * Decodes a payload without copying frames. Whatever the payload holds, a resulting batch consists of
 * unfragmented messages in frames that a server may send. The relay that accepted the messages has already
 * checked that text is UTF-8.
 *
 * @param wants Tells whether a room's section is needed. Others are omitted without being checked.
 * Default: all are needed.
 */
export function read(
  payload: Uint8Array,
  wants: (room: string) => boolean = () => true,
): Reading {
  if (payload.length === 0) return unreadable("it is empty");
  if (payload[0] !== VERSION) return { kind: "unknown version", version: payload[0] };
  if (payload.length < HEADER_BYTES) return unreadable("its header is cut off");
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
  const batch: Section[] = [];
  for (let at = HEADER_BYTES; at < payload.length;) {
    if (at + SECTION_BYTES > payload.length) return unreadable("a section is cut off");
    const start = at + SECTION_BYTES + view.getUint8(at);
    const end = start + view.getUint32(at + 5);
    if (end > payload.length) return unreadable("a section is longer than the rest");
    const room = readRoom(payload.subarray(at + SECTION_BYTES, start));
    if (room === null) return unreadable("the name of a room is not UTF-8");
    const messages = view.getUint32(at + 1);
    at = end;
    if (!wants(room)) continue;
    const frames = payload.subarray(start, end);
    const ends = findEnds(frames, messages);
    if (ends === null) return unreadable("frames are not whole messages of a server");
    batch.push({ room, frames, ends });
  }
  return { kind: "batch", origin: getUint48(view, 1), number: getUint48(view, 7), batch };
}

/** Finds where each frame ends; `null` unless there are exactly `messages` valid frames of a server. */
function findEnds(frames: Uint8Array, messages: number): number[] | null {
  const ends: number[] = [];
  let at = 0;
  while (at + 2 <= frames.length) {
    if (frames[at] !== TEXT && frames[at] !== BINARY) return null;
    let length = frames[at + 1];
    at += 2;
    if (length > SHORT) {
      const head = length === U16_FOLLOWS ? 2 : 8;
      if (length > U64_FOLLOWS || at + head > frames.length) return null; // Masked, or cut off.
      length = 0;
      for (const end = at + head; at < end; at++) length = length * 256 + frames[at];
    }
    at += length;
    ends.push(at);
  }
  return at === frames.length && ends.length === messages ? ends : null;
}

function readRoom(bytes: Uint8Array): string | null {
  try {
    return decoder.decode(bytes);
  } catch {
    return null;
  }
}

function unreadable(why: string): Reading {
  return { kind: "unreadable", why };
}

function setUint48(view: DataView, at: number, value: number): void {
  view.setUint16(at, Math.floor(value / 2 ** 32));
  view.setUint32(at + 2, value % 2 ** 32);
}

function getUint48(view: DataView, at: number): number {
  return view.getUint16(at) * 2 ** 32 + view.getUint32(at + 2);
}
