/**
 * The reading of a stream: message after message, over one consumer after the other.
 *
 * @module
 */

import type { StreamInfo } from "@nats-io/jetstream";
import { pause } from "../lib/timeout.ts";
import { Consumer } from "./consumer.ts";
import type { Session } from "./session.ts";
import { areTwo, endsAt, findLoss, holds, type Loss, type Place } from "./stream.ts";

/** How often it is seen whether a consumer that tells nothing misses something, in milliseconds. */
const WATCH_MILLISECONDS = 1500;

/** The time of a message that was gone before reading began; one of that number can only be another one. */
const GONE = "gone";

/** What a reader tells; no method may throw. */
export interface ReaderListener {
  /**
   * Takes the message that follows the one before.
   *
   * @param time When the servers took it in, in nanoseconds.
   */
  receive(sequence: number, time: string, payload: Uint8Array): void;
  /** Is told that the stream has to be compared with what was read, before reading goes on. */
  broke(why: string): void;
}

/** Reads a stream from a position on, and never past a message that is missing. */
export class Reader {
  readonly #stream: string;
  readonly #listener: ReaderListener;
  #place: Place;
  #jumpedTo = 0; // The first message that came although others were missing before it.
  #differs = false; // Whether the stream has another message under a number that is known.
  #toCompare = false; // Whether the last message that was read is to come once more.
  #consumer: Consumer | null = null;
  #paused = false;

  /** Begins behind a place. */
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
   * Compares the stream with what was read.
   *
   * @param stored The number of a message that the stream is known to have taken in; 0 if there is none.
   */
  findLoss(info: StreamInfo, stored: number): Loss | null {
    const noticed = { jumpedTo: this.#jumpedTo, differs: this.#differs };
    return findLoss(info, this.#place, { ...noticed, stored });
  }

  /** Gives up what is missing, and reads on behind a place. */
  skipTo(place: Place): void {
    this.#place = place;
    this.#jumpedTo = 0;
    this.#differs = false;
  }

  /**
   * Opens a consumer that is silent until {@link Reader.begin}. It begins with the last message that was read,
   * as long as that is there, to see that it is still the same one: a stream that lost its end, and has grown
   * since, has the same numbers.
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

  /** Hands over what has come and what will come. */
  begin(): void {
    this.#consumer!.begin();
  }

  /** Lets the server hold back what follows the next few MiB. */
  pause(): void {
    this.#paused = true;
    this.#consumer?.pause();
  }

  /** Lets the server go on. */
  resume(): void {
    this.#paused = false;
    this.#consumer?.resume();
  }

  /** Closes the consumer, if there is one. */
  close(): void {
    this.#consumer?.close();
    this.#consumer = null;
  }

  /** Takes note that the stream has another message under a number that is known, and reads no further. */
  doubt(): void {
    this.#differs = true;
    this.close();
    this.#listener.broke("the stream has lost its end");
  }

  /** Returns once nothing came for a while although the stream holds more, whatever the consumer says. */
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
