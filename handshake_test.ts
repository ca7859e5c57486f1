import { assertEquals } from "@std/assert";
import { type HandshakeRequest, refuse, type RelayState } from "./handshake.ts";

const OPEN: RelayState = {
  draining: false,
  connected: 0,
  maxConnections: 2,
  connectedFromAddress: 0,
  maxConnectionsPerAddress: 2,
  allowsOrigin: (origin) => origin === "https://example.com",
  acceptsToken: null,
};
const UPGRADE: Record<string, string> = {
  "connection": "keep-alive, Upgrade",
  "upgrade": "WebSocket",
  "sec-websocket-version": "13",
  "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
};

function request(changes: Record<string, string | undefined> = {}, method = "GET", path = "/") {
  const headers: Record<string, string | undefined> = { ...UPGRADE, ...changes };
  return { method, path, header: (name) => headers[name] ?? null } satisfies HandshakeRequest;
}

Deno.test("refuse lets a valid WebSocket handshake pass", () => {
  assertEquals(refuse(request(), OPEN), null);
});

const HOW = "connect with a WebSocket client, such as new WebSocket(url) in a browser";
const CASES: [what: string, HandshakeRequest, RelayState, ReturnType<typeof refuse>][] = [
  ["another path", request({}, "GET", "/chat"), OPEN, {
    reason: "bad_request",
    status: 404,
    headers: {},
    body: "the relay answers on / only",
  }],
  ["another method", request({}, "POST"), OPEN, {
    reason: "bad_request",
    status: 405,
    headers: { allow: "GET" },
    body: `${HOW}, got POST`,
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
