import { assert, assertEquals } from "@std/assert";
import { Buffer } from "node:buffer";
import { closeAll, connect, connectAll } from "./client.ts";
import { expectOneLeave } from "./leave.ts";
import { Program } from "./program.ts";
import { frame, handshake, OPCODE, RawClient } from "./raw_client.ts";
import { type Changes, startRelay } from "./start.ts";
import { bounded, sleep, until } from "./wait.ts";
import { CLOSE, type Close } from "../transport/close.ts";

/** The payload of a close frame (RFC 6455 §5.5.1). */
function closePayload({ code, reason }: Close): Uint8Array {
  return new Uint8Array([code >> 8, code & 0xff, ...new TextEncoder().encode(reason)]);
}

for (const transport of ["native", "ws"] as const) {
  const start = ({ server, ...rest }: Changes = {}) => {
    return startRelay({ ...rest, server: { transport, ...server } });
  };

  Deno.test(`relay on ${transport} serves 300 clients at once`, async () => {
    await using relay = await start();
    const clients = await connectAll(relay, 300);
    assertEquals(relay.stats().connected, 300);
    clients[0].send("to all");
    for (const client of clients) assertEquals(await client.next(), "to all");
    await closeAll(clients);
    await until(() => relay.stats().connected === 0, "all to leave");
    const { connections, disconnections, deliveries } = relay.stats();
    assertEquals([connections, disconnections, deliveries], [300, 300, 300]);
  });

  Deno.test(`relay on ${transport} counts a client that falls silent exactly once`, async () => {
    await using relay = await start({ server: { idle_timeout_seconds: 2 } });
    await expectOneLeave(relay, () => {}, "idle"); // It does not answer pings.
  });

  Deno.test(`relay on ${transport} keeps a client that is silent but answers pings`, async () => {
    await using relay = await start({ server: { idle_timeout_seconds: 1 } });
    await using alice = await connect(relay);
    await sleep(2.5);
    assertEquals(relay.stats().connected, 1);
    alice.send("awake");
    assertEquals(await alice.next(), "awake");
  });

  Deno.test(`relay on ${transport} evicts a client that reads more slowly than messages arrive`, async () => {
    await using relay = await start();
    const others = await connectAll(relay, 4);
    using cathy = await RawClient.join(relay);
    cathy.ignore();
    cathy.slowDown(5e6);
    for (let sent = 0; relay.stats().evictions.slow === 0; sent++) {
      assert(sent < 4000, "cathy is never found slow");
      others[0].send(new Uint8Array(100_000));
      for (const client of others) await client.next();
    }
    assertEquals(relay.stats().connected, 4);
    await closeAll(others);
  });

  Deno.test(`relay on ${transport} holds a flood back so that readers on slow lines lose nothing`, async () => {
    await using relay = await start();
    const slow = await Promise.all([1, 2, 3].map(() => RawClient.join(relay)));
    using flooder = await RawClient.join(relay);
    flooder.ignore();
    let heard = 0;
    for (const client of slow) {
      client.consume(() => heard++);
      client.slowDown(4e6);
    }
    const count = 260; // 16 MB, more than the kernel and the log hold.
    flooder.send(Buffer.concat(Array(count).fill(frame(OPCODE.binary, new Uint8Array(62_500)))));
    await until(() => heard === slow.length * count, "all to hear everything", 60);
    assertEquals([relay.stats().connected, relay.stats().evictions.slow], [4, 0]);
    for (const client of slow) client.reset();
  });

  Deno.test(`relay on ${transport} keeps relaying but refuses new clients during a shutdown's delay`, async () => {
    const relay = await start({ shutdown: { delay_seconds: 1, timeout_seconds: 3 } });
    await using alice = await connect(relay);
    const stopped = relay.stop();
    assertEquals(await fetch(`${relay.metricsUrl}readyz`).then(bodyAndStatus), [
      503,
      "shutting down\n",
    ]);
    assertEquals(await fetch(`${relay.metricsUrl}healthz`).then(bodyAndStatus), [200, "ok\n"]);
    const own = relay.url.replace("ws:", "http:");
    assertEquals(await fetch(`${own}readyz`).then(bodyAndStatus), [503, "shutting down\n"]);
    using bob = await RawClient.open(relay);
    const answer = await bob.ask(handshake());
    assert(answer.startsWith("HTTP/1.1 503 "), answer);
    assertEquals(relay.stats().rejections.draining, 1);
    alice.send("still works");
    assertEquals(await alice.next(), "still works");
    assertEquals(await bounded(alice.closed, "the end"), CLOSE.shutdown);
    assertEquals(await stopped, { closed: 1, terminated: 0 });
  });

  Deno.test(`relay on ${transport} terminates clients that do not close in time, and stops`, async () => {
    const relay = await start({ shutdown: { timeout_seconds: 1 } });
    await using alice = await connect(relay);
    using deaf = await RawClient.join(relay); // It reads the close frame but never answers.
    using stuck = await RawClient.join(relay); // It never reads at all.
    await until(() => relay.stats().connected === 3, "all to join");
    stuck.pause();
    const megabyte = "x".repeat(1024 * 1024);
    for (let i = 0; relay.stats().backlogBytesMax === 0; i++) {
      assert(i < 100, "the kernel takes everything");
      alice.send(megabyte);
      await alice.next();
    }
    assertEquals(await bounded(relay.stop(), "the shutdown"), { closed: 1, terminated: 2 });
    assertEquals(await bounded(alice.closed, "the end"), CLOSE.shutdown);
    let last = await deaf.next();
    while (last.opcode !== OPCODE.close) last = await deaf.next();
    assertEquals(last.payload, closePayload(CLOSE.shutdown));
  });

  Deno.test(`relay on ${transport} relays a burst and evicts no client that reads`, async () => {
    // The relay has its own process, because readers in its thread could not read while it is busy.
    const env = {
      RELAY_SERVER_TRANSPORT: transport,
      RELAY_LIMITS_MAX_BACKLOG_BYTES: `${64 * 1024}`,
    };
    await using program = await Program.start({ env });
    const readers = await connectAll(program, 5);
    using flooder = await RawClient.join(program);
    const size = 16 * 1024, count = 800; // 12 MiB: far more than the backlog and the kernel hold.
    flooder.send(Buffer.concat(Array(count).fill(frame(OPCODE.text, "x".repeat(size)))));
    for (const reader of readers) {
      for (const message of await reader.take(count)) assertEquals(message.length, size);
    }
    await closeAll(readers);
    assertEquals(program.stderr.includes("evicted"), false, program.stderr);
  });
}

Deno.test("relay on native evicts a silent client that does not read", async () => {
  await using relay = await startRelay({
    server: { idle_timeout_seconds: 2 },
    limits: { max_backlog_bytes: 1024 ** 3 },
  });
  using cathy = await RawClient.join(relay);
  cathy.pause();
  await using alice = await connect(relay);
  const stuck = () => relay.stats().backlogBytes > 0;
  for (let i = 0; i < 200 && !stuck(); i++) {
    alice.send(new Uint8Array(200_000));
    await alice.next();
  }
  assert(stuck(), "the kernel takes everything");
  await until(() => relay.stats().evictions.idle === 1, "cathy to be dropped");
  alice.send("still here");
  assertEquals(await alice.next(), "still here");
});

Deno.test("relay on native loses a client to Deno's own idle timeout if a message takes too long", async () => {
  await using relay = await startRelay({ server: { idle_timeout_seconds: 1 } });
  const deno = { code: 1001, reason: "No response from ping frame." };
  const closeOf = async (client: RawClient) => {
    let last = await client.next();
    while (last.opcode !== OPCODE.close) last = await client.next();
    return last.payload;
  };
  using sender = await RawClient.join(relay);
  sender.send(frame(OPCODE.text, "x".repeat(1000)).subarray(0, 500));
  assertEquals(await closeOf(sender), closePayload(deno));
  using reader = await RawClient.join(relay);
  await using alice = await connect(relay);
  reader.slowDown(100_000);
  alice.send(new Uint8Array(200_000));
  assertEquals(await closeOf(reader), closePayload(deno));
  await until(() => relay.stats().evictions.idle === 2, "both to leave");
});

Deno.test("relay on native relays 32 MB that arrive at once and evicts no client", async () => {
  await using relay = await startRelay();
  const readers = await connectAll(relay, 5);
  using sender = await RawClient.join(relay);
  sender.ignore();
  sender.send(Buffer.concat(Array(2000).fill(frame(OPCODE.text, "x".repeat(16 * 1024)))));
  for (const reader of readers) assertEquals((await reader.take(2000)).length, 2000);
  const { connected, evictions } = relay.stats();
  assertEquals([connected, evictions.rate, evictions.slow], [6, 0, 0]);
  await closeAll(readers);
});

Deno.test("relay on native evicts a client that floods it, and no other", async () => {
  await using relay = await startRelay();
  const readers = await connectAll(relay, 9);
  using flooder = await RawClient.join(relay);
  flooder.send(Buffer.concat(Array(400_000).fill(frame(OPCODE.text))));
  await until(() => relay.stats().evictions.rate === 1, "the flooder to be evicted");
  readers[0].send("still here");
  for (const reader of readers) {
    let message = await reader.next();
    while (message === "") message = await reader.next();
    assertEquals(message, "still here");
  }
  assertEquals([relay.stats().connected, relay.stats().evictions.slow], [9, 0]);
  await closeAll(readers);
});

async function bodyAndStatus(response: Response): Promise<[number, string]> {
  return [response.status, await response.text()];
}
