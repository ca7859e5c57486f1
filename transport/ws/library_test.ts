import { assertEquals } from "@std/assert";
import { Buffer } from "node:buffer";
// @ts-types="npm:@types/ws@8.18.1"
import { WebSocket } from "ws";
import { makeCertificate } from "../../testing/certificate.ts";
import { type Changes, startRelay } from "../../testing/start.ts";
import { tempFolder } from "../../testing/temp.ts";
import { bounded, Inbox, until } from "../../testing/wait.ts";
import { CLOSE } from "../close.ts";

// The client is the package `ws`: somebody else's reading of RFC 6455.

type Heard = { text: string } | { binary: Buffer } | { pong: string };

const start = ({ server, ...rest }: Changes = {}) => {
  return startRelay({ ...rest, server: { transport: "ws", ...server } });
};

async function connect(url: string) {
  const socket = new WebSocket(url, ["relay"], { rejectUnauthorized: false });
  const inbox = new Inbox<Heard>();
  socket.on("message", (data, binary) => {
    inbox.push(binary ? { binary: data as Buffer } : { text: String(data) });
  });
  socket.on("pong", (data) => inbox.push({ pong: data.toString() }));
  const closed = new Promise<{ code: number; reason: string }>((resolve) => {
    socket.on("close", (code, reason) => resolve({ code, reason: reason.toString() }));
  });
  const opened = new Promise((resolve, reject) => socket.on("open", resolve).on("error", reject));
  await bounded(opened, "the connection");
  return { socket, closed, next: () => inbox.next("a frame") };
}

/** Lets two clients say all kinds of things to each other. */
async function talk(url: string): Promise<void> {
  const alice = await connect(url), bob = await connect(url);
  assertEquals([alice.socket.protocol, alice.socket.extensions], ["relay", ""]);
  const binary = Buffer.from(Array.from({ length: 70_000 }, (_, i) => i % 251));
  for (const text of ["", "hello", "κόσμε 😀", "x".repeat(126), "y".repeat(300_000)]) {
    alice.socket.send(text);
    assertEquals([await alice.next(), await bob.next()], [{ text }, { text }]);
  }
  for (const size of [0, 1, 125, 126, 65_535, 65_536]) {
    bob.socket.send(binary.subarray(0, size));
    assertEquals(await alice.next(), { binary: binary.subarray(0, size) });
    assertEquals(await bob.next(), { binary: binary.subarray(0, size) });
  }
  alice.socket.send("κό", { fin: false });
  alice.socket.ping("between");
  alice.socket.send("", { fin: false });
  alice.socket.send("σμε", { fin: true });
  assertEquals(await alice.next(), { pong: "between" });
  assertEquals([await alice.next(), await bob.next()], [{ text: "κόσμε" }, { text: "κόσμε" }]);
  alice.socket.close(4000, "goodbye");
  assertEquals((await bounded(alice.closed, "the end of alice")).code, 4000);
  bob.socket.close();
  assertEquals((await bounded(bob.closed, "the end of bob")).code, 1005);
}

Deno.test("ws and the package ws understand each other", async () => {
  await using relay = await start();
  await talk(relay.url);
  await until(() => relay.stats().connected === 0, "both to leave");
  assertEquals(relay.stats().evictions.error, 0);
});

Deno.test("ws and the package ws understand each other over TLS", async () => {
  await using folder = await tempFolder();
  const files = await makeCertificate(folder.path, "own");
  await using relay = await start({ server: { tls: { enabled: true, ...files } } });
  await talk(relay.url);
});

Deno.test("ws says goodbye to the package ws, and tells it why it is evicted", async () => {
  const relay = await start({ limits: { max_message_bytes: 10 } });
  const alice = await connect(relay.url), bob = await connect(relay.url);
  alice.socket.send("more than ten bytes");
  assertEquals(await bounded(alice.closed, "the eviction"), CLOSE.too_big);
  assertEquals(await relay.stop(), { closed: 1, terminated: 0 });
  assertEquals(await bounded(bob.closed, "the shutdown"), CLOSE.shutdown);
});
