import { assert, assertEquals } from "@std/assert";
import { Buffer } from "node:buffer";
import { makeCertificate } from "../../testing/certificate.ts";
import { connect } from "../../testing/client.ts";
import { frame, OPCODE, RawClient } from "../../testing/raw_client.ts";
import { type Changes, startRelay } from "../../testing/start.ts";
import { tempFolder } from "../../testing/temp.ts";
import { until } from "../../testing/wait.ts";
import { CLOSE } from "../close.ts";

const start = ({ server, ...rest }: Changes = {}) => {
  return startRelay({ ...rest, server: { transport: "ws", ...server } });
};

/** Reads frames until one closes, and returns its code and reason. */
async function closeOf(client: RawClient): Promise<{ code: number; reason: string }> {
  let last = await client.next();
  while (last.opcode !== OPCODE.close) last = await client.next();
  const { payload } = last;
  return {
    code: payload[0] << 8 | payload[1],
    reason: new TextDecoder().decode(payload.subarray(2)),
  };
}

Deno.test("ws refuses a message that is too big while it arrives, whole or in fragments", async () => {
  await using relay = await start({ limits: { max_message_bytes: 1000 } });
  using whole = await RawClient.join(relay);
  whole.send(frame(OPCODE.text, "x".repeat(5000)).subarray(0, 100));
  assertEquals(await closeOf(whole), CLOSE.too_big);
  using pieces = await RawClient.join(relay);
  pieces.send(frame(OPCODE.text, "x".repeat(600), { fin: false }));
  pieces.send(frame(OPCODE.continuation, "x".repeat(600), { fin: false }));
  assertEquals(await closeOf(pieces), CLOSE.too_big);
  assertEquals(relay.stats().evictions.too_big, 2);
});

/** A message in fragments of one byte, and as many empty ones. */
function inFragments(body: Uint8Array, empty = 0): Uint8Array {
  const first = [frame(OPCODE.binary, "", { fin: false })];
  const fill = Array(empty).fill(frame(OPCODE.continuation, "", { fin: false }));
  const bytes = Array.from(body, (_, at) => {
    return frame(OPCODE.continuation, body.subarray(at, at + 1), { fin: at === body.length - 1 });
  });
  return Buffer.concat([...first, ...fill, ...bytes]);
}

Deno.test("ws takes a message in as many fragments as it may have bytes", async () => {
  const limit = 20_000;
  await using relay = await start({ limits: { max_message_bytes: limit } });
  await using alice = await connect(relay);
  using bob = await RawClient.join(relay);
  const body = Uint8Array.from({ length: limit }, (_, at) => at % 251);
  for (const message of [body, body.subarray(0, 3), body]) {
    bob.send(inFragments(message));
    assertEquals(await alice.next(), message);
  }
  bob.send(inFragments(new Uint8Array(limit + 1)));
  assertEquals(await closeOf(bob), CLOSE.too_big);
});

Deno.test("ws stops a message of empty fragments without end", async () => {
  await using relay = await start({ limits: { max_message_bytes: 1000 } });
  using client = await RawClient.join(relay);
  client.send(inFragments(new Uint8Array(1), 20_000));
  assertEquals(await closeOf(client), CLOSE.too_big);
  assertEquals(relay.stats().evictions.too_big, 1);
});

const BREACHES: [what: string, bytes: Uint8Array, code: number][] = [
  ["a reserved opcode", frame(3), 1002],
  ["a reserved bit", frame(OPCODE.text, "x", { reserved: 4 }), 1002],
  ["an unmasked frame", frame(OPCODE.text, "x", { masked: false }), 1002],
  ["text that is not UTF-8", frame(OPCODE.text, new Uint8Array([0xff])), 1007],
];
for (const [what, bytes, code] of BREACHES) {
  Deno.test(`ws answers ${what} with ${code}`, async () => {
    await using relay = await start();
    using client = await RawClient.join(relay);
    client.send(bytes);
    assertEquals((await closeOf(client)).code, code);
    await until(() => relay.stats().evictions.error === 1, "the eviction");
  });
}

Deno.test("ws answers the latest ping of a client that reads none of the pongs, and keeps it", async () => {
  await using relay = await start();
  using client = await RawClient.join(relay);
  const count = 300_000;
  client.pause();
  const pings = Array.from({ length: count }, (_, i) => frame(OPCODE.ping, `${i}`.padEnd(100)));
  await client.sent(Buffer.concat(pings));
  client.resume();
  let last = "";
  for (let pongs = 0; !last.startsWith(`${count - 1} `); pongs++) {
    assert(pongs < count, "more pongs than pings");
    last = new TextDecoder().decode((await client.next()).payload);
  }
  assertEquals([relay.stats().connected, relay.stats().evictions.error], [1, 0]);
});

Deno.test("ws answers health checks and publishes the body of a POST over TLS", async () => {
  await using folder = await tempFolder();
  const files = await makeCertificate(folder.path, "own");
  await using relay = await start({ server: { tls: { enabled: true, ...files } } });
  const caCerts = [await Deno.readTextFile(files.cert_file)];
  using client = Deno.createHttpClient({ caCerts });
  await using alice = await connect(relay, { client });
  const url = relay.url.replace("wss:", "https:");
  const health = await fetch(`${url}healthz`, { client });
  assertEquals([health.status, await health.text()], [200, "ok\n"]);
  for (const body of ["hello", "x".repeat(200_000)]) {
    const { status } = await fetch(url, { client, method: "POST", body });
    assertEquals([status, await alice.next()], [204, body]);
  }
});

Deno.test("ws answers a client that has ended its side already, and hears a message before that", async () => {
  await using relay = await start();
  await using alice = await connect(relay);
  using curious = await RawClient.open(relay);
  curious.send("GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n");
  curious.fin();
  await until(() => curious.head !== "", "the answer");
  assertEquals(curious.head.split("\r\n")[0], "HTTP/1.1 200 OK");
  using bob = await RawClient.join(relay);
  bob.send(frame(OPCODE.text, "last words"));
  bob.fin();
  assertEquals(await alice.next(), "last words");
  await until(() => relay.stats().connected === 1, "bob to leave");
  assertEquals(relay.stats().evictions.error, 1);
});

Deno.test("ws takes only the first of many requests that come at once, since it ends the connection after it", async () => {
  await using relay = await start();
  using client = await RawClient.open(relay);
  const head = await client.ask(
    "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\na".repeat(500),
  );
  assertEquals(head.split("\r\n")[0], "HTTP/1.1 204 No Content");
  await client.ended;
  assertEquals([relay.stats().messages, relay.stats().rejections.bad_request], [1, 499]);
});
