/**
 * Admission: a decision about every request to join, a seat for each client that was admitted, and a
 * count of each refusal.
 *
 * @module
 */

import { TrustedProxies, UNIX } from "./client_address.ts";
import type { Config } from "../config.ts";
import {
  type HandshakeRequest,
  parseHandshake,
  type Refusal,
  refuse,
  type Rejection,
  REJECTIONS,
} from "./handshake.ts";
import { log } from "../lib/log.ts";
import type { AcceptsToken } from "./tokens.ts";

export type { Rejection } from "./handshake.ts";

/** The place of a client that was admitted, from then until it has left. */
export interface Seat {
  /** The client as the logs name it, for example `192.0.2.7:51034`. */
  readonly peer: string;
  /** The subprotocol to answer; `null` for none. */
  readonly subprotocol: string | null;
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
  /** Origins, token file and proxies. */
  readonly server: Config["server"];
  /** How many clients there may be. */
  readonly limits: Config["limits"];
  /** The tokens; `null` if anyone may connect. */
  readonly acceptsToken: AcceptsToken | null;
  /** Tells whether the relay is cut off from its cluster. Default: it never is. */
  cutOff?(): boolean;
}

/** The time between two log lines about one origin. */
const REMINDER_MILLISECONDS = 60_000;

/** The most origins that are remembered for that; refusals of others are counted and not logged. */
const MAX_REMEMBERED_ORIGINS = 100;

/** Decides over requests, and counts the seats that are taken. */
export class Admission {
  /** Whether a shutdown has begun. */
  draining = false;
  /** The tokens; `null` if anyone may connect. */
  acceptsToken: AcceptsToken | null;
  readonly #options: AdmissionOptions;
  readonly #origins: ReadonlySet<string>;
  readonly #proxies: TrustedProxies;
  readonly #seats = new Map<string, number>();
  readonly #loggedOrigins = new Map<string, number>();
  readonly #rejections = Object.fromEntries(REJECTIONS.map((reason) => [reason, 0])) as Record<
    Rejection,
    number
  >;
  #taken = 0;
  #unixRequests = 0;

  /** Begins with all seats free. */
  constructor(options: AdmissionOptions) {
    this.#options = options;
    this.acceptsToken = options.acceptsToken;
    this.#origins = new Set(options.server.allowed_origins);
    this.#proxies = new TrustedProxies(options.server.trusted_proxies);
  }

  /**
   * Takes a seat for a request, or says why it may not join. Who comes through a Unix socket has no address
   * (`null`), and a running number takes the place of its port.
   */
  admit(request: HandshakeRequest, end: Peer | null): Seat | Refusal {
    const peer = end ?? { hostname: UNIX, port: ++this.#unixRequests };
    const { limits } = this.#options;
    const address = this.#proxies.clientOf(peer.hostname, request.header("x-forwarded-for"));
    const ofAddress = this.#seats.get(address) ?? 0;
    const handshake = parseHandshake(request, this.#options.server);
    const refusal = refuse(handshake, {
      draining: this.draining,
      cutOff: this.#options.cutOff?.() ?? false,
      connected: this.#taken,
      maxConnections: limits.max_connections,
      connectedFromAddress: ofAddress,
      maxConnectionsPerAddress: limits.max_connections_per_ip || Infinity,
      allowsOrigin: (origin) => this.#origins.has("*") || this.#origins.has(origin),
      acceptsToken: this.acceptsToken,
    });
    if (refusal) {
      this.countRejection(refusal.reason);
      if (refusal.reason === "origin") this.#logOrigin(handshake.origin!);
      return refusal;
    }
    this.#taken++;
    this.#seats.set(address, ofAddress + 1);
    let free = false;
    return {
      peer: nameOf(address, peer),
      subprotocol: handshake.subprotocol,
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
    const now = performance.now();
    for (const [each, at] of this.#loggedOrigins) {
      if (now - at >= REMINDER_MILLISECONDS) this.#loggedOrigins.delete(each);
    }
    if (this.#loggedOrigins.has(origin)) return;
    if (this.#loggedOrigins.size >= MAX_REMEMBERED_ORIGINS) return;
    this.#loggedOrigins.set(origin, now);
    log.warn("Refused a page of origin {origin}; server.allowed_origins says which may connect", {
      origin: JSON.stringify(origin.slice(0, 200)),
    });
  }
}

/** Names a client; behind a proxy by its own address and that of the connection. */
function nameOf(address: string, { hostname, port }: Peer): string {
  const bare = hostname.replace(/^::ffff:(?=[\d.]+$)/i, "");
  const peer = bare.includes(":") ? `[${bare}]:${port}` : `${bare}:${port}`;
  return address === bare || address === hostname ? peer : `${address} via ${peer}`;
}
