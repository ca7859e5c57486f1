/**
 * The decision about a handshake: pure functions, the same for every transport.
 *
 * @module
 */

import { STATUS_CODE } from "@std/http";
import type { Verdict } from "./access.ts";
import { type Handshake, isPost, SUBPROTOCOL } from "./handshake.ts";
import { hasDots, TOKEN_PREFIX } from "./request.ts";
import { allowsRoom } from "./rooms.ts";

/** The reasons for which a request may not join; the label values of `websocket_rejected_connections_total`. */
export const REJECTIONS = [
  "origin",
  "token",
  "role",
  "full",
  "rooms",
  "per_ip",
  "draining",
  "cluster",
  "bad_request",
] as const;

/** One reason for which a request may not join. */
export type Rejection = typeof REJECTIONS[number];

/** The settings that decide about a request by itself. */
export interface Policy {
  /** Whether each path is a room of its own; otherwise `/` is the only room. */
  readonly rooms: boolean;
  /** Tells whether pages of an origin may connect. */
  allowsOrigin(origin: string): boolean;
}

/** The state of the relay, which decides whether there is a place for a client. */
export interface RelayState {
  /** Whether a shutdown has begun. */
  readonly draining: boolean;
  /** Whether the relay is cut off from its cluster. */
  readonly cutOff: boolean;
  /** Members, and clients that are about to become members. */
  readonly connected: number;
  /** The limit for both. */
  readonly maxConnections: number;
  /** Whether the room that the client asks for is empty. */
  readonly roomIsNew: boolean;
  /** How many rooms there are. */
  readonly rooms: number;
  /** The limit for rooms. */
  readonly maxRooms: number;
  /** How many members, and clients that are about to become members, come from the request's address. */
  readonly connectedFromAddress: number;
  /** The limit for one address. */
  readonly maxConnectionsPerAddress: number;
}

/** The answer to a request that may not join. */
export interface Refusal {
  /** The reason under which it counts. */
  readonly reason: Rejection;
  /** The HTTP status. */
  readonly status: number;
  /** The headers, names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  /** One line of plain text, without its line break. */
  readonly body: string;
}

/** The refusal of a request that cannot be read at all. */
export const UNREADABLE: Refusal = bad(
  STATUS_CODE.BadRequest,
  "the request could not be understood",
);

/** The largest head of a request in bytes, on a transport that can limit it. */
export const MAX_HEAD_BYTES = 64 * 1024;

/** The largest number of headers that a request may have. */
export const MAX_HEADERS = 100;

/** The refusal of a request whose head is over {@link MAX_HEAD_BYTES}. */
export const HEAD_TOO_LARGE: Refusal = bad(
  STATUS_CODE.RequestHeaderFieldsTooLarge,
  `the head of a request must have at most ${MAX_HEAD_BYTES} bytes`,
);

/**
 * Decides about a request by itself, before its token is judged.
 *
 * The handshake is checked as RFC 6455 §4.2.1 asks, also where a platform does not (the method, the
 * version). The first check that fails decides.
 *
 * @returns The refusal, or `null` if the token decides.
 */
export function refuseRequest(handshake: Handshake, policy: Policy): Refusal | null {
  for (const check of isPost(handshake) ? POST_CHECKS : REQUEST_CHECKS) {
    const refusal = check(handshake, policy);
    if (refusal) return refusal;
  }
  return null;
}

/**
 * Decides about a client with a correct request and a judged token. The token comes before the state of
 * the relay, so a stranger does not learn whether the relay is full.
 *
 * @returns The refusal, or `null` if the request may be upgraded.
 */
export function refuseClient(
  handshake: Handshake,
  verdict: Verdict,
  state: RelayState,
): Refusal | null {
  if ("denied" in verdict) return unauthorized(handshake);
  if (!allowsRoom(verdict.rooms, handshake.path!)) return FORBIDDEN;
  if (isPost(handshake) && !verdict.mayTalk) return MAY_LISTEN;
  for (const check of STATE_CHECKS) {
    const refusal = check(state);
    if (refusal) return refusal;
  }
  return null;
}

const REQUEST_CHECKS: readonly typeof refuseRequest[] = [
  checkHeaders,
  checkPath,
  checkMethod,
  checkUpgrade,
  checkHost,
  checkVersion,
  checkKey,
  checkSubprotocols,
  checkReplay,
  checkOrigin,
];

/** What of that counts for a message that comes by `POST`. */
const POST_CHECKS = [checkHeaders, checkPath, checkHost, checkOrigin];

const STATE_CHECKS: readonly ((state: RelayState) => Refusal | null)[] = [
  checkDraining,
  checkCluster,
  checkFull,
  checkRooms,
  checkAddress,
];

const HOW_TO_CONNECT =
  "connect with a WebSocket client, such as new WebSocket(url) in a browser, " +
  "or POST a message";

function checkHeaders({ headers }: Handshake): Refusal | null {
  if (headers <= MAX_HEADERS) return null;
  const status = STATUS_CODE.RequestHeaderFieldsTooLarge;
  return bad(status, `a request must have at most ${MAX_HEADERS} headers`);
}

/** The longest name of a room, in bytes. */
const MAX_ROOM_BYTES = 200;

function checkPath({ path, method }: Handshake, { rooms }: Policy): Refusal | null {
  if (path === "/" || method === "CONNECT") return null; // CONNECT names a host, not a path.
  if (!rooms) return bad(STATUS_CODE.NotFound, "the relay answers only on /");
  if (path === null) {
    return bad(STATUS_CODE.BadRequest, "the path must be UTF-8 in percent-encoding");
  }
  if (hasDots(path)) return bad(STATUS_CODE.BadRequest, "the path must not have a segment . or ..");
  const bytes = new TextEncoder().encode(path).length;
  if (bytes <= MAX_ROOM_BYTES) return null;
  const body = `the path must have at most ${MAX_ROOM_BYTES} bytes, got ${bytes}`;
  return bad(STATUS_CODE.URITooLong, body);
}

function checkMethod({ method }: Handshake): Refusal | null {
  if (method === "GET") return null;
  return bad(STATUS_CODE.MethodNotAllowed, `${HOW_TO_CONNECT}, got ${method}`, {
    allow: "GET, POST",
  });
}

function checkUpgrade({ upgrade }: Handshake): Refusal | null {
  if (upgrade) return null;
  return bad(STATUS_CODE.UpgradeRequired, `this is a WebSocket relay: ${HOW_TO_CONNECT}`, {
    upgrade: "websocket",
  });
}

/** Demands exactly one `Host` of a handshake (RFC 9112 §3.2); other requests are answered without it. */
function checkHost({ hosts }: Handshake): Refusal | null {
  return hosts === 1
    ? null
    : bad(STATUS_CODE.BadRequest, `there must be exactly one Host header, got ${hosts}`);
}

function checkVersion({ version }: Handshake): Refusal | null {
  if (version === "13") return null;
  return bad(STATUS_CODE.UpgradeRequired, "Sec-WebSocket-Version must be 13", {
    upgrade: "websocket",
    "sec-websocket-version": "13",
  });
}

function checkKey({ key }: Handshake): Refusal | null {
  if (/^[A-Za-z0-9+/]{22}==$/.test(key ?? "")) return null;
  return bad(STATUS_CODE.BadRequest, "Sec-WebSocket-Key must be 16 bytes in base64");
}

function checkSubprotocols({ subprotocols, subprotocol }: Handshake): Refusal | null {
  if (!subprotocols.every((name) => /^[\w!#$%&'*+.^`|~-]+$/.test(name))) {
    return bad(STATUS_CODE.BadRequest, "Sec-WebSocket-Protocol must be a list of names");
  }
  if (new Set(subprotocols).size < subprotocols.length) {
    return bad(
      STATUS_CODE.BadRequest,
      "Sec-WebSocket-Protocol must name each subprotocol only once",
    );
  }
  if (subprotocol === null && subprotocols.some((name) => name.startsWith(TOKEN_PREFIX))) {
    // A token is never answered, and browsers give up if none of their subprotocols is answered.
    const how = `offer ${SUBPROTOCOL} beside it: new WebSocket(url, ["relay", "bearer.<token>"])`;
    return bad(STATUS_CODE.BadRequest, `a token must not be the only subprotocol, ${how}`);
  }
  return null;
}

function checkReplay({ replay }: Handshake): Refusal | null {
  return typeof replay === "string" ? bad(STATUS_CODE.BadRequest, replay) : null;
}

function checkOrigin({ origin }: Handshake, { allowsOrigin }: Policy): Refusal | null {
  if (origin === null || allowsOrigin(origin)) return null;
  return {
    reason: "origin",
    status: STATUS_CODE.Forbidden,
    headers: {},
    body: "pages of this origin may not connect",
  };
}

function unauthorized({ token }: Handshake): Refusal {
  return {
    reason: "token",
    status: STATUS_CODE.Unauthorized,
    headers: { "www-authenticate": "Bearer" },
    body: token === null
      ? "a token is needed: Authorization: Bearer, or the subprotocols relay and bearer.<token>"
      : "the token is wrong",
  };
}

/** The refusal of a client whose token is for other rooms. */
const FORBIDDEN: Refusal = {
  reason: "role",
  status: STATUS_CODE.Forbidden,
  headers: {},
  body: "the token is for other rooms",
};

/** The refusal of a message of somebody who may only listen. */
export const MAY_LISTEN: Refusal = {
  reason: "role",
  status: STATUS_CODE.Forbidden,
  headers: {},
  body: "not allowed to send",
};

function checkDraining({ draining }: RelayState): Refusal | null {
  return draining ? unavailable("draining", "the relay is shutting down") : null;
}

function checkCluster({ cutOff }: RelayState): Refusal | null {
  return cutOff ? unavailable("cluster", "the relay is cut off from its cluster") : null;
}

function checkFull({ connected, maxConnections }: RelayState): Refusal | null {
  return connected >= maxConnections ? unavailable("full", "the relay is full") : null;
}

function checkRooms({ roomIsNew, rooms, maxRooms }: RelayState): Refusal | null {
  if (!roomIsNew || rooms < maxRooms) return null;
  return unavailable("rooms", "the relay cannot open another room");
}

function checkAddress(state: RelayState): Refusal | null {
  if (state.connectedFromAddress < state.maxConnectionsPerAddress) return null;
  const status = STATUS_CODE.TooManyRequests;
  return { ...unavailable("per_ip", "this address has too many connections"), status };
}

function bad(status: number, body: string, headers: Record<string, string> = {}): Refusal {
  return { reason: "bad_request", status, headers, body };
}

/** The time in seconds that a client is asked to stay away from a relay that is full or shutting down. */
const RETRY_AFTER_SECONDS = "10";

function unavailable(reason: Rejection, body: string): Refusal {
  const headers = { "retry-after": RETRY_AFTER_SECONDS };
  return { reason, status: STATUS_CODE.ServiceUnavailable, headers, body };
}
