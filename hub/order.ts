/**
 * The contract between the hub and what decides the order when several relays act as one.
 *
 * Alone, the hub itself decides it. In a cluster the hub hands over what came in, in batches, and
 * is handed the batches of all relays, its own included, in the one order of the cluster.
 *
 * @module
 */

/** The most bytes that the head of a server's frame takes (RFC 6455 §5.2). */
export const MOST_HEAD_BYTES = 10;

/** Messages as WebSocket frames of a server: whole, unmasked, one after the other (RFC 6455 §5.2). */
export interface Frames {
  /** The bytes. */
  readonly frames: Uint8Array;
  /** Where in them the frame of each message ends. */
  readonly ends: readonly number[];
}

/** The messages of one room as they travel between relays. */
export interface Section extends Frames {
  /** The room. */
  readonly room: string;
}

/** What one relay puts into the order in one go: at most one section for each room. */
export type Batch = readonly Section[];

/** Decides the order of batches among relays. */
export interface Order {
  /** The bytes of frames that a batch with one section may hold. */
  readonly maxBatchBytes: number;
  /** How many bytes less that are for each section more. */
  readonly sectionBytes: number;
  /**
   * Puts a batch into the order, however long that takes and however often it has to be tried. It is
   * there once {@link Ordered.deliver} was called with it, as the relay's own; no other may be
   * appended before.
   */
  append(batch: Batch): void;
  /** Stops deliveries soon: the hub holds enough that it could not pass on yet. */
  pause(): void;
  /** Lets deliveries go on. */
  resume(): void;
}

/** The hub's side of the order. */
export interface Ordered {
  /** Tells whether messages of a room are of use here; else a batch may be delivered without them. */
  wants(room: string): boolean;
  /**
   * Takes the next batch of the order.
   *
   * @param own Whether it is the one that this relay appended.
   * @param ageMilliseconds How long ago it got its place in the order, if that is not just now.
   */
  deliver(batch: Batch, own: boolean, ageMilliseconds: number): void;
}

/** Cuts out the messages from one index up to another, without a copy of their frames. */
export function cut({ frames, ends }: Frames, from: number, to: number): Frames {
  if (from === 0 && to >= ends.length) return { frames, ends };
  const start = from === 0 ? 0 : ends[from - 1];
  const kept = ends.slice(from, to);
  return {
    frames: frames.subarray(start, kept.at(-1)),
    ends: kept.map((end) => end - start),
  };
}

/** Sums up the payloads of frames: a head is longer where the payload is (RFC 6455 §5.2). */
export function payloadBytesOf({ frames, ends }: Frames): number {
  let bytes = frames.length, from = 0;
  for (const to of ends) {
    const length = frames[from + 1];
    bytes -= length < 126 ? 2 : length === 126 ? 4 : 10;
    from = to;
  }
  return bytes;
}
