import { assertEquals } from "@std/assert";
import { Buffer } from "node:buffer";
import {
  HEAD_TOO_LARGE,
  MAX_HEAD_BYTES,
  type Refusal,
  UNREADABLE,
} from "../../admission/decision.ts";
import type { HandshakeRequest } from "../../admission/handshake.ts";
import { handshake, RawClient } from "../../testing/raw_client.ts";
import { startRelay } from "../../testing/start.ts";
import { HeadReader } from "./head.ts";

type Read = HandshakeRequest | Refusal | null;

/** Reads a head in pieces of so many bytes. */
function read(text: string, bytes = text.length): { read: Read; rest: string } {
  const head = new HeadReader(), all = Buffer.from(text, "latin1");
  for (let at = 0; at < all.length; at += bytes) {
    const read = head.take(all.subarray(at, at + bytes));
    const rest = read && !("status" in read)
      ? Buffer.concat([head.rest, all.subarray(at + bytes)]).toString("latin1")
      : "";
    if (read) return { read, rest };
  }
  return { read: null, rest: "" };
}

const GOOD =
  "GET /a?b HTTP/1.1\r\nHost: x\r\nX-Empty:\r\nx-two: a\r\nX-TWO:\t b c \t\r\nx-Latin: \xe9\r\n\r\n";

Deno.test("HeadReader reads a request, however it is cut, and leaves what comes behind it", () => {
  for (let bytes = 1; bytes <= GOOD.length + 4; bytes++) {
    const { read: request, rest } = read(`${GOOD}\x81\x00\n\n`, bytes);
    const { method, target, headers, hosts, header } = request as HandshakeRequest;
    assertEquals([method, target, headers, hosts, rest], ["GET", "/a?b", 5, 1, "\x81\x00\n\n"]);
    const values = ["host", "x-empty", "x-two", "x-latin", "x-none"].map(header);
    assertEquals(values, ["x", "", "a, b c", "\xe9", null]);
  }
});

Deno.test("HeadReader knows how many Hosts there are, and that HTTP/1.0 has none", () => {
  const hosts = (head: string) => (read(head).read as HandshakeRequest).hosts;
  assertEquals(hosts("GET / HTTP/1.1\r\n\r\n"), 0);
  assertEquals(hosts("GET / HTTP/1.1\r\nHost: a\r\nHOST: a\r\n\r\n"), 2);
  assertEquals(hosts("GET / HTTP/1.0\r\n\r\n"), 1);
});

const LINES = [
  "GET / HTTP/1.1 ",
  "GET  / HTTP/1.1",
  " GET / HTTP/1.1",
  "GET /",
  "GET / HTTP/2.0",
  "GET / http/1.1",
  "GET /\xe9 HTTP/1.1",
  "G(T / HTTP/1.1",
  "",
];
const FIELDS = [
  " folded: x",
  "\tfolded",
  "no colon",
  ": no name",
  "a space : x",
  "a\xe9: x",
  "\xa0a: x",
  "a: x\r",
];
/** What is refused as soon as it has come. */
const BYTES = ["x\n", "a: b\rc", "a: \0", "a: \x7f", "a: \x0b", "\r\r\n", "a:\n b"];

Deno.test("HeadReader refuses what is not written as RFC 9112 asks", () => {
  for (const line of LINES) assertEquals(read(`${line}\r\nHost: x\r\n\r\n`).read, UNREADABLE, line);
  for (const field of FIELDS) {
    const head = `GET / HTTP/1.1\r\nHost: x\r\n${field}\r\n\r\n`;
    for (const cut of [1, 7, head.length]) assertEquals(read(head, cut).read, UNREADABLE, field);
  }
  for (const bytes of BYTES) {
    const head = `GET / HTTP/1.1\r\nHost: x\r\n${bytes}`;
    for (const cut of [1, 7, head.length]) assertEquals(read(head, cut).read, UNREADABLE, bytes);
  }
});

Deno.test("HeadReader takes heads up to their limit and no longer, complete or not", () => {
  const head = (bytes: number) => "GET / HTTP/1.1\r\nx: ".padEnd(bytes, "x");
  for (const cut of [1000, MAX_HEAD_BYTES * 2]) {
    const longest = read(`${head(MAX_HEAD_BYTES)}\r\n\r\n`, cut).read as HandshakeRequest;
    assertEquals(longest.header("x")!.length, MAX_HEAD_BYTES - 19);
    assertEquals(read(`${head(MAX_HEAD_BYTES + 1)}\r\n\r\n`, cut).read, HEAD_TOO_LARGE);
    assertEquals(read(head(MAX_HEAD_BYTES + 5), cut).read, HEAD_TOO_LARGE);
  }
});

Deno.test("ws answers at once what cannot become a request, and counts it", async () => {
  await using relay = await startRelay({ server: { transport: "ws" } });
  for (const bytes of ["GET / HTTP/1.1\nHost: x\n", handshake().replace("Host:", "Host :")]) {
    using client = await RawClient.open(relay);
    assertEquals((await client.ask(bytes)).split("\r\n")[0], "HTTP/1.1 400 Bad Request");
  }
  assertEquals(relay.stats().rejections.bad_request, 2);
});
