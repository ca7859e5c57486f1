import { assert, assertEquals, assertRejects } from "@std/assert";
import { closeAll, connect, connectAll } from "../testing/client.ts";
import { OneOrder } from "../testing/accidents.ts";
import { has } from "../testing/daemon.ts";
import { NatsServer, Wire } from "../testing/nats.ts";
import { Program } from "../testing/program.ts";
import { frame, OPCODE, RawClient } from "../testing/raw_client.ts";
import { scrape } from "../testing/scrape.ts";
import { type Changes, startRelay } from "../testing/start.ts";
import { Crowd, Talker } from "../testing/talk.ts";
import { bounded, sleep, until } from "../testing/wait.ts";

const here = await has("nats-server", "nats-server");

/** Registers a test that needs a real server. */
function test(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, ignore: !here, fn });
}

/** Starts two relays on a transport. */
async function startPair(url: string, transport: "native" | "ws", changes: Changes = {}) {
  const start = () =>
    startRelay({
      ...changes,
      server: { transport, ...changes.server },
      cluster: { servers: [url], ...changes.cluster },
    });
  const relays = await Promise.all([start(), start()]);
  const stack = new AsyncDisposableStack();
  for (const relay of relays) stack.use(relay);
  return Object.assign(stack, { relays });
}

for (const transport of ["native", "ws"] as const) {
  test(`a client that does not read holds up no other client of a cluster on ${transport}`, async () => {
    await using nats = await NatsServer.start();
    await using pair = await startPair(nats.url, transport, {
      limits: { max_backlog_bytes: 256 * 1024 },
    });
    const [near, far] = pair.relays;
    using stuck = await RawClient.join(near);
    stuck.pause();
    const alice = await connect(near), bob = await connect(far);
    const message = "x".repeat(100_000);
    for (let i = 0; near.stats().evictions.slow === 0; i++) {
      assert(i < 1000, "it was never found slow");
      const said = `${i} ${message}`;
      (i % 2 === 0 ? alice : bob).send(said);
      for (const client of [alice, bob]) assertEquals(await client.next() === said, true);
    }
    assertEquals(near.stats().connected + far.stats().connected, 2);
    await closeAll([alice, bob]);
  });

  test(`each relay of a cluster on ${transport} limits the rates and the number of its clients`, async () => {
    await using nats = await NatsServer.start();
    await using pair = await startPair(nats.url, transport, {
      limits: { max_messages_per_second: 5, max_connections: 2 },
    });
    const [near, far] = pair.relays;
    const [alice, mallory] = await connectAll(near, 2), bob = await connect(far);
    await assertRejects(() => connect(near));
    assertEquals(near.stats().rejections.full, 1);
    for (let i = 0; i < 6; i++) mallory.send(`${i}`);
    assertEquals(await mallory.closed, { code: 1008, reason: "message rate exceeded" });
    for (const client of [alice, bob]) assertEquals(await client.take(5), [..."01234"]);
    for (let i = 0; i < 5; i++) bob.send(`${i}`);
    for (const client of [alice, bob]) assertEquals(await client.take(5), [..."01234"]);
    assertEquals([near, far].map((relay) => relay.stats().evictions.rate), [1, 0]);
    await closeAll([alice, bob]);
  });
}

/** Sends as much as a socket accepts, until it is stopped. */
function flood(client: RawClient, text: string): () => Promise<void> {
  let going = true;
  const task = (async () => {
    for (let i = 0; going; i++) {
      await client.sent(frame(OPCODE.text, `flood ${i} ${text}`)).catch(() => going = false);
    }
  })();
  return () => {
    going = false;
    return bounded(Promise.race([task, client.ended]), "a flood to end");
  };
}

test("a flood at one relay is held back at its sender, and clients that read stay connected", async () => {
  await using nats = await NatsServer.start();
  await using pair = await startPair(nats.url, "ws");
  await using crowd = await Crowd.join(pair.relays, 5);
  using mallory = await RawClient.join(pair.relays[0]);
  mallory.ignore();
  crowd.talk(50);
  const stop = flood(mallory, "x".repeat(10_000));
  await sleep(5);
  assertEquals(crowd.present.length, 10);
  const { queuedMessages } = pair.relays[0].stats();
  assert(queuedMessages < 10_000, `${queuedMessages} messages wait in the relay`);
  await stop();
  for (const talker of crowd.all) await talker.hush();
  for (const talker of crowd.all) await talker.hearsItself();
  assertEquals(crowd.present.length, 10);
  const order = new OneOrder();
  for (const talker of crowd.all) {
    talker.assertHeardItself();
    assertEquals(order.add(talker.heard.map((message) => message.slice(0, 50))), null);
  }
});

test("a relay that cannot keep up with the stream affects no clients but its own", async () => {
  await using nats = await NatsServer.start();
  const start = (transport: string) =>
    Program.start({
      env: {
        RELAY_SERVER_TRANSPORT: transport,
        RELAY_CLUSTER_SERVERS: nats.url,
        RELAY_CLUSTER_RETENTION_SECONDS: "1",
        RELAY_CLUSTER_MAX_BYTES: `${1024 * 1024}`,
      },
    });
  await using frozen = await start("ws");
  await using lively = await start("ws");
  await using gone = await Crowd.join([frozen], 3);
  await using crowd = await Crowd.join([lively], 3);
  await using loud = await Talker.join(lively, "loud".padEnd(50_000, "x"));
  crowd.talk(20);
  await sleep(0.3);
  frozen.signal("SIGSTOP");
  loud.talk(2); // More than flow control allows for the frozen relay.
  const before = crowd.all.map(({ heard }) => heard.length);
  await sleep(6);
  assertEquals(crowd.present.length, 3);
  for (const [i, { heard }] of crowd.all.entries()) {
    assert(heard.length > before[i] + 500, `${heard.length - before[i]} messages in 6 s`);
  }
  await loud.hush();
  frozen.signal("SIGCONT");
  await gone.assertClosed({ code: 1012, reason: "messages were lost" }, 20);
  await using again = await Crowd.join([frozen], 2);
  await crowd.settle();
  assertEquals(crowd.present.length, 3);
  assertEquals((await scrape(lively)).get("relay_cluster_gaps_total"), 0);
  assertEquals((await scrape(frozen)).get("relay_cluster_gaps_total"), 1);
  assertEquals(again.present.length, 2);
});

test("while NATS is away, native evicts a client that floods, and ws stops reading from it", async () => {
  await using nats = await NatsServer.start();
  await using wire = new Wire(nats.port);
  const start = (transport: "native" | "ws") =>
    startRelay({
      server: { transport },
      cluster: { servers: [wire.url], patience_seconds: 60 },
    });
  await using native = await start("native");
  await using ws = await start("ws");
  await using alice = await connect(native);
  using bob = await RawClient.join(ws);
  wire.cut();
  const cut = async (relay: typeof native) =>
    (await scrape(relay)).get("relay_cluster_connected") === 0;
  for (const relay of [native, ws]) await until(() => cut(relay), "the relays to notice");

  const megabyte = "x".repeat(1024 * 1024 - 1000);
  let sent = 0;
  while (native.stats().evictions.cluster === 0) {
    assert(sent++ < 200, "it takes more and more");
    alice.send(megabyte);
    await sleep(0.01);
  }
  await bounded(alice.closed, "the eviction"); // There is no code because it was still sending.

  const stop = flood(bob, "y".repeat(10_000));
  await sleep(1);
  const { queuedMessages } = ws.stats();
  await sleep(1);
  assertEquals(ws.stats().queuedMessages, queuedMessages, "it was read on");
  assertEquals(ws.stats().connected, 1);
  wire.mend();
  await until(() => ws.stats().messages > queuedMessages, "its messages to be passed on");
  bob.ignore();
  await stop();
});
