/**
 * The reader of a stream, which reads message after message through one consumer after another.
 *
 * @module
 */

import type { StreamInfo } from "@nats-io/jetstream";
import { pause } from "../lib/timeout.ts";
import { Consumer } from "./consumer.ts";
import type { Session } from "./session.ts";
import { areTwo, endsAt, findLoss, holds, type Loss, type Place } from "./stream.ts";

/** How often a silent consumer is compared with the stream. */
const WATCH_MILLISECONDS = 1500;

/** The time of a message that had expired before reading began. It equals no message's real time. */
const GONE = "gone";

/** The listener of a reader. No method may throw. */
export interface ReaderListener {
  /**
   * Called with the message that follows the previous one.
   *
   * @param time When the servers stored the message, in nanoseconds of Unix time.
   */
  receive(sequence: number, time: string, payload: Uint8Array): void;
  /** Called when the stream has to be compared with the messages read so far before reading continues. */
  broke(why: string): void;
}

/** Reads a stream from a position on, but never past a missing message. */
export class Reader {
  readonly #stream: string;
  readonly #listener: ReaderListener;
  #place: Place;
  #jumpedTo = 0; // The first message that came although others before it were missing.
  #differs = false; // Whether the stream has another message under a known number.
  #toCompare = false; // Whether the last message that was read will come once more.
  #consumer: Consumer | null = null;
  #paused = false;

  /** Creates a reader that begins after a place. */
  constructor(stream: string, place: Place, listener: ReaderListener) {
    this.#stream = stream;
    this.#place = place;
    this.#listener = listener;
  }

  /** The place up to which everything was read. */
  get place(): Place {
    return this.#place;
  }

  /**
   * Compares the stream with the messages read so far.
   *
   * @param stored The number of a message that the stream is known to have stored; 0 if there is none.
   */
  findLoss(info: StreamInfo, stored: number): Loss | null {
    const noticed = { jumpedTo: this.#jumpedTo, differs: this.#differs };
    return findLoss(info, this.#place, { ...noticed, stored });
  }

  /** Gives up missing messages and continues after a place. */
  skipTo(place: Place): void {
    this.#place = place;
    this.#jumpedTo = 0;
    this.#differs = false;
  }

  /**
   * Opens a consumer that delivers nothing until {@link Reader.begin}. It starts with the last message that
   * was read, if that still exists, to check that it is the same one. A stream that lost its end and has
   * grown since uses the same numbers again.
   */
  async open(session: Session): Promise<void> {
    const { sequence } = this.#place;
    this.#consumer = await Consumer.open(session, this.#stream, Math.max(1, sequence), {
      receive: (sequence, time, payload) => this.#receive(sequence, time, payload),
      broke: (why) => this.#listener.broke(why),
    });
    const info = await session.during(session.manager.streams.info(this.#stream));
    if (findLoss(info, this.#place)) throw new Error("the stream changed at this moment");
    this.#toCompare = holds(info.state, sequence);
    if (sequence > 0 && !this.#toCompare) {
      this.#place = { ...this.#place, time: this.#place.time ?? GONE };
    }
    if (this.#paused) this.#consumer.pause();
  }

  /** Starts delivering, with the messages that have arrived already. */
  begin(): void {
    this.#consumer!.begin();
  }

  /** Lets the server pause after the next few MiB. */
  pause(): void {
    this.#paused = true;
    this.#consumer?.pause();
  }

  /** Lets the server continue. */
  resume(): void {
    this.#paused = false;
    this.#consumer?.resume();
  }

  /** Closes the consumer, if there is one. */
  close(): void {
    this.#consumer?.close();
    this.#consumer = null;
  }

  /** Notes that the stream has another message under a known number, and stops reading. */
  doubt(): void {
    this.#differs = true;
    this.close();
    this.#listener.broke("the stream has lost its end");
  }

  /** Returns when nothing has arrived for a while although the stream holds more messages. */
  async watch(session: Session, signal: AbortSignal): Promise<void> {
    let suspected: Place | null = null;
    while (!signal.aborted) {
      const place = this.#place;
      await pause(WATCH_MILLISECONDS, signal);
      if (signal.aborted || place !== this.#place || this.#paused) continue;
      if (endsAt(await session.during(session.manager.streams.info(this.#stream)), place)) continue;
      if (place === this.#place && suspected === place) return;
      suspected = place;
    }
  }

  #receive(sequence: number, time: string, payload: Uint8Array): void {
    const { created, sequence: last } = this.#place;
    if (sequence === last) return this.#compare(time);
    if (sequence !== last + 1 || this.#toCompare) {
      this.#jumpedTo ||= sequence;
      return this.#listener.broke("messages are missing");
    }
    this.#place = { created, sequence, time };
    this.#listener.receive(sequence, time, payload);
  }

  #compare(time: string): void {
    this.#toCompare = false;
    if (areTwo(this.#place.time, time)) this.doubt();
    else this.#place = { ...this.#place, time };
  }
}
