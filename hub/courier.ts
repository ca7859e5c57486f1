/**
 * The way of messages through an order that several relays share: what was taken in goes out in
 * batches, one at a time, and what comes back from there, with the batches of others, is delivered.
 *
 * @module
 */

import { type Author, originOf } from "./author.ts";
import type { SharedOrder } from "./options.ts";
import {
  type Batch,
  cut,
  type Frames,
  MOST_HEAD_BYTES,
  payloadBytesOf,
  type Section,
} from "./order.ts";
import { costOf, MESSAGE_BYTES, type Queued } from "./queue.ts";
import type { Room } from "./room.ts";
import type { SharedSource } from "./shared_source.ts";
import type { Sum, Tally } from "./source.ts";

/**
 * While more than this has arrived and is yet to be delivered, no more is wanted. With one room that holds
 * the senders back; with many it must not come to that before the rooms that wait for somebody move on.
 */
const MAX_ARRIVED_BYTES = { oneRoom: 8 * 1024 * 1024, rooms: 64 * 1024 * 1024 };

/** The messages of one room that are under way. */
interface Parcel<Message, Data> {
  readonly room: Room<Message, Data>;
  readonly sent: readonly Queued<Message, Author<Message, Data>>[];
}

/** What a courier knows of its hub. */
export interface CourierOptions<Message, Data> {
  /** How messages travel. */
  readonly shared: SharedOrder<Message, Data>;
  /** Whether a sender receives its own messages. */
  readonly echo: boolean;
  /** The rooms by name, all with a {@link SharedSource}. */
  readonly rooms: ReadonlyMap<string, Room<Message, Data>>;
  /** Makes a room for what nobody is there to hear; without it that is dropped. */
  open: ((name: string) => Room<Message, Data>) | null;
  /** What has arrived in all rooms. */
  readonly arrived: Sum;
  /** Gives a room a turn soon. */
  wake(room: Room<Message, Data>): void;
}

/** Takes messages from rooms to the shared order and back. */
export class Courier<Message, Data> {
  readonly #options: CourierOptions<Message, Data>;
  readonly #tally: Tally;
  readonly #waiting = new Set<Room<Message, Data>>(); // In the order in which they are served.
  #underway: Parcel<Message, Data>[] | null = null;
  #paused = false;

  /** Begins with nothing under way. */
  constructor(options: CourierOptions<Message, Data>, tally: Tally) {
    this.#options = options;
    this.#tally = tally;
  }

  /** Takes note that something is queued in a room. */
  collect(room: Room<Message, Data>): void {
    this.#waiting.add(room);
  }

  /** Sends out what is queued, if nothing is under way, and asks for more if there is space for it. */
  turn(): void {
    if (this.#paused && this.#options.arrived.bytes < this.#maxArrivedBytes / 2) {
      this.#paused = false;
      this.#options.shared.order.resume();
    }
    this.#send();
  }

  /** Takes in the next batch of the order, which got its place at a time in milliseconds. */
  arrive(batch: Batch, own: boolean, time: number): void {
    const { rooms, open, arrived, shared } = this.#options;
    const parcels = own ? this.#underway! : [];
    if (own) this.#underway = null;
    batch.forEach((section, i) => {
      const parcel = parcels.at(i);
      const room = parcel?.room ?? rooms.get(section.room) ?? open?.(section.room);
      if (room) this.#arrive(room, section, parcel?.sent ?? [], time);
    });
    this.#send(); // Before what has arrived is delivered: this one is on its way meanwhile.
    if (this.#paused || arrived.bytes <= this.#maxArrivedBytes) return;
    this.#paused = true;
    shared.order.pause();
  }

  /** Forgets the batch that is under way. */
  giveUp(): void {
    for (const { room, sent } of this.#underway ?? []) sourceOf(room).landed(sent.length);
    this.#underway = null;
  }

  get #maxArrivedBytes(): number {
    return this.#options.rooms.size > 1 ? MAX_ARRIVED_BYTES.rooms : MAX_ARRIVED_BYTES.oneRoom;
  }

  #send(): void {
    if (this.#underway || this.#waiting.size === 0) return;
    const { order, pack } = this.#options.shared;
    const batch: Section[] = [], parcels: Parcel<Message, Data>[] = [];
    let left = order.maxBatchBytes, toServe = this.#waiting.size;
    for (const room of [...this.#waiting]) {
      const sent = this.#take(room, left, toServe--);
      if (sent === null) break;
      this.#waiting.delete(room);
      const source = sourceOf(room);
      if (source.queue.length > 0) this.#waiting.add(room);
      if (sent.length === 0) continue; // They were of one who was sent away.
      const frames = pack(sent.map(({ message }) => message));
      batch.push({ room: room.name, ...frames });
      parcels.push({ room, sent });
      left -= frames.frames.length + order.sectionBytes;
    }
    if (batch.length === 0) return;
    this.#underway = parcels;
    order.append(batch);
  }

  /**
   * Takes a room's share of a batch, and of what earlier rooms have left of theirs.
   *
   * @returns `null` if there is no space any more.
   */
  #take(
    room: Room<Message, Data>,
    left: number,
    toServe: number,
  ): Parcel<Message, Data>["sent"] | null {
    const source = sourceOf(room), { first } = source.queue;
    if (!first) return [];
    // A message counts more in the queue than the head of its frame, unless it is the only one.
    const spare = MESSAGE_BYTES - MOST_HEAD_BYTES;
    if (costOf(first) > left + spare) return null;
    return source.send({ bytes: left / toServe + spare, messages: Infinity });
  }

  /** Hands it to the room, in several pieces where it is more than the room delivers in one turn. */
  #arrive(
    room: Room<Message, Data>,
    frames: Frames,
    sent: Parcel<Message, Data>["sent"],
    time: number,
  ): void {
    const source = sourceOf(room);
    source.landed(sent.length);
    this.#tally.messages += sent.length;
    for (const { sender, bytes } of sent) {
      this.#tally.receivedBytes += bytes;
      sender.placed();
    }
    this.#options.wake(room);
    const keeps = this.#options.open !== null;
    if (room.size === 0 && !keeps) return source.forget(); // Who joins later must hear nothing from before.
    const { messages: most } = room.batchBounds();
    for (let from = 0; from < frames.ends.length; from += most) {
      const piece = cut(frames, from, from + most);
      const own = sent.slice(from, from + most);
      source.arrive({
        ...piece,
        // A copy, where it is kept: else what came in the same packet is kept with it.
        frames: keeps ? piece.frames.slice() : piece.frames,
        payloadBytes: payloadBytesOf(piece),
        origins: this.#options.echo || own.length === 0 ? null : own.map(originOf),
        time,
      });
    }
  }
}

/** All rooms of a hub are of one kind. */
function sourceOf<Message, Data>({ source }: Room<Message, Data>): SharedSource<Message, Data> {
  return source as SharedSource<Message, Data>;
}
