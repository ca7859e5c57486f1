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
  MAY_LISTEN,
  type Policy,
  type Refusal,
  refuseClient,
  refuseRequest,
  type Rejection,
  REJECTIONS,
  type RelayState,
} from "./decision.ts";
import { type Handshake, type HandshakeRequest, parseHandshake } from "./handshake.ts";
import { log } from "../lib/log.ts";
import { Reminders } from "../lib/reminders.ts";
import type { Replay } from "./request.ts";

export type { Rejection } from "./decision.ts";
export type { Replay } from "./request.ts";

/** The place of an admitted client, until it has left. */
export interface Seat {
  /** The client's name in the log, for example `192.0.2.7:51034`. */
  readonly peer: string;
  /** The client's own address. */
  readonly address: string;
  /** The path of the room that it asked for. */
  readonly room: string;
  /** The part of the history that the client asks for; `null` for none. */
  readonly replay: Replay | null;
  /** The subprotocol to answer; `null` for none. */
  readonly subprotocol: string | null;
  /** Whether the client may send messages. */
  readonly mayTalk: boolean;
  /** When its membership ends, in milliseconds of Unix time; `Infinity` for never. */
  readonly expires: number;
  /** Gives the seat back. Only the first call has an effect. */
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
  /** Whether there are rooms. */
  readonly relay: Config["relay"];
  /** How many clients and rooms there may be. */
  readonly limits: Config["limits"];
  /** Judges tokens. */
  readonly access: Access;
  /** Tells whether the relay is cut off from its cluster. Default: it never is. */
  cutOff?(): boolean;
}

/** A parsed request, and its client. */
interface Arrival {
  readonly handshake: Handshake;
  /** The client's own address, for which its seat counts. */
  readonly address: string;
  /** The client's name in the log. */
  readonly peer: string;
}

/** The numbers of taken seats, by a name such as an address or a room. */
class Seats {
  readonly #taken = new Map<string, number>();

  /** The number of names with at least one seat. */
  get size(): number {
    return this.#taken.size;
  }

  of(name: string): number {
    return this.#taken.get(name) ?? 0;
  }

  take(name: string): void {
    this.#taken.set(name, this.of(name) + 1);
  }

  release(name: string): void {
    const left = this.of(name) - 1;
    if (left > 0) this.#taken.set(name, left);
    else this.#taken.delete(name);
  }
}

/** Decides about requests, and counts taken seats. */
export class Admission {
  /** Whether a shutdown has begun. */
  draining = false;
  /** Judges the tokens of future requests. */
  access: Access;
  readonly #options: AdmissionOptions;
  readonly #policy: Policy;
  readonly #proxies: TrustedProxies;
  readonly #addresses = new Seats();
  readonly #rooms = new Seats();
  readonly #refusedOrigins = new Reminders();
  readonly #refusedAddresses = new Reminders();
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
    this.#policy = {
      rooms: options.relay.rooms,
      allowsOrigin: (origin) => origins.has("*") || origins.has(origin),
    };
    this.#proxies = new TrustedProxies(options.server.trusted_proxies);
  }

  /**
   * Takes a seat for a request, or says why it may not join. A client that comes through a Unix socket has
   * no address (`null`); it gets a running number instead of a port. The result is a promise only if a
   * signature has to be checked. The caller has to release the seat if the client has gone in the meantime.
   */
  admit(request: HandshakeRequest, end: Peer | null): Seat | Refusal | Promise<Seat | Refusal> {
    const peer = end ?? { hostname: UNIX, port: ++this.#unixRequests };
    const address = this.#proxies.clientOf(peer.hostname, request.header("x-forwarded-for"));
    const arrival = {
      handshake: parseHandshake(request, this.#options.server),
      address,
      peer: nameOf(address, peer),
    };
    const refusal = refuseRequest(arrival.handshake, this.#policy);
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

  /** Takes a seat for a client with a judged token, or says why it may not join. */
  #decide(arrival: Arrival, verdict: Verdict): Seat | Refusal {
    const refusal = refuseClient(arrival.handshake, verdict, this.#stateFor(arrival));
    if (!refusal) return this.#seat(arrival, verdict as Grant);
    if ("denied" in verdict) this.#logToken(arrival, verdict.denied);
    else if (refusal.reason === "role") {
      this.#logToken(
        arrival,
        refusal === MAY_LISTEN ? "it may only listen" : "it is for other rooms",
      );
    }
    this.countRejection(refusal.reason);
    return refusal;
  }

  #stateFor({ address, handshake }: Arrival): RelayState {
    const { limits } = this.#options;
    return {
      draining: this.draining,
      cutOff: this.#options.cutOff?.() ?? false,
      connected: this.#taken,
      maxConnections: limits.max_connections,
      roomIsNew: this.#rooms.of(handshake.path!) === 0,
      rooms: this.#rooms.size,
      maxRooms: limits.max_rooms,
      connectedFromAddress: this.#addresses.of(address),
      maxConnectionsPerAddress: limits.max_connections_per_ip || Infinity,
    };
  }

  #seat({ handshake, address, peer }: Arrival, { mayTalk, expires }: Grant): Seat {
    const room = handshake.path!;
    this.#taken++;
    this.#addresses.take(address);
    this.#rooms.take(room);
    let free = false;
    return {
      peer,
      address,
      room,
      replay: typeof handshake.replay === "string" ? null : handshake.replay, // A POST receives nothing.
      subprotocol: handshake.subprotocol,
      mayTalk,
      expires,
      release: () => {
        if (free) return;
        free = true;
        this.#taken--;
        this.#addresses.release(address);
        this.#rooms.release(room);
      },
    };
  }

  /** Counts a request that was refused before admission saw it. */
  countRejection(reason: Rejection): void {
    this.#rejections[reason]++;
  }

  /** Takes a snapshot of how many requests were refused, by reason. */
  rejections(): Record<Rejection, number> {
    return { ...this.#rejections };
  }

  #logOrigin(origin: string): void {
    if (!this.#refusedOrigins.due(origin)) return;
    log.warn("Refused a page of origin {origin}, which is not in server.allowed_origins", {
      origin: JSON.stringify(origin.slice(0, 200)),
    });
  }

  #logToken({ address, peer }: Arrival, why: string): void {
    if (this.#refusedAddresses.due(address)) {
      log.warn("Refused {peer} for its token: {why}", { peer, why });
    } else {
      log.debug("Refused {peer} for its token, like others from its address: {why}", { peer, why });
    }
  }
}

/** Names a client; behind a proxy, by its own address and the address of the connection. */
function nameOf(address: string, { hostname, port }: Peer): string {
  const bare = hostname.replace(/^::ffff:(?=[\d.]+$)/i, "");
  const peer = bare.includes(":") ? `[${bare}]:${port}` : `${bare}:${port}`;
  return address === bare || address === hostname ? peer : `${address} via ${peer}`;
}
