/**
 * Admission: a decision about every request to join, a seat for each client that was admitted, and a
 * count of each refusal.
 *
 * @module
 */

import type { Access, Grant, Verdict } from "./access.ts";
import { TrustedProxies, UNIX } from "./client_address.ts";
import type { Config } from "../config.ts";
import {
  type AllowsOrigin,
  type Handshake,
  type HandshakeRequest,
  parseHandshake,
  type Refusal,
  refuseClient,
  refuseRequest,
  type Rejection,
  REJECTIONS,
  type RelayState,
} from "./handshake.ts";
import { log } from "../lib/log.ts";
import { Reminders } from "../lib/reminders.ts";

export type { Rejection } from "./handshake.ts";

/** The place of a client that was admitted, from then until it has left. */
export interface Seat {
  /** The client as the logs name it, for example `192.0.2.7:51034`. */
  readonly peer: string;
  /** The subprotocol to answer; `null` for none. */
  readonly subprotocol: string | null;
  /** Whether the client may send messages. */
  readonly mayTalk: boolean;
  /** When its time is over, in milliseconds of Unix time; `Infinity` for never. */
  readonly expires: number;
  /** Lets another client have the seat; calls after the first do nothing. */
  release(): void;
}

/** The other end of a TCP connection. */
export interface Peer {
  /** Its address. */
  readonly hostname: string;
  /** Its port. */
  readonly port: number;
}

/** The options of {@link Admission}. */
export interface AdmissionOptions {
  /** Origins, subprotocols and proxies. */
  readonly server: Config["server"];
  /** How many clients there may be. */
  readonly limits: Config["limits"];
  /** Judges tokens. */
  readonly access: Access;
  /** Tells whether the relay is cut off from its cluster. Default: it never is. */
  cutOff?(): boolean;
}

/** A request that was read, and whose it is. */
interface Arrival {
  readonly handshake: Handshake;
  /** The client's own address, which its seat counts for. */
  readonly address: string;
  /** The client as the logs name it. */
  readonly peer: string;
}

/** Decides over requests, and counts the seats that are taken. */
export class Admission {
  /** Whether a shutdown has begun. */
  draining = false;
  /** Judges the tokens of those who come from now on. */
  access: Access;
  readonly #options: AdmissionOptions;
  readonly #allowsOrigin: AllowsOrigin;
  readonly #proxies: TrustedProxies;
  readonly #seats = new Map<string, number>();
  readonly #origins = new Reminders();
  readonly #addresses = new Reminders();
  readonly #rejections = Object.fromEntries(REJECTIONS.map((reason) => [reason, 0])) as Record<
    Rejection,
    number
  >;
  #taken = 0;
  #unixRequests = 0;

  /** Begins with all seats free. */
  constructor(options: AdmissionOptions) {
    this.#options = options;
    this.access = options.access;
    const origins = new Set(options.server.allowed_origins);
    this.#allowsOrigin = (origin) => origins.has("*") || origins.has(origin);
    this.#proxies = new TrustedProxies(options.server.trusted_proxies);
  }

  /**
   * Takes a seat for a request, or says why it may not join. Who comes through a Unix socket has no address
   * (`null`), and a running number takes the place of its port. A promise only where a signature has to be
   * checked; the seat is taken after that, so it has to be released if the client has gone meanwhile.
   */
  admit(request: HandshakeRequest, end: Peer | null): Seat | Refusal | Promise<Seat | Refusal> {
    const peer = end ?? { hostname: UNIX, port: ++this.#unixRequests };
    const address = this.#proxies.clientOf(peer.hostname, request.header("x-forwarded-for"));
    const arrival = {
      handshake: parseHandshake(request, this.#options.server),
      address,
      peer: nameOf(address, peer),
    };
    const refusal = refuseRequest(arrival.handshake, this.#allowsOrigin);
    if (refusal) {
      this.countRejection(refusal.reason);
      if (refusal.reason === "origin") this.#logOrigin(arrival.handshake.origin!);
      return refusal;
    }
    const verdict = this.access(arrival.handshake.token);
    return verdict instanceof Promise
      ? verdict.then((verdict) => this.#decide(arrival, verdict))
      : this.#decide(arrival, verdict);
  }

  /** Takes a seat for a client whose token was judged, or says why it may not join. */
  #decide(arrival: Arrival, verdict: Verdict): Seat | Refusal {
    const refusal = refuseClient(arrival.handshake, verdict, this.#stateFor(arrival.address));
    if (!refusal) return this.#seat(arrival, verdict as Grant);
    if ("denied" in verdict) this.#logToken(arrival, verdict.denied);
    else if (refusal.reason === "role") this.#logToken(arrival, "it is for other rooms");
    this.countRejection(refusal.reason);
    return refusal;
  }

  #stateFor(address: string): RelayState {
    const { limits } = this.#options;
    return {
      draining: this.draining,
      cutOff: this.#options.cutOff?.() ?? false,
      connected: this.#taken,
      maxConnections: limits.max_connections,
      connectedFromAddress: this.#seats.get(address) ?? 0,
      maxConnectionsPerAddress: limits.max_connections_per_ip || Infinity,
    };
  }

  #seat({ handshake, address, peer }: Arrival, { mayTalk, expires }: Grant): Seat {
    this.#taken++;
    this.#seats.set(address, (this.#seats.get(address) ?? 0) + 1);
    let free = false;
    return {
      peer,
      subprotocol: handshake.subprotocol,
      mayTalk,
      expires,
      release: () => {
        if (free) return;
        free = true;
        this.#taken--;
        const left = this.#seats.get(address)! - 1;
        if (left > 0) this.#seats.set(address, left);
        else this.#seats.delete(address);
      },
    };
  }

  /** Counts a request that was refused before there was anything to decide about. */
  countRejection(reason: Rejection): void {
    this.#rejections[reason]++;
  }

  /** Takes a snapshot of how many requests were refused, by reason. */
  rejections(): Record<Rejection, number> {
    return { ...this.#rejections };
  }

  #logOrigin(origin: string): void {
    if (!this.#origins.due(origin)) return;
    log.warn("Refused a page of origin {origin}; server.allowed_origins says which may connect", {
      origin: JSON.stringify(origin.slice(0, 200)),
    });
  }

  #logToken({ address, peer }: Arrival, why: string): void {
    if (this.#addresses.due(address)) {
      log.warn("Refused {peer} for its token: {why}", { peer, why });
    } else {
      log.debug("Refused {peer} for its token, like another of its address: {why}", { peer, why });
    }
  }
}

/** Names a client; behind a proxy by its own address and that of the connection. */
function nameOf(address: string, { hostname, port }: Peer): string {
  const bare = hostname.replace(/^::ffff:(?=[\d.]+$)/i, "");
  const peer = bare.includes(":") ? `[${bare}]:${port}` : `${bare}:${port}`;
  return address === bare || address === hostname ? peer : `${address} via ${peer}`;
}
