/**
 * The path of messages through an order that several relays share. Accepted messages go out in batches,
 * one at a time. The batches that come back, this relay's and those of others, are delivered.
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
 * The arrived bytes over which the shared order is paused until some have been delivered. With one room,
 * this holds the senders back. With several, rooms that wait for a slow member must move on before.
 */
const MAX_ARRIVED_BYTES = { oneRoom: 8 * 1024 * 1024, rooms: 64 * 1024 * 1024 };

/** The messages of one room that are under way. */
interface Parcel<Message, Data> {
  readonly room: Room<Message, Data>;
  readonly sent: readonly Queued<Message, Author<Message, Data>>[];
}

/** The options of {@link Courier}. */
export interface CourierOptions<Message, Data> {
  /** The shared order and how messages are encoded for it. */
  readonly shared: SharedOrder<Message, Data>;
  /** Whether a sender receives its own messages. */
  readonly echo: boolean;
  /** The rooms by name, all with a {@link SharedSource}. */
  readonly rooms: ReadonlyMap<string, Room<Message, Data>>;
  /** Creates a room for messages that arrive for a room without members; `null` to drop them. */
  open: ((name: string) => Room<Message, Data>) | null;
  /** The total of arrived messages in all rooms. */
  readonly arrived: Sum;
  /** Schedules a turn for a room. */
  wake(room: Room<Message, Data>): void;
}

/** Carries messages from rooms to the shared order and back. */
export class Courier<Message, Data> {
  readonly #options: CourierOptions<Message, Data>;
  readonly #tally: Tally;
  readonly #waiting = new Set<Room<Message, Data>>(); // In the order in which they are served.
  #underway: Parcel<Message, Data>[] | null = null;
  #paused = false;

  /** Creates a courier with nothing under way. */
  constructor(options: CourierOptions<Message, Data>, tally: Tally) {
    this.#options = options;
    this.#tally = tally;
  }

  /** Notes that a room has queued messages. */
  collect(room: Room<Message, Data>): void {
    this.#waiting.add(room);
  }

  /** Sends queued messages if nothing is under way, and resumes the shared order if there is space. */
  turn(): void {
    if (this.#paused && this.#options.arrived.bytes < this.#maxArrivedBytes / 2) {
      this.#paused = false;
      this.#options.shared.order.resume();
    }
    this.#send();
  }

  /** Accepts the next batch of the order; `time` is when it got its place, in milliseconds. */
  arrive(batch: Batch, own: boolean, time: number): void {
    const { rooms, open, arrived, shared } = this.#options;
    const parcels = own ? this.#underway! : [];
    if (own) this.#underway = null;
    batch.forEach((section, i) => {
      const parcel = parcels.at(i);
      const room = parcel?.room ?? rooms.get(section.room) ?? open?.(section.room);
      if (room) this.#arrive(room, section, parcel?.sent ?? [], time);
    });
    this.#send(); // Before this batch is delivered, so that the next one travels meanwhile.
    if (this.#paused || arrived.bytes <= this.#maxArrivedBytes) return;
    this.#paused = true;
    shared.order.pause();
  }

  /** Discards the batch that is under way. */
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
      if (sent.length === 0) continue; // The sender was evicted.
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
   * Takes a room's share of a batch, and of the space that earlier rooms did not use.
   *
   * @returns `null` if there is no space left.
   */
  #take(
    room: Room<Message, Data>,
    left: number,
    toServe: number,
  ): Parcel<Message, Data>["sent"] | null {
    const source = sourceOf(room), { first } = source.queue;
    if (!first) return [];
    // In the queue, a message counts for more than its payload and frame head.
    const spare = MESSAGE_BYTES - MOST_HEAD_BYTES;
    if (costOf(first) > left + spare) return null;
    return source.send({ bytes: left / toServe + spare, messages: Infinity });
  }

  /** Hands frames to a room, in several pieces if there are more than the room delivers in one turn. */
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
    if (room.size === 0 && !keeps) return source.forget(); // Not for members that join later.
    const { messages: most } = room.batchBounds();
    for (let from = 0; from < frames.ends.length; from += most) {
      const piece = cut(frames, from, from + most);
      const own = sent.slice(from, from + most);
      source.arrive({
        ...piece,
        // A view would keep the whole packet in memory for as long as the history lasts.
        frames: keeps ? piece.frames.slice() : piece.frames,
        payloadBytes: payloadBytesOf(piece),
        origins: this.#options.echo || own.length === 0 ? null : own.map(originOf),
        time,
      });
    }
  }
}

/** Returns the source of a room. All rooms of a hub have the same kind. */
function sourceOf<Message, Data>({ source }: Room<Message, Data>): SharedSource<Message, Data> {
  return source as SharedSource<Message, Data>;
}
