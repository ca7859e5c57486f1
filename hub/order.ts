/**
 * The contract between the hub and the service that decides the order of a cluster.
 *
 * A single hub decides the order itself. In a cluster, the hub hands over its accepted messages in
 * batches, and receives the batches of all relays, its own included, in the cluster's order.
 *
 * @module
 */

/** The largest size in bytes that the head of a server's frame can have (RFC 6455 §5.2). */
export const MOST_HEAD_BYTES = 10;

/** Messages as a server's WebSocket frames: unfragmented, unmasked and contiguous (RFC 6455 §5.2). */
export interface Frames {
  /** The bytes of all frames. */
  readonly frames: Uint8Array;
  /** The offset at which the frame of each message ends. */
  readonly ends: readonly number[];
}

/** The messages of one room as they travel between relays. */
export interface Section extends Frames {
  /** The room. */
  readonly room: string;
}

/** The messages that one relay appends at once, with at most one section per room. */
export type Batch = readonly Section[];

/** Decides the order of batches among relays. */
export interface Order {
  /** The bytes of frames that a batch with one section may hold. */
  readonly maxBatchBytes: number;
  /** How many bytes each further section takes from that. */
  readonly sectionBytes: number;
  /**
   * Puts a batch into the order, with as many attempts as that takes. It has its place once
   * {@link Ordered.deliver} is called with it as the relay's own. No other batch may be appended before.
   */
  append(batch: Batch): void;
  /** Stops deliveries soon, because the hub holds enough undelivered messages. */
  pause(): void;
  /** Resumes deliveries. */
  resume(): void;
}

/** The hub's side of the order. */
export interface Ordered {
  /** Tells whether this hub needs the messages of a room. If not, a batch may be delivered without them. */
  wants(room: string): boolean;
  /**
   * Accepts the next batch of the order.
   *
   * @param own Whether this relay appended it.
   * @param ageMilliseconds How long ago it got its place in the order; 0 for just now.
   */
  deliver(batch: Batch, own: boolean, ageMilliseconds: number): void;
}

/** Cuts out the messages from index `from` up to, but not including, `to`, without copying their frames. */
export function cut({ frames, ends }: Frames, from: number, to: number): Frames {
  if (from === 0 && to >= ends.length) return { frames, ends };
  const start = from === 0 ? 0 : ends[from - 1];
  const kept = ends.slice(from, to);
  return {
    frames: frames.subarray(start, kept.at(-1)),
    ends: kept.map((end) => end - start),
  };
}

/** Returns the total payload size of frames in bytes. Longer payloads have longer heads (RFC 6455 §5.2). */
export function payloadBytesOf({ frames, ends }: Frames): number {
  let bytes = frames.length, from = 0;
  for (const to of ends) {
    const length = frames[from + 1];
    bytes -= length < 126 ? 2 : length === 126 ? 4 : 10;
    from = to;
  }
  return bytes;
}
