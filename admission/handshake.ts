/**
 * May this request join? A pure decision, the same for every transport.
 *
 * @module
 */

import { STATUS_CODE } from "@std/http";
import type { Rejection } from "../hub.ts";

/** What a decision looks at in a request. */
export interface HandshakeRequest {
  /** The method in upper case. */
  readonly method: string;
  /** The path without its query, for example `/`. */
  readonly path: string;
  /** Reads a header by its name in lower case; `null` if the request has none. */
  header(name: string): string | null;
}

/** What a decision looks at in the relay. */
export interface RelayState {
  /** Tells whether pages of an origin may connect. */
  allowsOrigin(origin: string): boolean;
  /** Tells whether a token is right; `null` if none is wanted. */
  readonly acceptsToken: ((token: string) => boolean) | null;
  /** Whether a shutdown has begun. */
  readonly draining: boolean;
  /** Members, and clients that are about to become members. */
  readonly connected: number;
  /** How many of both there may be. */
  readonly maxConnections: number;
  /** How many of both come from the request's address. */
  readonly connectedFromAddress: number;
  /** How many there may be from one address. */
  readonly maxConnectionsPerAddress: number;
}

/** The answer to a request that may not join. */
export interface Refusal {
  /** Under which reason it counts. */
  readonly reason: Rejection;
  /** The HTTP status. */
  readonly status: number;
  /** The headers, names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  /** One line of plain text, without its line break. */
  readonly body: string;
}

const HOW_TO_CONNECT = "connect with a WebSocket client, such as new WebSocket(url) in a browser";

/** How long a client is asked to stay away from a relay that is full or shutting down. */
const RETRY_AFTER_SECONDS = "10";

/**
 * Decides whether a request may become a member.
 *
 * The handshake is checked as RFC 6455 §4.2.1 asks; what a platform leaves unchecked (the method, the
 * version) is checked here.
 *
 * @returns The refusal, or `null` if the request may be upgraded.
 */
export function refuse(
  request: HandshakeRequest,
  state: RelayState,
): Refusal | null {
  const { method, path } = request;
  if (path !== "/") {
    return bad(STATUS_CODE.NotFound, "the relay answers on / only");
  }
  if (method !== "GET") {
    return bad(
      STATUS_CODE.MethodNotAllowed,
      `${HOW_TO_CONNECT}, got ${method}`,
      { allow: "GET" },
    );
  }
  if (
    !lists(request, "upgrade", "websocket") ||
    !lists(request, "connection", "upgrade")
  ) {
    return bad(
      STATUS_CODE.UpgradeRequired,
      `this is a WebSocket relay: ${HOW_TO_CONNECT}`,
      {
        upgrade: "websocket",
      },
    );
  }
  if (request.header("sec-websocket-version") !== "13") {
    return bad(
      STATUS_CODE.UpgradeRequired,
      "Sec-WebSocket-Version must be 13",
      {
        upgrade: "websocket",
        "sec-websocket-version": "13",
      },
    );
  }
  if (
    !/^[A-Za-z0-9+/]{22}==$/.test(request.header("sec-websocket-key") ?? "")
  ) {
    return bad(
      STATUS_CODE.BadRequest,
      "Sec-WebSocket-Key must be 16 bytes in base64",
    );
  }
  const offered = subprotocols(request);
  if (!offered.every((name) => /^[\w!#$%&'*+.^`|~-]+$/.test(name))) {
    return bad(STATUS_CODE.BadRequest, "Sec-WebSocket-Protocol must be a list of names");
  }
  if (new Set(offered).size < offered.length) {
    return bad(STATUS_CODE.BadRequest, "Sec-WebSocket-Protocol must name each only once");
  }
  const origin = request.header("origin");
  if (origin !== null && !state.allowsOrigin(origin)) {
    return {
      reason: "origin",
      status: STATUS_CODE.Forbidden,
      headers: {},
      body: "pages of this origin may not connect",
    };
  }
  const token = tokenOf(request);
  if (state.acceptsToken && !(token !== null && state.acceptsToken(token))) {
    return {
      reason: "token",
      status: STATUS_CODE.Unauthorized,
      headers: { "www-authenticate": "Bearer" },
      body: token === null
        ? "a token is needed: Authorization: Bearer, or the subprotocols relay and bearer.<token>"
        : "the token is wrong",
    };
  }
  if (state.draining) {
    return unavailable("draining", "the relay is shutting down");
  }
  if (state.connected >= state.maxConnections) {
    return unavailable("full", "the relay is full");
  }
  if (state.connectedFromAddress >= state.maxConnectionsPerAddress) {
    const status = STATUS_CODE.TooManyRequests;
    return { ...unavailable("per_ip", "this address has too many connections"), status };
  }
  return null;
}

/** What a client offers that speaks no more than the relay does: there for browsers, which send tokens so. */
const SUBPROTOCOL = "relay";

/** Before a token among the subprotocols. */
const TOKEN_PREFIX = "bearer.";

/** Chooses the subprotocol to answer to a request (RFC 6455 §4.2.2): never the token. */
export function subprotocolOf(request: HandshakeRequest): string | null {
  return subprotocols(request).includes(SUBPROTOCOL) ? SUBPROTOCOL : null;
}

/** Reads the subprotocols that a request offers, in its order. */
function subprotocols(request: HandshakeRequest): string[] {
  const header = request.header("sec-websocket-protocol") ?? "";
  return header === "" ? [] : header.split(",").map((name) => name.trim());
}

/** Reads the token of a request: from `Authorization` (RFC 6750 §2.1), or from the subprotocols. */
function tokenOf(request: HandshakeRequest): string | null {
  const [, bearer] = /^bearer +(\S+)$/i.exec(request.header("authorization") ?? "") ?? [];
  if (bearer !== undefined) return bearer;
  const offered = subprotocols(request).find((name) => name.startsWith(TOKEN_PREFIX));
  return offered?.slice(TOKEN_PREFIX.length) ?? null;
}

/** Tells whether a comma-separated header has an item, whatever its case (RFC 9110 §5.6.1). */
function lists(request: HandshakeRequest, name: string, item: string): boolean {
  const items = (request.header(name) ?? "").toLowerCase().split(",");
  return items.some((each) => each.trim() === item);
}

function bad(
  status: number,
  body: string,
  headers: Record<string, string> = {},
): Refusal {
  return { reason: "bad_request", status, headers, body };
}

function unavailable(reason: Rejection, body: string): Refusal {
  const headers = { "retry-after": RETRY_AFTER_SECONDS };
  return { reason, status: STATUS_CODE.ServiceUnavailable, headers, body };
}
