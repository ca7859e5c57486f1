/**
 * The handshake: a request to join, or to publish one message, read once.
 *
 * @module
 */

import { listOf, namesItem, pathOf, queryOf, type Replay, replayOf, tokenOf } from "./request.ts";

/** A request as a platform passes it on. */
export interface HandshakeRequest {
  /** The method in upper case. */
  readonly method: string;
  /** What is asked for, as the request line has it: for example `/`, or `http://relay.example/`. */
  readonly target: string;
  /** How many headers there are. */
  readonly headers: number;
  /** How many of them are `Host`; 1 if the protocol does not need one. */
  readonly hosts: number;
  /** Reads a header by its name in lower case; `null` if the request has none. */
  header(name: string): string | null;
}

/** What a request says about joining, or about publishing. */
export interface Handshake {
  /** The method in upper case. */
  readonly method: string;
  /** The path of its target, see {@link pathOf}; `null` if it cannot be read. */
  readonly path: string | null;
  /** How many headers it has. */
  readonly headers: number;
  /** How many of them are `Host`. */
  readonly hosts: number;
  /** Whether it asks for a WebSocket (RFC 6455 §4.2.1). */
  readonly upgrade: boolean;
  /** `Sec-WebSocket-Version`. */
  readonly version: string | null;
  /** `Sec-WebSocket-Key`. */
  readonly key: string | null;
  /** The subprotocols that it offers, in its order, including tokens. */
  readonly subprotocols: readonly string[];
  /** The subprotocol to answer (RFC 6455 §4.2.2): never a token; `null` for none. */
  readonly subprotocol: string | null;
  /** The token from `Authorization` (RFC 6750 §2.1), the subprotocols, or the query if that is allowed. */
  readonly token: string | null;
  /** The part of the history that it asks for; `null` for none, or a text that says what is wrong with it. */
  readonly replay: Replay | string | null;
  /** The origin of the page that connects, which browsers always send (RFC 6455 §10.2). */
  readonly origin: string | null;
}

/** What the relay understands of a handshake in addition to the protocol. */
export interface Dialect {
  /** The subprotocols that it knows in addition to `relay`. */
  readonly subprotocols: readonly string[];
  /** The query parameter that may hold a token; empty for none. */
  readonly auth_token_parameter: string;
}

/** The subprotocol that the relay always knows. It changes nothing; browsers offer it next to a token. */
export const SUBPROTOCOL = "relay";

/** Tells whether a request asks for a WebSocket (RFC 6455 §4.2.1). Whatever else it is, it is no `POST` then. */
export function wantsUpgrade({ header }: Pick<HandshakeRequest, "header">): boolean {
  return namesItem(header("upgrade"), "websocket") && namesItem(header("connection"), "upgrade");
}

/** Tells whether a request is to publish its body. */
export function isPost({ method, upgrade }: Pick<Handshake, "method" | "upgrade">): boolean {
  return method === "POST" && !upgrade;
}

/** Reads what a request says about joining. */
export function parseHandshake(request: HandshakeRequest, dialect: Dialect): Handshake {
  const { method, target, headers, hosts, header } = request;
  const query = queryOf(target);
  const subprotocols = listOf(header("sec-websocket-protocol"));
  return {
    method,
    path: pathOf(target),
    headers,
    hosts,
    upgrade: wantsUpgrade(request),
    version: header("sec-websocket-version"),
    key: header("sec-websocket-key"),
    subprotocols,
    subprotocol: subprotocols.find((name) => {
      return name === SUBPROTOCOL || dialect.subprotocols.includes(name);
    }) ?? null,
    token: tokenOf(header("authorization"), subprotocols) ??
      (dialect.auth_token_parameter ? query.get(dialect.auth_token_parameter) : null),
    replay: readReplay(query),
    origin: header("origin"),
  };
}

function readReplay(query: URLSearchParams): Handshake["replay"] {
  try {
    return replayOf(query);
  } catch (error) {
    return (error as RangeError).message;
  }
}
