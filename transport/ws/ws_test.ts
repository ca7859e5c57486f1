import { assert, assertEquals } from "@std/assert";
import { Buffer } from "node:buffer";
import { Hub } from "../../hub.ts";
import { makeCertificate } from "../../testing/certificate.ts";
import { connect } from "../../testing/client.ts";
import { Program } from "../../testing/program.ts";
import { frame, handshake, OPCODE, RawClient } from "../../testing/raw_client.ts";
import { type Changes, startRelay } from "../../testing/start.ts";
import { tempFolder } from "../../testing/temp.ts";
import { bounded, until } from "../../testing/wait.ts";
import { type Certificate, loadCertificate } from "../certificate.ts";
import { CLOSE } from "../close.ts";
import { ws } from "./ws.ts";

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

/** Listens without a relay around it, and admits everybody. */
async function listen(handshakeTimeoutSeconds: number, certificate: Certificate | null) {
  const members = new Hub({ encode: ws.encode, maxMessageBytes: 1000, maxBacklogBytes: 1000 });
  const listener = await ws.listen({
    admit: () => ({ peer: "anyone", subprotocol: null, release: () => {} }),
    countRejection: () => {},
    members,
    hostname: "127.0.0.1",
    port: 0,
    certificate,
    idleTimeoutSeconds: 60,
    handshakeTimeoutSeconds,
    maxMessageBytes: 1000,
    maxDescriptors: null,
  });
  return {
    url: `ws://127.0.0.1:${listener.port}/`,
    [Symbol.asyncDispose]: () => listener.stop(1),
  };
}

Deno.test("ws ends handshakes that are not finished in time, TLS ones included", async () => {
  const seconds = 1;
  await using folder = await tempFolder();
  const files = await makeCertificate(folder.path, "own");
  await using plain = await listen(seconds, null);
  await using secure = await listen(seconds, await loadCertificate({ enabled: true, ...files }));
  await using alice = await connect(plain);
  const started = performance.now();
  using silent = await RawClient.open(plain);
  using half = await RawClient.open(plain);
  half.send(handshake().slice(0, 40));
  using noHello = await RawClient.open(secure);
  const ends = Promise.all([silent.ended, half.ended, noHello.ended]);
  await bounded(ends, "the unfinished handshakes to be ended");
  assert(performance.now() - started > 900 * seconds, "they were ended at once");
  alice.send("still here");
  assertEquals(await alice.next(), "still here");
});

Deno.test("ws reads its certificate again on SIGHUP, and offers HTTP/1.1 only", async () => {
  await using folder = await tempFolder();
  const files = await makeCertificate(folder.path, "own");
  await using program = await Program.start({
    env: {
      RELAY_SERVER_TRANSPORT: "ws",
      RELAY_SERVER_TLS_ENABLED: "true",
      RELAY_SERVER_TLS_CERT_FILE: files.cert_file,
      RELAY_SERVER_TLS_KEY_FILE: files.key_file,
    },
  });
  const caCerts = [await Deno.readTextFile(files.cert_file)];
  const port = Number(new URL(program.url).port);
  using tls = await Deno.connectTls({ port, caCerts, alpnProtocols: ["h2", "http/1.1"] });
  assertEquals((await tls.handshake()).alpnProtocol, "http/1.1");
  await makeCertificate(folder.path, "own");
  program.signal("SIGHUP");
  await until(() => program.logged("Certificate replaced, expires 20"), "the log line");
});
