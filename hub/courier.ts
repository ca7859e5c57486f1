/**
 * The way of messages through an order that several relays share: what was taken in goes out in
 * batches, one at a time, and what comes back from there, with the batches of others, is delivered.
 *
 * @module
 */

import type { Tracked } from "./member.ts";
import type { SharedOrder } from "./options.ts";
import type { Batch, Frames } from "./order.ts";
import { type BatchBounds, MESSAGE_BYTES, type Queued } from "./queue.ts";
import type { Room, Tally } from "./room.ts";

/** The name of the only room. */
const ROOM = "/";

/** The bytes of a frame's head (RFC 6455 §5.2). */
const MOST_HEAD_BYTES = 10;

/** While more than this has arrived and is yet to be delivered, no more is wanted. */
const MAX_ARRIVED_BYTES = 8 * 1024 * 1024;

/** Takes messages from a room to the shared order and back. */
export class Courier<Message, Data> {
  readonly #shared: SharedOrder<Message, Data>;
  readonly #room: Room<Message, Data>;
  readonly #tally: Tally;
  readonly #echo: boolean;
  readonly #bounds: BatchBounds;
  #underway: Queued<Message, Tracked<Message, Data>>[] | null = null;
  #paused = false;

  /** Begins with nothing under way. */
  constructor(
    shared: SharedOrder<Message, Data>,
    room: Room<Message, Data>,
    tally: Tally,
    echo: boolean,
  ) {
    this.#shared = shared;
    this.#room = room;
    this.#tally = tally;
    this.#echo = echo;
    const { maxBatchBytes } = shared.order;
    // A message counts more in the queue than the head of its frame, unless it is the only one.
    const bytes = maxBatchBytes + MESSAGE_BYTES - MOST_HEAD_BYTES;
    this.#bounds = { bytes, messages: Infinity };
  }

  /** Sends out what is queued, if nothing is under way, and asks for more if there is room for it. */
  turn(): void {
    const { order } = this.#shared;
    if (this.#paused && this.#room.arrivedBytes < MAX_ARRIVED_BYTES / 2) {
      this.#paused = false;
      order.resume();
    }
    this.#send();
  }

  #send(): void {
    if (this.#underway || this.#room.queue.length === 0) return;
    this.#underway = this.#room.take(this.#bounds);
    const frames = this.#shared.pack(this.#underway.map(({ message }) => message));
    this.#shared.order.append([{ room: ROOM, ...frames }]);
  }

  /** Takes in the next batch of the order. */
  arrive(batch: Batch, own: boolean): void {
    const sent = own ? this.#underway! : [];
    if (own) {
      this.#underway = null;
      this.#tally.messages += sent.length;
      this.#tally.receivedBytes += sent.reduce((sum, { bytes }) => sum + bytes, 0);
    }
    const section = batch.find(({ room }) => room === ROOM);
    if (section) this.#arrive(section, sent);
    this.#send(); // Before what has arrived is delivered: this one is on its way meanwhile.
    if (this.#paused || this.#room.arrivedBytes <= MAX_ARRIVED_BYTES) return;
    this.#paused = true;
    this.#shared.order.pause();
  }

  /** Hands it to the room, in several pieces where it is more than the room delivers in one turn. */
  #arrive(frames: Frames, sent: Queued<Message, Tracked<Message, Data>>[]): void {
    const { messages: most } = this.#room.batchBounds();
    for (let from = 0; from < frames.ends.length; from += most) {
      const piece = cut(frames, from, from + most);
      const own = sent.slice(from, from + most);
      this.#room.arrive({
        ...piece,
        payloadBytes: payloadBytesOf(piece),
        origins: this.#echo || own.length === 0
          ? null
          : own.map(({ sender, bytes }) => ({ sender, bytes })),
      }, own.length);
    }
  }
}

/** Cuts out the messages from one index up to another, without a copy of their frames. */
function cut({ frames, ends }: Frames, from: number, to: number): Frames {
  if (from === 0 && to >= ends.length) return { frames, ends };
  const start = from === 0 ? 0 : ends[from - 1];
  const kept = ends.slice(from, to);
  return {
    frames: frames.subarray(start, kept.at(-1)),
    ends: kept.map((end) => end - start),
  };
}

/** Sums up the payloads of frames: a head is longer where the payload is (RFC 6455 §5.2). */
function payloadBytesOf({ frames, ends }: Frames): number {
  let bytes = frames.length, from = 0;
  for (const to of ends) {
    const length = frames[from + 1];
    bytes -= length < 126 ? 2 : length === 126 ? 4 : 10;
    from = to;
  }
  return bytes;
}
