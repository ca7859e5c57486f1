import { assertEquals } from "@std/assert";
import type { Verdict } from "./access.ts";
import { refuseClient, refuseRequest, type RelayState } from "./decision.ts";
import { type Handshake, parseHandshake } from "./handshake.ts";

/** The state of a relay, and how it judges tokens. */
type Relay = RelayState & { access(token: string | null): Verdict };

const TALK: Verdict = { mayTalk: true, rooms: ["/*"], expires: Infinity };

const OPEN: Relay = {
  draining: false,
  cutOff: false,
  connected: 0,
  maxConnections: 2,
  roomIsNew: true,
  rooms: 1,
  maxRooms: 2,
  connectedFromAddress: 0,
  maxConnectionsPerAddress: 2,
  access: () => TALK,
};

/** Decides over a request to the end. */
function refuse(handshake: Handshake, state: Relay, rooms = false) {
  const allowsOrigin = (origin: string) => origin === "https://example.com";
  return refuseRequest(handshake, { rooms, allowsOrigin }) ??
    refuseClient(handshake, state.access(handshake.token), state);
}

const UPGRADE: Record<string, string> = {
  "connection": "keep-alive, Upgrade",
  "upgrade": "WebSocket",
  "sec-websocket-version": "13",
  "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
};

function request(
  changes: Record<string, string | undefined> = {},
  method = "GET",
  target = "/",
  auth_token_parameter = "",
) {
  const headers: Record<string, string | undefined> = { ...UPGRADE, ...changes };
  const header = (name: string) => headers[name] ?? null;
  const dialect = { subprotocols: ["chat.v1", "mqtt"], auth_token_parameter };
  return parseHandshake({ method, target, headers: 5, hosts: 1, header }, dialect);
}

const LOCKED: Relay = {
  ...OPEN,
  access: (token) => token === "secret" ? TALK : { denied: "it is another" },
};

Deno.test("refuse lets a valid WebSocket handshake pass", () => {
  assertEquals(refuse(request(), OPEN), null);
  assertEquals(refuse(request({ origin: "https://example.com" }), OPEN), null);
});

const PASSES: Record<string, string>[] = [
  { authorization: "Bearer secret" },
  { authorization: "bearer  secret" },
  { "sec-websocket-protocol": "relay, bearer.secret" },
  { "sec-websocket-protocol": "bearer.secret,relay" },
  { "sec-websocket-protocol": "bearer.secret, mqtt" },
];
for (const headers of PASSES) {
  Deno.test(`refuse finds the token in ${JSON.stringify(headers)}`, () => {
    assertEquals(refuse(request(headers), LOCKED), null);
  });
}

Deno.test("parseHandshake answers the first subprotocol that is known, and never a token", () => {
  const answer = (offered?: string) => request({ "sec-websocket-protocol": offered }).subprotocol;
  assertEquals([answer(), answer("chat"), answer("bearer.relay")], [null, null, null]);
  assertEquals([answer("relay"), answer("chat,relay , bearer.x")], ["relay", "relay"]);
  assertEquals([answer("mqtt, relay"), answer("relay,mqtt")], ["mqtt", "relay"]);
  assertEquals([answer("MQTT"), answer("chat, chat.v1, mqtt")], [null, "chat.v1"]);
});

Deno.test("parseHandshake finds the path in every form of target, whatever host it names", () => {
  const paths = {
    "/": "/",
    "/?x=/y": "/",
    "/#x": "/",
    "/./": "/./",
    "/%2e%2E/": "/../",
    "/a%2Fb": "/a/b",
    "/a%252Fb": "/a%2Fb",
    "/caf%C3%A9 ": null,
    "/caf%C3%A9": "/café",
    "/%C3": null,
    "/%": null,
    "/é": null,
    "http://relay.example": "/",
    "HTTPS://relay.example?x": "/",
    "http://[fe80::1%25eth0]/": "/",
    "http://a b/chat?x": "/chat",
    "//x": "//x",
    "*": null,
    "relay.example:443": null,
    "": null,
  };
  for (const [target, path] of Object.entries(paths)) {
    assertEquals(request({}, "GET", target).path, path, target);
  }
});

Deno.test("parseHandshake finds a token in the query only if a parameter is configured", () => {
  const token = (target: string, parameter: string) => request({}, "GET", target, parameter).token;
  assertEquals(token("/?token=secret", ""), null);
  assertEquals(token("/?=secret", ""), null);
  assertEquals(token("/?x=1&token=a+b%2Bc~", "token"), "a+b+c~");
  assertEquals(token("http://relay.example?token=secret", "token"), "secret");
  assertEquals(token("/?Token=secret", "token"), null);
  const { token: first } = request({ authorization: "Bearer x" }, "GET", "/?token=y", "token");
  assertEquals(first, "x");
});

Deno.test("parseHandshake ignores empty items in a list of subprotocols", () => {
  for (const offered of ["", " ", ",", "relay,", ", relay ,,"]) {
    const { subprotocols } = request({ "sec-websocket-protocol": offered });
    assertEquals(subprotocols, offered.includes("relay") ? ["relay"] : [], offered);
  }
});

const HOW =
  "connect with a WebSocket client, such as new WebSocket(url) in a browser, or POST a message";
const CASES: [what: string, Handshake, Relay, ReturnType<typeof refuse>][] = [
  ["another path", request({}, "GET", "/chat"), OPEN, {
    reason: "bad_request",
    status: 404,
    headers: {},
    body: "the relay answers only on /",
  }],
  ["another method", request({}, "PUT"), OPEN, {
    reason: "bad_request",
    status: 405,
    headers: { allow: "GET, POST" },
    body: `${HOW}, got PUT`,
  }],
  ["a request without an upgrade", request({ upgrade: undefined }), OPEN, {
    reason: "bad_request",
    status: 426,
    headers: { upgrade: "websocket" },
    body: `this is a WebSocket relay: ${HOW}`,
  }],
  ["an upgrade that the connection header does not name", request({ connection: "close" }), OPEN, {
    reason: "bad_request",
    status: 426,
    headers: { upgrade: "websocket" },
    body: `this is a WebSocket relay: ${HOW}`,
  }],
  ["CONNECT, which has no path", request({}, "CONNECT", "relay.example:443"), OPEN, {
    reason: "bad_request",
    status: 405,
    headers: { allow: "GET, POST" },
    body: `${HOW}, got CONNECT`,
  }],
  ["more headers than anybody needs", { ...request(), headers: 101 }, OPEN, {
    reason: "bad_request",
    status: 431,
    headers: {},
    body: "a request must have at most 100 headers",
  }],
  ["a handshake without Host", { ...request(), hosts: 0 }, OPEN, {
    reason: "bad_request",
    status: 400,
    headers: {},
    body: "there must be exactly one Host header, got 0",
  }],
  ["a handshake with two of them", { ...request(), hosts: 2 }, OPEN, {
    reason: "bad_request",
    status: 400,
    headers: {},
    body: "there must be exactly one Host header, got 2",
  }],
  ["another version", request({ "sec-websocket-version": "8" }), OPEN, {
    reason: "bad_request",
    status: 426,
    headers: { upgrade: "websocket", "sec-websocket-version": "13" },
    body: "Sec-WebSocket-Version must be 13",
  }],
  ["a key that is not 16 bytes in base64", request({ "sec-websocket-key": "short" }), OPEN, {
    reason: "bad_request",
    status: 400,
    headers: {},
    body: "Sec-WebSocket-Key must be 16 bytes in base64",
  }],
  [
    "subprotocols that are no names",
    request({ "sec-websocket-protocol": "relay, a token" }),
    OPEN,
    {
      reason: "bad_request",
      status: 400,
      headers: {},
      body: "Sec-WebSocket-Protocol must be a list of names",
    },
  ],
  [
    "a subprotocol that is named twice",
    request({ "sec-websocket-protocol": "a, relay, a" }),
    OPEN,
    {
      reason: "bad_request",
      status: 400,
      headers: {},
      body: "Sec-WebSocket-Protocol must name each subprotocol only once",
    },
  ],
  [
    "a token without a subprotocol to answer",
    request({ "sec-websocket-protocol": "chat, bearer.secret" }),
    LOCKED,
    {
      reason: "bad_request",
      status: 400,
      headers: {},
      body: "a token must not be the only subprotocol, offer relay beside it: " +
        'new WebSocket(url, ["relay", "bearer.<token>"])',
    },
  ],
  ["an origin that is not allowed", request({ origin: "https://example.com.evil" }), OPEN, {
    reason: "origin",
    status: 403,
    headers: {},
    body: "pages of this origin may not connect",
  }],
  ["who has no token", request({ authorization: "Basic secret" }), LOCKED, {
    reason: "token",
    status: 401,
    headers: { "www-authenticate": "Bearer" },
    body: "a token is needed: Authorization: Bearer, or the subprotocols relay and bearer.<token>",
  }],
  ["who has a wrong token", request({ "sec-websocket-protocol": "relay, bearer.secre" }), LOCKED, {
    reason: "token",
    status: 401,
    headers: { "www-authenticate": "Bearer" },
    body: "the token is wrong",
  }],
  ["who has a token for other rooms", request(), {
    ...OPEN,
    access: () => ({ ...TALK, rooms: ["/team/*"] }),
  }, {
    reason: "role",
    status: 403,
    headers: {},
    body: "the token is for other rooms",
  }],
  ["an address with too many connections", request(), { ...OPEN, connectedFromAddress: 2 }, {
    reason: "per_ip",
    status: 429,
    headers: { "retry-after": "10" },
    body: "this address has too many connections",
  }],
  ["anyone while the relay shuts down", request(), { ...OPEN, draining: true }, {
    reason: "draining",
    status: 503,
    headers: { "retry-after": "10" },
    body: "the relay is shutting down",
  }],
  ["anyone while the relay is full", request(), { ...OPEN, connected: 2 }, {
    reason: "full",
    status: 503,
    headers: { "retry-after": "10" },
    body: "the relay is full",
  }],
];

for (const [what, request, state, refusal] of CASES) {
  Deno.test(`refuse turns away ${what}`, () => {
    assertEquals(refuse(request, state), refusal);
  });
}
