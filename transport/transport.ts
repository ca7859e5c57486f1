/**
 * The contract of a transport: it listens, upgrades requests, and turns sockets into members.
 *
 * @module
 */

import type { Peer, Seat } from "../admission/admission.ts";
import type { Refusal, Rejection } from "../admission/decision.ts";
import type { HandshakeRequest } from "../admission/handshake.ts";
import type { Encoded, Frames, Membership } from "../hub.ts";
import type { Address, Listener } from "../lib/listener.ts";
import type { Certificate } from "./certificate.ts";

export type { Address, Listener, TcpAddress } from "../lib/listener.ts";
export type { Certificate } from "./certificate.ts";

/** An answer to a request that does not join. */
export type Answer = Omit<Refusal, "reason">;

/** The options of {@link Transport.listen}. */
export interface ListenOptions<Message, Data> {
  /**
   * Admits a request, or returns the answer to send instead: a refusal, which is counted and logged, or that of a
   * health check. If it is a promise, the client may have gone by then, and its seat has to be released.
   */
  admit(request: HandshakeRequest, peer: Peer | null): Seat | Answer | Promise<Seat | Answer>;
  /** Counts a request that could not even be read. */
  countRejection(reason: Rejection): void;
  /** The hub's side of an open client: join, publish, leave; and of a message by `POST`. */
  readonly members: Membership<Message, Data>;
  /** Where to listen. */
  readonly address: Address;
  /** The certificate, for TLS; `null` for none, as on a Unix socket. */
  readonly certificate: Certificate | null;
  /** A silent client is pinged after half of this time and evicted after all of it. */
  readonly idleTimeoutSeconds: number;
  /** How long a connection may take to become a WebSocket. Default: the transport's own, if it has one. */
  readonly handshakeTimeoutSeconds?: number;
  /** The largest message; a transport may refuse a larger one itself. */
  readonly maxMessageBytes: number;
  /** How many files the process may open; `null` if that is unknown. */
  readonly maxDescriptors: number | null;
}

/** One way to carry WebSockets. */
export interface Transport<Message, Data> {
  /** Turns the messages of one batch into the pieces that a connection writes. */
  encode(messages: Message[]): Encoded<Data>;
  /** Turns messages into frames, for the relays of a cluster. */
  pack(messages: readonly Message[]): Frames;
  /** Turns such frames into the pieces that a connection writes. */
  unpack(frames: Frames): Encoded<Data>;
  /** The largest number of deliveries per batch that does not hold up others on this transport. */
  readonly maxBatchDeliveries: number;
  /** How many file descriptors the process needs in addition to those of its clients. */
  readonly spareDescriptors: number;
  /**
   * Binds the address and begins to admit clients.
   *
   * @throws {Error} If the platform cannot; `code` is `EADDRINUSE` if the port is taken.
   */
  listen(options: ListenOptions<Message, Data>): Promise<TransportListener>;
}

/** A listening transport. */
export interface TransportListener extends Listener {
  /** Serves new connections with another certificate; absent if only a restart can do that. */
  replaceCertificate?(certificate: Certificate): void;
}
