/**
 * What the relay asks of a transport: listen, upgrade, and turn sockets into members.
 *
 * @module
 */

import type { Hub } from "../hub.ts";
import type { Listener } from "../listener.ts";

export type { Listener } from "../listener.ts";

/** A certificate and its key, both PEM text. */
export interface Certificate {
  /** The certificate chain, the server's own certificate first. */
  readonly cert: string;
  /** The private key of the first certificate. */
  readonly key: string;
}

/** What a transport listens with. */
export interface ListenOptions<Message, Data> {
  /** The hub that open clients join. */
  readonly hub: Hub<Message, Data>;
  /** The address to bind, for example `0.0.0.0`. */
  readonly hostname: string;
  /** The port to bind; 0 takes a free one. */
  readonly port: number;
  /** Given: TLS. */
  readonly certificate?: Certificate;
  /** A client that is silent is pinged after half of this time and dropped after all of it. */
  readonly idleTimeoutSeconds: number;
  /** How many clients may be connected. */
  readonly maxConnections: number;
  /** Tells whether a shutdown has begun. */
  draining(): boolean;
}

/** One way to carry WebSockets. */
export interface Transport<Message, Data> {
  /** Turns the messages of one batch into the pieces that a connection writes, in order. */
  encode(messages: Message[]): readonly Data[];
  /** How many deliveries one batch may come to: what this transport manages without holding up others. */
  readonly maxBatchDeliveries: number;
  /**
   * Binds the port and begins to admit clients.
   *
   * @throws {Deno.errors.AddrInUse} If the port is taken, and other errors of the platform.
   */
  listen(options: ListenOptions<Message, Data>): Listener;
}
