import { assert, assertEquals, assertRejects } from "@std/assert";
import { Buffer } from "node:buffer";
import { createServer } from "node:http";
import { Hub } from "../../hub.ts";
import { makeCertificate } from "../../testing/certificate.ts";
import { closeAll, connect, connectAll } from "../../testing/client.ts";
import { Program, ROOT, run } from "../../testing/program.ts";
import { frame, handshake, OPCODE, RawClient } from "../../testing/raw_client.ts";
import { scrape } from "../../testing/scrape.ts";
import { type Changes, startRelay } from "../../testing/start.ts";
import { tempFolder } from "../../testing/temp.ts";
import { bounded, sleep, until } from "../../testing/wait.ts";
import { urlOfPath } from "../address.ts";
import { type Certificate, loadCertificate } from "../certificate.ts";
import type { Address } from "../transport.ts";
import { openPort } from "./port.ts";
import { ws } from "./ws.ts";

const start = ({ server, ...rest }: Changes = {}) => {
  return startRelay({ ...rest, server: { transport: "ws", ...server } });
};

Deno.test("ws pings a silent client before it drops it", async () => {
  await using relay = await start({ server: { idle_timeout_seconds: 1 } });
  using client = await RawClient.join(relay);
  assertEquals((await client.next()).opcode, OPCODE.ping);
  assertEquals(relay.stats().connected, 1);
  await until(() => relay.stats().evictions.idle === 1, "the eviction");
  await bounded(client.ended, "the end of the connection");
});

/** Reads no faster than a slow line would, and answers pings when it comes to them. */
function readSlowly(client: RawClient, bytesPerSecond: number): { heard: number } {
  const read = { heard: 0 };
  client.consume(({ opcode, payload }) => {
    if (opcode === OPCODE.ping) client.send(frame(OPCODE.pong));
    else read.heard += payload.length;
  });
  client.slowDown(bytesPerSecond);
  return read;
}

Deno.test("ws keeps a silent client that needs longer than the idle timeout to read a message", async () => {
  await using relay = await start({ server: { idle_timeout_seconds: 1 } });
  using cathy = await RawClient.join(relay);
  const read = readSlowly(cathy, 60_000);
  await using alice = await connect(relay);
  alice.send(new Uint8Array(250_000));
  await until(() => read.heard === 250_000, "cathy to hear it");
  await sleep(2.5);
  assertEquals(relay.stats().connected, 2);
});

Deno.test("ws drops a silent client that does not read, once it has had the time to", async () => {
  await using relay = await start({ server: { idle_timeout_seconds: 1 } });
  using cathy = await RawClient.join(relay);
  cathy.pause();
  await using alice = await connect(relay);
  alice.send(new Uint8Array(50_000));
  await until(() => relay.stats().evictions.idle === 1, "cathy to be dropped");
});

Deno.test("ws keeps a client whose message takes longer than the idle timeout to arrive", async () => {
  await using relay = await start({ server: { idle_timeout_seconds: 1 } });
  await using alice = await connect(relay);
  const pieces = 15, size = 5000;
  const body = "x".repeat(pieces * size);
  const whole = frame(OPCODE.text, body);
  const piece = (at: number) => {
    const fin = at === pieces - 1;
    return frame(at === 0 ? OPCODE.text : OPCODE.continuation, "x".repeat(size), { fin });
  };
  using bob = await RawClient.join(relay);
  using cathy = await RawClient.join(relay);
  for (let at = 0; at < pieces; at++) {
    const end = at === pieces - 1 ? whole.length : (at + 1) * size;
    bob.send(whole.subarray(at * size, end));
    cathy.send(piece(at));
    await sleep(0.2);
  }
  assertEquals(await alice.take(2), [body, body]);
});

/** Listens without a relay around it, and admits everybody. */
async function listen(
  handshakeTimeoutSeconds: number,
  certificate: Certificate | null,
  address: Address = { hostname: "127.0.0.1", port: 0 },
) {
  const members = new Hub({ encode: ws.encode, maxMessageBytes: 1000, maxBacklogBytes: 1000 });
  const listener = await ws.listen({
    admit: () => ({
      peer: "anyone",
      address: "test",
      room: "/",
      replay: null,
      subprotocol: null,
      mayTalk: true,
      expires: Infinity,
      release: () => {},
    }),
    countRejection: () => {},
    members,
    address,
    certificate,
    idleTimeoutSeconds: 60,
    handshakeTimeoutSeconds,
    maxMessageBytes: 1000,
    maxDescriptors: null,
  });
  return {
    url: "path" in address ? urlOfPath(address.path) : `ws://127.0.0.1:${listener.port}/`,
    [Symbol.asyncDispose]: () => listener.stop(1),
  };
}

Deno.test("ws ends handshakes that are not finished in time, TLS ones included", async () => {
  const seconds = 1;
  await using folder = await tempFolder();
  const files = await makeCertificate(folder.path, "own");
  await using plain = await listen(seconds, null);
  await using secure = await listen(seconds, await loadCertificate({ enabled: true, ...files }));
  await using unix = await listen(seconds, null, { path: `${folder.path}/socket` });
  await using alice = await connect(plain);
  using bob = await RawClient.join(unix);
  const started = performance.now();
  using silent = await RawClient.open(plain);
  using half = await RawClient.open(plain);
  half.send(handshake().slice(0, 40));
  using noHello = await RawClient.open(secure);
  using alone = await RawClient.open(unix);
  const ends = Promise.all([silent.ended, half.ended, noHello.ended, alone.ended]);
  await bounded(ends, "the unfinished handshakes to be ended");
  assert(performance.now() - started > 900 * seconds, "they were ended at once");
  alice.send("still here");
  assertEquals(await alice.next(), "still here");
  bob.send(frame(OPCODE.text, "here too"));
  assertEquals((await bob.next()).opcode, OPCODE.text);
});

Deno.test("ws with TLS frees the descriptors of clients that say nothing, and counts only others", async () => {
  await using folder = await tempFolder();
  const { cert_file, key_file } = await makeCertificate(folder.path, "own");
  await using program = await Program.start({
    env: {
      RELAY_SERVER_TRANSPORT: "ws",
      RELAY_SERVER_TLS_ENABLED: "true",
      RELAY_SERVER_TLS_CERT_FILE: cert_file,
      RELAY_SERVER_TLS_KEY_FILE: key_file,
    },
  });
  const open = () => [...Deno.readDirSync(`/proc/${program.pid}/fd`)].length;
  const before = open();
  for (const leave of ["reset", "fin"] as const) {
    for (let i = 0; i < 100; i++) (await RawClient.open(program))[leave]();
  }
  using plain = await RawClient.open(program);
  plain.send(handshake());
  await bounded(plain.ended, "the request without TLS to be refused"); // So the others were accepted before.
  await until(() => open() < before + 10, "the descriptors to be free");
  const refused = 'websocket_rejected_connections_total{reason="bad_request"}';
  assertEquals((await scrape(program)).get(refused), 1);
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

Deno.test("ws frees the descriptor and the memory of a client that never reads at once", async () => {
  const peers = 20, backlog = 8 * 1024 * 1024;
  await using program = await Program.start({
    env: { RELAY_SERVER_TRANSPORT: "ws", RELAY_LIMITS_MAX_BACKLOG_BYTES: `${backlog}` },
  });
  const metric = async (name: string) => (await scrape(program)).get(name)!;
  using alice = await RawClient.join(program);
  const descriptors = await metric("process_open_fds");
  const memory = await metric("process_resident_memory_bytes");
  const stuck = await Promise.all(Array.from({ length: peers }, () => RawClient.join(program)));
  for (const client of stuck) client.pause();
  const megabyte = frame(OPCODE.binary, new Uint8Array(1024 * 1024));
  const evicted = 'websocket_evictions_total{reason="slow"}';
  for (let i = 0; await metric(evicted) < peers; i++) {
    assert(i < 200, "the kernel takes everything");
    alice.send(megabyte);
    await alice.next();
  }
  await until(
    async () => await metric("process_open_fds") <= descriptors + 2, // The scrape's own.
    "the descriptors to be free",
  );
  await until(
    async () => await metric("process_resident_memory_bytes") - memory < peers * backlog / 2,
    "the memory to be free",
  );
  for (const client of stuck) client.reset();
});

/** Starts a relay that may open only so many files, and lets many more clients come at once. */
async function rushAt(files: number, clients: number, permissions: string) {
  const relay = `exec ${Deno.execPath()} run --quiet ${permissions} ${ROOT}main.ts "$@"`;
  const command = ["sh", "-c", `ulimit -n ${files}; ${relay}`, "relay"];
  const program = await Program.start({ command, env: { RELAY_SERVER_TRANSPORT: "ws" } });
  const alice = await connect(program);
  const opened = await Promise.allSettled(
    Array.from({ length: clients }, () => RawClient.open(program)),
  );
  const rush = opened.flatMap((each) => each.status === "fulfilled" ? [each.value] : []);
  return { program, alice, rush };
}

/** Waits until the relay admits somebody. */
async function roomFor(program: Program, name: string): Promise<void> {
  await until(async () => {
    const client = await connect(program).catch(() => null);
    await client?.close();
    return client !== null;
  }, `a place for ${name}`);
}

Deno.test("ws turns away a rush for more connections than it may open files", async () => {
  const { program, alice, rush } = await rushAt(500, 600, "-A");
  await using _program = program, _alice = alice;
  let open = rush.length;
  for (const client of rush) client.ended.then(() => open--);
  await until(() => open <= 300, "those who find no place to be turned away");
  alice.send("still here");
  assertEquals(await alice.next(), "still here");
  for (const client of rush) client.reset();
  await roomFor(program, "bob");
});

Deno.test("ws accepts again after a rush that took all files, also where it cannot see it coming", async () => {
  const { program, alice, rush } = await rushAt(200, 300, "--allow-net --allow-read --allow-env");
  await using _program = program, _alice = alice;
  await until(() => /stopped accepting connections/.test(program.stderr), "the files to be gone");
  for (const client of rush) client.reset();
  await roomFor(program, "bob");
  alice.send("still here");
  assertEquals(await alice.next(), "still here");
});

Deno.test("ws does not listen again because the others on its port answer its probes", async () => {
  const server = createServer();
  const address = { hostname: "127.0.0.1", port: 0, reusePort: true };
  const port = await openPort(server, address);
  const others = Array.from({ length: 9 }, () => {
    const shared = { ...address, port: port.number, onListen: () => {} };
    return Deno.serve(shared, () => new Response());
  });
  let again = 0;
  server.on("listening", () => again++);
  await sleep(9); // Four probes, of which nine of ten reach the others.
  assertEquals(again, 0);
  await Promise.all([port.close(), ...others.map((other) => other.shutdown())]);
});

Deno.test("ws listens again on a port that it shares with another", async () => {
  const env = { RELAY_SERVER_TRANSPORT: "ws", RELAY_SERVER_REUSE_PORT: "true" };
  const warning = "The port stopped accepting connections";
  await using healthy = await Program.start({ env });
  const { port } = new URL(healthy.url);
  const args = ["--port", port, "--metrics-port", "0"];
  const relay =
    `exec ${Deno.execPath()} run --quiet --allow-net --allow-read --allow-env ${ROOT}main.ts "$@"`;
  const command = ["sh", "-c", `ulimit -n 200; ${relay}`, "relay"];
  await using poor = await Program.start({ command, args, env });
  const opened = await Promise.allSettled(
    Array.from({ length: 500 }, () => RawClient.open(healthy)),
  );
  await until(() => poor.logged(warning), "a probe to find out", 60);
  for (const each of opened) if (each.status === "fulfilled") each.value.reset();
  await using clients = new AsyncDisposableStack();
  const joined = async () => (await scrape(poor)).get("websocket_connected_clients")!;
  await until(async () => {
    const client = await connect(healthy).catch(() => null);
    if (client) clients.use(client);
    return await joined().catch(() => 0) > 0;
  }, "a newcomer at the relay without files");
});

Deno.test("ws replaces its certificate when the files change, and keeps it when they break", async () => {
  await using folder = await tempFolder();
  const files = await makeCertificate(folder.path, "own", 10);
  const old = await Deno.readTextFile(files.cert_file);
  await using relay = await start({ server: { tls: { enabled: true, ...files } } });
  const join = async (cert: string) => {
    using client = Deno.createHttpClient({ caCerts: [cert] });
    return await connect(relay, { client });
  };
  const expiry = async () => {
    return (await scrape(relay)).get("websocket_tls_certificate_expiry_timestamp_seconds")!;
  };
  await using alice = await join(old);
  const firstExpiry = await expiry();

  await Deno.writeTextFile(files.cert_file, "broken");
  await relay.reload();
  await (await join(old)).close();
  assertEquals(await expiry(), firstExpiry);

  await makeCertificate(folder.path, "own", 20);
  const renewed = await Deno.readTextFile(files.cert_file);
  await until(async () => await expiry() > firstExpiry, "the files to be noticed");
  await using bob = await join(renewed);
  await assertRejects(() => join(old));
  bob.send("old and new");
  assertEquals(await alice.next(), "old and new");
});

Deno.test("ws stops in time though its certificate cannot be read to the end", async () => {
  await using folder = await tempFolder();
  const files = await makeCertificate(folder.path, "own");
  const relay = await start({ server: { tls: { enabled: true, ...files } } });
  const fifo = `${folder.path}/fifo`;
  assertEquals((await run({ command: ["mkfifo", fifo] })).code, 0);
  await Deno.rename(fifo, files.cert_file);
  const reading = relay.reload();
  using writer = await Deno.open(files.cert_file, { write: true }); // Waits until it is being read.
  await bounded(relay.stop(), "the relay to stop");
  await Deno.rename(files.key_file, files.cert_file);
  writer.close();
  await bounded(reading, "the end of reading");
});

Deno.test("ws slows a flooding client down, and everybody gets everything", async () => {
  await using program = await Program.start({ env: { RELAY_SERVER_TRANSPORT: "ws" } });
  const readers = await connectAll(program, 5);
  using flooder = await RawClient.join(program);
  const count = 3000; // 47 MiB: what `native` would evict the flooder for.
  flooder.send(Buffer.concat(Array(count).fill(frame(OPCODE.text, "x".repeat(16 * 1024)))));
  for (const reader of readers) assertEquals((await reader.take(count)).length, count);
  await closeAll(readers);
  assertEquals(program.stderr.includes("evicted"), false, program.stderr);
});
