/**
 * Who is let in: the facts that a decision needs, and a seat for each client that was admitted.
 *
 * @module
 */

import { TrustedProxies } from "./client_address.ts";
import type { Config } from "../config.ts";
import { type HandshakeRequest, type Refusal, refuse, subprotocolOf } from "./handshake.ts";
import type { Rejection } from "../hub.ts";
import { log } from "../lib/log.ts";
import type { AcceptsToken } from "./tokens.ts";

/** A client that was admitted, from then until it has left. */
export interface Seat {
  /** The client as the logs name it, for example `192.0.2.7:51034`. */
  readonly peer: string;
  /** The subprotocol to answer; `null` for none. */
  readonly subprotocol: string | null;
  /** Lets another client have the seat; calls after the first do nothing. */
  release(): void;
}

/** What an admission is made with. */
export interface AdmissionOptions {
  /** Origins, token file and proxies. */
  readonly server: Config["server"];
  /** How many clients there may be. */
  readonly limits: Config["limits"];
  /** The tokens; `null` if anyone may connect. */
  readonly acceptsToken: AcceptsToken | null;
  /** Called for every request that was refused. */
  onReject(reason: Rejection): void;
}

/** How often the refusal of one origin is logged. */
const REMINDER_MILLISECONDS = 60_000;

/** How many origins are remembered for that; beyond it refusals are counted and no longer logged. */
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
  #taken = 0;

  /** Begins with all seats free. */
  constructor(options: AdmissionOptions) {
    this.#options = options;
    this.acceptsToken = options.acceptsToken;
    this.#origins = new Set(options.server.allowed_origins);
    this.#proxies = new TrustedProxies(options.server.trusted_proxies);
  }

  /** Takes a seat for a request, or says why it may not join. */
  admit(request: HandshakeRequest, peer: { hostname: string; port: number }): Seat | Refusal {
    const { limits, onReject } = this.#options;
    const address = this.#proxies.clientOf(peer.hostname, request.header("x-forwarded-for"));
    const ofAddress = this.#seats.get(address) ?? 0;
    const refusal = refuse(request, {
      draining: this.draining,
      connected: this.#taken,
      maxConnections: limits.max_connections,
      connectedFromAddress: ofAddress,
      maxConnectionsPerAddress: limits.max_connections_per_ip || Infinity,
      allowsOrigin: (origin) => this.#origins.has("*") || this.#origins.has(origin),
      acceptsToken: this.acceptsToken,
    });
    if (refusal) {
      onReject(refusal.reason);
      if (refusal.reason === "origin") this.#logOrigin(request.header("origin")!);
      return refusal;
    }
    this.#taken++;
    this.#seats.set(address, ofAddress + 1);
    let free = false;
    return {
      peer: nameOf(address, peer),
      subprotocol: subprotocolOf(request),
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
function nameOf(address: string, { hostname, port }: { hostname: string; port: number }): string {
  const bare = hostname.replace(/^::ffff:(?=[\d.]+$)/i, "");
  const peer = bare.includes(":") ? `[${bare}]:${port}` : `${bare}:${port}`;
  return address === bare || address === hostname ? peer : `${address} via ${peer}`;
}
