import { assert, assertEquals } from "@std/assert";
import { handshake, RawClient } from "../testing/raw_client.ts";
import { startRelay } from "../testing/start.ts";

const CONNECT = "CONNECT relay.example:443 HTTP/1.1\r\nHost: relay.example:443\r\n\r\n";

/** Makes a handshake with so many headers. */
function handshakeWith(headers: number): string {
  const more = Array.from({ length: headers - 5 }, (_, i) => [`X-${i}`, "1"]);
  return handshake(Object.fromEntries(more));
}

/** What devices, apps and proxies send, and the status of the answer on each transport. */
const CASES: [what: string, request: string, native: number, ws: number][] = [
  // The platform of `native` answers 400 before the relay sees the request.
  ["Content-Length: 0", handshake({ "Content-Length": "0" }), 400, 101],
  ["no subprotocol in the list", handshake({ "Sec-WebSocket-Protocol": "" }), 101, 101],
  ["a comma too many", handshake({ "Sec-WebSocket-Protocol": "relay," }), 101, 101],
  ["60 KB of cookies", handshake({ Cookie: "x".repeat(60_000) }), 101, 101],
  ["an address with a zone as Host", handshake({ Host: "[fe80::1%25eth0]" }), 101, 101],
  ["a URL as Host", handshake({ Host: "ws://192.0.2.4:81/" }), 101, 101],
  ["a Host that looks like a path", handshake({ Host: "a/b?c" }), 101, 101],
  ["an empty Host", handshake({ Host: "" }), 101, 101],
  ["a Host of another case", handshake({ Host: "RELAY.example" }), 101, 101],
  [
    "another path behind such a Host",
    handshake({ Host: "ws://a/" }, "GET /chat HTTP/1.1"),
    404,
    404,
  ],
  ["a whole URL", handshake({}, "GET http://relay.example/ HTTP/1.1"), 101, 101],
  ["a whole URL with a path", handshake({}, "GET http://relay.example/x HTTP/1.1"), 404, 404],
  ["a whole URL like its Host", handshake({}, "GET http://localhost/?x HTTP/1.1"), 101, 101],
  ["no Host", handshake({ Host: null }), 400, 400],
  ["two Hosts", handshake({ "Host": "a", "host": "a" }), 400, 400],
  ["CONNECT", CONNECT, 405, 405],
  ["100 headers", handshakeWith(100), 101, 101],
  ["101 headers", handshakeWith(101), 431, 431],
  // Beyond these the platform of `native` answers 400 by itself.
  ["1,500 headers", handshakeWith(1500), 400, 431],
];

for (const transport of ["native", "ws"] as const) {
  Deno.test(`relay on ${transport} answers handshakes of real devices`, async () => {
    await using relay = await startRelay({ server: { transport } });
    for (const [what, request, native, ws] of CASES) {
      using client = await RawClient.open(relay);
      const head = await client.ask(request);
      const wanted = transport === "native" ? native : ws;
      assertEquals(Number(head.split(" ")[1]), wanted, `${what}: ${head}`);
    }
  });
}

Deno.test("relay on ws accepts heads of up to 64 KiB, and answers larger ones with 431", async () => {
  await using relay = await startRelay({ server: { transport: "ws" } });
  using client = await RawClient.open(relay);
  const head = await client.ask(handshake({ Cookie: "x".repeat(64 * 1024) }));
  assert(head.startsWith("HTTP/1.1 431 Request Header Fields Too Large\r\n"), head);
  assertEquals(relay.stats().rejections.bad_request, 1);
});
