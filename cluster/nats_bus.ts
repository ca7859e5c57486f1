/**
 * The bus over successive connections to NATS. It publishes batches, continues to read where it stopped
 * after each accident, and reports missing messages.
 *
 * @module
 */

import type { StreamInfo } from "@nats-io/jetstream";
import { type ConnectionOptions, nanos } from "@nats-io/transport-node";
import type { Batch } from "../hub.ts";
import { log } from "../lib/log.ts";
import { pause } from "../lib/timeout.ts";
import type { Bus, BusListener, BusState, BusStats } from "./bus.ts";
import { explain } from "./explain.ts";
import { Flight } from "./flight.ts";
import { Origins } from "./origins.ts";
import { Outbox } from "./outbox.ts";
import { Reader } from "./reader.ts";
import { engineOf, type ServerSettings, Session } from "./session.ts";
import { Standing } from "./standing.ts";
import {
  endOf,
  ensureStream,
  findLasting,
  type Loss,
  type Place,
  type StreamSettings,
} from "./stream.ts";
import {
  type Envelope,
  OVERHEAD_BYTES,
  randomOrigin,
  read,
  SECTION_OVERHEAD_BYTES,
  VERSION,
} from "./wire.ts";

/** The section `cluster` of a configuration that has servers. */
export interface ClusterSettings extends ServerSettings, StreamSettings {
  /** How long NATS may be unreachable before the bus is lost, in seconds. */
  readonly patience_seconds: number;
}

/** The most bytes of a NATS message besides its payload: its headers, with the longest names. */
const HEADER_BYTES = 256;

/** The pause before a failed operation is tried again. */
const RETRY_MILLISECONDS = 100;

/** Returns how many bytes of frames fit into one message of the server. */
export function maxBatchBytesOf({ connection }: Session): number {
  return connection.info!.max_payload - HEADER_BYTES - OVERHEAD_BYTES;
}

/** A reason to check the stream again over the same connection, which is not an error by itself. */
class Interruption extends Error {}

/** The implementation of {@link Bus} for NATS. */
export class NatsBus implements Bus {
  readonly engine: string;
  readonly maxBatchBytes: number;
  readonly sectionBytes = SECTION_OVERHEAD_BYTES;
  readonly #settings: ClusterSettings;
  readonly #options: ConnectionOptions;
  readonly #stopping = new AbortController();
  readonly #origin = randomOrigin();
  readonly #outbox = new Outbox();
  readonly #origins = new Origins();
  readonly #stats = { batches: { in: 0, out: 0 }, bytes: { in: 0, out: 0 }, gaps: 0 };
  #listener: BusListener | null = null;
  #session: Promise<Session>;
  #running: Promise<void> | undefined;
  readonly #reader: Reader;
  #open: Session | null = null; // The connection for publishing, after the stream was checked.
  #flight: Flight | null = null;
  #window = 0; // The servers' duplicate window in milliseconds.
  #publishAt = 0; // The number of the message that has to be read before the flight is published.
  #appended = 0;
  readonly #standing: Standing; // Ahead of #state while the outbox is paused.
  #state: BusState = "connected"; // The state that was last reported to the listener.
  #complaint = ""; // The last problem that was logged; empty after a recovery.
  #recheck: (why: string) => void = () => {};

  #present: Place; // The end of the stream on connecting.
  #shortened = false;
  readonly #caughtUp = Promise.withResolvers<void>();

  /** Takes over a connection. Reading begins after `past`; `end` is the end of the stream at this time. */
  constructor(
    settings: ClusterSettings,
    options: ConnectionOptions,
    session: Session,
    { past, end }: { readonly past: Place; readonly end: Place },
  ) {
    this.#present = end;
    this.engine = engineOf(settings);
    this.#settings = settings;
    this.#options = options;
    this.#standing = new Standing(settings.patience_seconds, (state) => this.#tell(state));
    this.#session = Promise.resolve(session);
    this.#reader = new Reader(settings.name, past, {
      receive: (sequence, time, payload) => this.#receive(sequence, time, payload),
      broke: (why) => this.#recheck(why),
    });
    this.maxBatchBytes = maxBatchBytesOf(session);
  }

  get state(): BusState {
    return this.#state;
  }

  stats(): BusStats {
    const { batches, bytes, gaps } = this.#stats;
    return { batches: { ...batches }, bytes: { ...bytes }, gaps };
  }

  start(listener: BusListener): Promise<void> {
    this.#listener = listener;
    this.#running = this.#run();
    return this.#caughtUp.promise;
  }

  append(batch: Batch): void {
    if (this.#flight) throw new Error("Cannot append a batch: the one before is not there yet");
    this.#flight = new Flight({ origin: this.#origin, number: ++this.#appended, batch });
    if (this.#open) this.#publish(this.#flight, this.#open);
  }

  pause(): void {
    this.#outbox.pause();
    this.#reader.pause();
  }

  resume(): void {
    this.#outbox.resume();
    if (!this.#outbox.paused) this.#reader.resume();
  }

  async stop(): Promise<void> {
    this.#outbox.close();
    this.#halt();
    await this.#running;
    await this.#session.then((session) => session.ended, () => {});
  }

  #halt(): void {
    this.#stopping.abort(new Error("the bus stops"));
    this.#standing.settle();
    this.#reader.close();
    this.#session.then((session) => session.close(), () => {});
  }

  get #stopped(): boolean {
    return this.#stopping.signal.aborted;
  }

  /** Serves one connection after another. */
  async #run(): Promise<void> {
    while (!this.#stopped) {
      try {
        await this.#serve(await this.#session);
      } catch (error) {
        this.#complain(error);
        await pause(RETRY_MILLISECONDS, this.#stopping.signal);
      }
      if (this.#stopped) return;
      this.#standing.become("reconnecting");
      this.#session = Session.open(this.#options, this.#stopping.signal);
    }
  }

  /** Reads the stream over one connection until the connection ends. */
  async #serve(session: Session): Promise<void> {
    while (!session.closed) {
      const broke = Promise.withResolvers<never>(), over = new AbortController();
      broke.promise.catch(() => {});
      this.#recheck = (why) => broke.reject(new Interruption(why));
      try {
        await this.#goOn(session, broke.promise);
        this.#complaint = "";
        await session.during(
          Promise.race([broke.promise, this.#reader.watch(session, over.signal)]),
        );
      } catch (error) {
        if (session.closed) break;
        if (!(error instanceof Interruption)) this.#complain(error);
        await pause(RETRY_MILLISECONDS, this.#stopping.signal);
      } finally {
        over.abort();
        this.#standing.become("reconnecting");
        this.#reader.close();
        this.#open = null;
      }
    }
  }

  /**
   * Continues reading where it stopped, and reports missing messages.
   *
   * @param broke Rejects when this has to start over.
   */
  async #goOn(session: Session, broke: Promise<never>): Promise<void> {
    const stored = this.#flight?.sequence ?? 0; // As known before the stream reports its end.
    const info = await session.during(ensureStream(session, this.#settings));
    const loss = this.#reader.findLoss(info, stored);
    if (loss?.anew) {
      this.#origins.clear(); // Everything in the stream has to be delivered from now on.
      this.#flight?.doubt();
    }
    this.#window = info.config.duplicate_window / nanos(1);
    this.#open = session;
    this.#publishAt = 0;
    const lostOwn = this.#flight && loss && this.#flight.isDoubtful(this.#window);
    if (lostOwn) this.#flight!.abandon();
    else if (this.#flight) this.#goOnPublishing(this.#flight, session, endOf(info));
    if (loss) {
      const tellOwn = await this.#findOwn(loss, session, broke);
      const shortens = this.#isPast && !loss.anew && !this.#shortened;
      if (shortens) this.#shorten(info);
      else this.#reader.skipTo(loss.next);
      if (lostOwn) this.#loseOwn(loss.why);
      else if (!shortens || this.#stats.batches.in > 0) this.#lose(loss.why, tellOwn);
    }
    await this.#reader.open(session);
    if (this.#flight && this.#publishAt === 0) {
      await this.#stored(this.#flight, session, broke); // Otherwise nothing gets through yet.
    }
    this.#standing.become("connected");
    this.#reader.begin();
    this.#noticePresent();
  }

  /** Skips a part of the past, at most once, because the stream can lose it while the relay starts. */
  #shorten(info: StreamInfo): void {
    this.#shortened = true;
    this.#reader.skipTo(findLasting(info));
    this.#present = endOf(info);
  }

  /** Whether the next message is from before this relay connected. */
  get #isPast(): boolean {
    const { created, sequence } = this.#reader.place;
    return created === this.#present.created && sequence < this.#present.sequence;
  }

  /** Reports once when the whole past has been read. */
  #noticePresent(): void {
    if (this.#isPast) return;
    this.#outbox.push(() => this.#caughtUp.resolve());
  }

  /**
   * Publishes the batch that is under way. If the servers might not recognise it as a duplicate, the stream
   * is first read to its end to find out whether it contains the batch.
   */
  #goOnPublishing(flight: Flight, session: Session, end: Place): void {
    if (!flight.isDoubtful(this.#window)) this.#publish(flight, session);
    else if (end.sequence > this.#reader.place.sequence) this.#publishAt = end.sequence;
    else this.#publishAnew(flight, session);
  }

  /** Publishes a batch that the stream certainly does not hold. */
  #publishAnew(flight: Flight, session: Session): void {
    flight.forget();
    this.#publish(flight, session);
  }

  /** Waits until the stream has a batch, and returns the number of its message. */
  #stored(flight: Flight, session: Session, broke: Promise<never>): Promise<number> {
    return session.during(Promise.race([flight.stored, broke]));
  }

  /** Finds this relay's batch among the missing messages, and returns a function that delivers it. */
  async #findOwn(
    { next }: Loss,
    session: Session,
    broke: Promise<never>,
  ): Promise<(() => void) | undefined> {
    const flight = this.#flight;
    if (!flight || flight.received) return;
    const sequence = await this.#stored(flight, session, broke);
    if (sequence <= next.sequence) return this.#land(flight, sequence);
  }

  #publish(flight: Flight, session: Session): void {
    const stream = { name: this.#settings.name, window: this.#window };
    flight.publish(session, stream, (error) => {
      const gone = (error as Error | null)?.name === "JetStreamNotEnabled"; // The error for a lost stream.
      if (error && !gone) this.#complain(error);
      this.#recheck("publishing failed");
    });
  }

  #receive(sequence: number, time: string, payload: Uint8Array): void {
    this.#stats.batches.in++;
    this.#stats.bytes.in += payload.length;
    const past = sequence <= this.#present.sequence;
    this.#takePayload(payload, sequence, past ? ageOf(time) : 0);
    if (sequence === this.#present.sequence) this.#noticePresent();
    const flight = this.#flight;
    if (flight && !flight.received && flight.sequence === sequence) return this.#reader.doubt();
    if (this.#publishAt === 0 || sequence < this.#publishAt) return;
    this.#publishAt = 0;
    if (flight && !flight.received && this.#open) this.#publishAnew(flight, this.#open);
  }

  #takePayload(payload: Uint8Array, sequence: number, ageMilliseconds: number): void {
    const reading = read(payload, (room) => this.#listener!.wants(room));
    switch (reading.kind) {
      case "batch":
        return this.#take(reading, sequence, ageMilliseconds);
      case "unreadable":
        return this.#lose(`message ${sequence} of the stream cannot be read: ${reading.why}`);
      case "unknown version":
        return this.#giveUp(reading.version);
    }
  }

  #take({ origin, number, batch }: Envelope, sequence: number, ageMilliseconds: number): void {
    if (this.#origins.saw(origin, number)) return;
    const flight = this.#flight;
    if (origin !== this.#origin || flight?.number !== number) {
      this.#outbox.push(() => this.#listener!.deliver(batch, false, ageMilliseconds));
    } else {
      this.#outbox.push(this.#land(flight, sequence));
    }
  }

  /** Records that a batch has its place, and returns a function that delivers it. */
  #land(flight: Flight, sequence: number): () => void {
    flight.arrive(sequence);
    this.#origins.saw(this.#origin, flight.number);
    this.#stats.batches.out++;
    this.#stats.bytes.out += flight.payload.length;
    return this.#end(flight);
  }

  #end(flight: Flight): () => void {
    return () => {
      this.#flight = null;
      this.#listener!.deliver(flight.batch, true, 0);
    };
  }

  /**
   * Reports a loss.
   *
   * @param tellOwn Delivers this relay's batch if it is among the missing messages. Both happen in one
   * step, so that no client receives the batch after it has missed the messages before it.
   */
  #lose(why: string, tellOwn?: () => void): void {
    this.#stats.gaps++;
    this.#outbox.push(() => {
      tellOwn?.();
      this.#listener!.lost(why, false);
    });
  }

  /** Reports a loss after which it is unknown whether the batch under way ever had a place. */
  #loseOwn(why: string): void {
    this.#stats.gaps++;
    this.#outbox.push(() => {
      this.#flight = null;
      this.#listener!.lost(why, true);
    });
  }

  /** Stops serving, because messages of a newer relay cannot be read and must not be skipped. */
  #giveUp(version: number): void {
    log.error(
      "A relay of this cluster writes version {version} of the wire format, and this one reads only " +
        "{known}; update this relay, which serves nobody until then",
      { version, known: VERSION },
    );
    this.#lose(`version ${version} of the wire format`);
    this.#standing.become("lost");
    this.#halt();
  }

  #tell(state: BusState): void {
    this.#outbox.push(() => {
      this.#state = state;
      this.#listener!.stateChanged(state);
    });
  }

  /** Logs a problem with NATS, but not the same one repeatedly. */
  #complain(error: unknown): void {
    const reason = explain(error, this.#settings);
    if (this.#stopped || reason === this.#complaint) return;
    this.#complaint = reason;
    log.warn("{reason}; trying again", { reason });
  }
}

/** Returns the age of a message in milliseconds. The servers' clock may be ahead, so it is at least 0. */
function ageOf(time: string): number {
  return Math.max(0, Date.now() - Number(BigInt(time) / 1_000_000n));
}
