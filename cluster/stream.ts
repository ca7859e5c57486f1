/**
 * The stream that holds the batches of a cluster: creating and checking it, and finding lost messages.
 *
 * @module
 */

import {
  AckPolicy,
  DeliverPolicy,
  DiscardPolicy,
  JetStreamApiCodes,
  JetStreamApiError,
  RetentionPolicy,
  StorageType,
  type StreamConfig,
  type StreamInfo,
} from "@nats-io/jetstream";
import { createInbox, nanos, type NatsConnection } from "@nats-io/transport-node";
import { pause } from "../lib/timeout.ts";
import type { Session } from "./session.ts";

/** The keys of the section `cluster` that say how the stream is stored. */
export interface StreamSettings {
  /** The name of the stream and of its only subject. */
  readonly name: string;
  /** Where messages are stored. */
  readonly storage: "file" | "memory";
  /** The number of servers that store them. */
  readonly replicas: number;
  /** How long they are kept, in seconds. */
  readonly retention_seconds: number;
  /** The most bytes that are kept. */
  readonly max_bytes: number;
}

/** The time within which the servers recognise duplicates, if the stream keeps messages that long. */
const DUPLICATES_SECONDS = 120;

/** The time in which relays agree on the one that creates the stream. */
const CLAIM_MILLISECONDS = 100;

/** The server's error code for a stream of this name with another configuration. */
const NAME_IN_USE = 10058;

type Kept = Pick<
  StreamConfig,
  | "subjects"
  | "storage"
  | "num_replicas"
  | "max_age"
  | "max_bytes"
  | "retention"
  | "discard"
  | "max_msgs"
  | "max_msgs_per_subject"
  | "max_msg_size"
  | "no_ack"
>;

/** The configuration key for each setting of the stream, and a function that converts to the key's unit. */
const KEYS: Partial<Record<keyof Kept, [key: string, shown: (value: never) => unknown]>> = {
  subjects: ["cluster.name", (value: string[]) => value.join(", ")],
  storage: ["cluster.storage", (value) => value],
  num_replicas: ["cluster.replicas", (value) => value],
  max_age: ["cluster.retention_seconds", (value: number) => value / nanos(1000)],
  max_bytes: ["cluster.max_bytes", (value) => value],
};

/**
 * Finds the stream, or creates it.
 *
 * @throws {Error} If it exists with other settings. The message names the differences.
 */
export async function ensureStream(
  session: Session,
  settings: StreamSettings,
): Promise<StreamInfo> {
  const { connection, manager: { streams } } = session;
  const wanted = wantedOf(settings);
  for (let chosen = false;; chosen = await isChosen(connection, settings.name)) {
    const info = await findStream(session, settings);
    if (info) return info;
    if (!chosen) continue;
    const seconds = Math.min(settings.retention_seconds, DUPLICATES_SECONDS);
    const duplicate_window = nanos(seconds * 1000);
    try {
      return await streams.add({ name: settings.name, ...wanted, duplicate_window });
    } catch (error) {
      if (!hasCode(error, NAME_IN_USE)) throw error;
    }
  }
}

/**
 * Finds the stream; `null` if there is none.
 *
 * @throws {Error} If it exists with other settings. The message names the differences.
 */
export async function findStream(
  { manager: { streams } }: Session,
  settings: StreamSettings,
): Promise<StreamInfo | null> {
  try {
    return check(await streams.info(settings.name), wantedOf(settings));
  } catch (error) {
    if (!hasCode(error, JetStreamApiCodes.StreamNotFound)) throw error;
    return null;
  }
}

/**
 * Decides among relays that miss the stream at the same time whether this one has to create it. Servers
 * before 2.10.2 create two streams of one name for simultaneous requests (nats-server #4013, #4600). One of
 * them then gets the published messages, and the other one has the consumers.
 */
async function isChosen(connection: NatsConnection, name: string): Promise<boolean> {
  const subject = `${name}.create`, mine = Math.random();
  const say = () => connection.publish(subject, `${mine}`);
  let chosen = true;
  const subscription = connection.subscribe(subject, {
    callback: (error, message) => {
      if (error) return; // Without the permission, relays create it without an agreement.
      const other = Number(message.string());
      if (other < mine) chosen = false;
      if (other > mine) say(); // The other relay may not have subscribed in time.
    },
  });
  say();
  await pause(CLAIM_MILLISECONDS);
  subscription.unsubscribe();
  return chosen;
}

function wantedOf({ name, storage, ...rest }: StreamSettings): Kept {
  return {
    subjects: [name],
    storage: storage === "file" ? StorageType.File : StorageType.Memory,
    num_replicas: rest.replicas,
    max_age: nanos(rest.retention_seconds * 1000),
    max_bytes: rest.max_bytes,
    retention: RetentionPolicy.Limits,
    discard: DiscardPolicy.Old,
    max_msgs: -1,
    max_msgs_per_subject: -1,
    max_msg_size: -1,
    no_ack: false,
  };
}

function check(info: StreamInfo, wanted: Kept): StreamInfo {
  const found: Partial<StreamConfig> = info.config;
  const differences = (Object.keys(wanted) as (keyof Kept)[]).flatMap((name) => {
    const [key, shown] = KEYS[name] ?? [name, (value: unknown) => value];
    const [want, got] = [wanted[name], found[name] ?? false].map((each) =>
      `${shown(each as never)}`
    );
    return want === got ? [] : [`${key} must be ${got} as in the stream, got ${want}`];
  });
  if (differences.length > 0) throw new StreamDiffers(info.config.name, differences);
  return info;
}

/** The error for a stream whose settings differ from the configuration. */
export class StreamDiffers extends Error {
  /** Creates an error whose message lists all differences. */
  constructor(name: string, differences: readonly string[]) {
    super(
      `stream ${name} is there with other settings: ${differences.join("; ")} ` +
        `(or delete it: nats stream rm ${name})`,
    );
    this.name = "StreamDiffers";
  }
}

function hasCode(error: unknown, code: number): boolean {
  return error instanceof JetStreamApiError && error.code === code;
}

/** A position in a stream up to which everything was read. */
export interface Place {
  /** When the stream was created, which distinguishes it from others of the same name. */
  readonly created: string;
  /** The number of the last message. */
  readonly sequence: number;
  /**
   * When the servers stored that message, in nanoseconds of Unix time. A stream that lost its end gives the
   * same numbers to other messages later. `null` if the message had expired before reading began.
   */
  readonly time: string | null;
}

/** A relay's knowledge of a stream besides its position in it. */
export interface Knowledge {
  /** The number of a message that came although others before it were missing; 0 if there was none. */
  readonly jumpedTo: number;
  /** The number that the stream gave to a message of this relay; 0 if it is not known. */
  readonly stored: number;
  /** Whether a known number turned out to belong to another message. */
  readonly differs: boolean;
}

/** Messages that are certainly missing. */
export interface Loss {
  /** The finding. */
  readonly why: string;
  /** The place after which reading continues. */
  readonly next: Place;
  /** Whether the stream is another one, or has lost its end, and so does not continue the old order. */
  readonly anew: boolean;
}

/** Returns the end of a stream. */
export function endOf({ created, state }: StreamInfo): Place {
  const { last_seq, last_ts } = state;
  const time = holds(state, last_seq) ? `${Temporal.Instant.from(last_ts).epochNanoseconds}` : null;
  return { created, sequence: last_seq, time };
}

/** Finds the place after which the messages of the last seconds begin. */
export async function findPlace(
  session: Session,
  { config, created, state }: StreamInfo,
  seconds: number,
): Promise<Place> {
  const { delivered } = await session.during(session.manager.consumers.add(config.name, {
    deliver_policy: DeliverPolicy.StartTime,
    opt_start_time: new Date(Date.now() - seconds * 1000).toISOString(),
    ack_policy: AckPolicy.None,
    deliver_subject: createInbox(),
    mem_storage: true,
    num_replicas: 1,
  })); // It only serves to find the place; the servers remove consumers without subscribers.
  const sequence = Math.min(delivered.stream_seq, state.last_seq);
  return { created, sequence, time: null };
}

/** The share of a stream, from its beginning, that may be discarded before it can be read. */
const FLEETING_SHARE = 1 / 8;

/** Finds the place after which the stream should keep all messages until they can be read. */
export function findLasting({ created, state }: StreamInfo): Place {
  const { first_seq, last_seq } = state;
  const fleeting = Math.ceil((last_seq + 1 - first_seq) * FLEETING_SHARE);
  return { created, sequence: Math.min(last_seq, first_seq - 1 + fleeting), time: null };
}

/** Tells whether a stream holds a message. */
export function holds({ first_seq, last_seq }: StreamInfo["state"], sequence: number): boolean {
  return first_seq > 0 && first_seq <= sequence && sequence <= last_seq;
}

/** Tells whether two times for one number show that there were two messages. */
export function areTwo(one: Place["time"], other: Place["time"]): boolean {
  return one !== null && other !== null && one !== other;
}

/** Tells whether a stream ends at a position, as far as its last message shows. */
export function endsAt(info: StreamInfo, { created, sequence, time }: Place): boolean {
  const end = endOf(info);
  return end.created === created && end.sequence === sequence && !areTwo(end.time, time);
}

/** Compares a stream with a position in it. A consumer would silently skip to messages that exist. */
export function findLoss(
  info: StreamInfo,
  place: Place,
  { jumpedTo = 0, stored = 0, differs = false }: Partial<Knowledge> = {},
): Loss | null {
  const { first_seq, last_seq } = info.state;
  const end = endOf(info), { created } = end, { sequence } = place;
  if (created !== place.created) {
    const next = { created, sequence: Math.max(0, first_seq - 1), time: null };
    return { why: "the stream was created again", next, anew: true };
  }
  const known = Math.max(sequence, stored);
  if (last_seq < known) {
    const why = `the stream has lost its end, ${last_seq + 1} to ${known}`;
    return { why, next: end, anew: true };
  }
  if (differs || sequence === last_seq && areTwo(end.time, place.time)) {
    return {
      why: "the stream has lost its end, and others are in its place",
      next: end,
      anew: true,
    };
  }
  const missing = Math.max(first_seq, jumpedTo) - 1;
  // Without the last message that was read, nothing shows whether the remaining ones follow it.
  const cannotTell = missing === sequence && place.time !== null && last_seq > sequence;
  if (missing <= sequence && !cannotTell) return null;
  // Reading does not continue at the first remaining message, which may have expired by then.
  return { why: describeMissing(sequence, missing), next: end, anew: false };
}

function describeMissing(sequence: number, missing: number): string {
  return missing > sequence
    ? `the stream no longer holds ${sequence + 1} to ${missing}`
    : `the stream no longer holds ${sequence}, so that nobody can tell what followed it`;
}
