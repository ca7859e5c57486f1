import { assert, assertEquals, assertRejects } from "@std/assert";
import { closeAll, connect, connectAll } from "../testing/client.ts";
import { has } from "../testing/daemon.ts";
import { NatsServer, Wire } from "../testing/nats.ts";
import { type Changes, startRelay } from "../testing/start.ts";
import { Crowd, Talker } from "../testing/talk.ts";
import { bounded, sleep, until } from "../testing/wait.ts";

const here = await has("nats-server", "nats-server");

/** Registers a test that needs a real server. */
function test(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, ignore: !here, fn });
}

/** The transports of the relays. Both are used, so that each unpacks messages that the other packed. */
const TRANSPORTS = ["native", "ws", "ws"] as const;

/** Starts a relay for each address of a NATS server. */
async function startAll(urls: string[], changes: Changes = {}) {
  const relays = await Promise.all(urls.map((url, i) =>
    startRelay({
      ...changes,
      server: { transport: TRANSPORTS[i], ...changes.server },
      cluster: { servers: [url], ...changes.cluster },
    })
  ));
  const stack = new AsyncDisposableStack();
  for (const relay of relays) stack.use(relay);
  return Object.assign(stack, { relays });
}

const GAP = { code: 1012, reason: "messages were lost" };
const LOST = { code: 1013, reason: "try again later" };

test("relays of a cluster act as one relay for 60 clients that all talk", async () => {
  await using nats = await NatsServer.start();
  await using cluster = await startAll(Array(3).fill(nats.url));
  await using crowd = await Crowd.join(cluster.relays, 20);
  crowd.talk(20);
  await sleep(2);
  await crowd.settle();
  assertEquals(crowd.present.length, 60);
  crowd.assertOneOrder();
  const sent = crowd.all.reduce((sum, talker) => sum + talker.sent, 0);
  assertEquals(cluster.relays.reduce((sum, relay) => sum + relay.stats().messages, 0), sent);
});

test("relays of a cluster preserve text and binary messages of any size", async () => {
  await using nats = await NatsServer.start();
  await using cluster = await startAll(Array(2).fill(nats.url));
  const [alice, bob] = await Promise.all(cluster.relays.map((relay) => connect(relay)));
  const messages = ["", "ü", new Uint8Array(0), new Uint8Array([0, 255]), "x".repeat(125)];
  messages.push("y".repeat(126), new Uint8Array(65_535), "z".repeat(65_536), "w".repeat(900_000));
  for (const message of messages) alice.send(message as string);
  assertEquals(await bob.take(messages.length), messages);
  assertEquals(await alice.take(messages.length), messages);
  for (const message of messages) bob.send(message as string);
  assertEquals(await alice.take(messages.length), messages);
  await closeAll([alice, bob]);
});

test("relays of a cluster without echo omit the sender and no other client", async () => {
  await using nats = await NatsServer.start();
  await using cluster = await startAll(Array(2).fill(nats.url), { relay: { echo: false } });
  const [alice, cathy] = await connectAll(cluster.relays[0], 2);
  const bob = await connect(cluster.relays[1]);
  for (const message of ["1", "2"]) alice.send(message);
  for (const other of [bob, cathy]) assertEquals(await other.take(2), ["1", "2"]);
  bob.send("3");
  for (const other of [alice, cathy]) assertEquals(await other.next(), "3");
  await closeAll([alice, bob, cathy]);
});

const SURVIVED: Record<string, (nats: NatsServer, wires: Wire[]) => Promise<void>> = {
  "the NATS server is restarted": async (nats) => {
    await nats.stop();
    await sleep(1);
    await nats.restart();
  },
  "the NATS server is killed": async (nats) => {
    await nats.kill();
    await nats.restart();
  },
  "the NATS server is paused for 5 s": async (nats) => {
    nats.pause();
    await sleep(5);
    nats.resume();
  },
  "one relay is cut off for a while": async (_, [wire]) => {
    wire.cut();
    await sleep(2);
    wire.mend();
  },
  "an acknowledgement is lost, so that a batch is published twice": async (_, [wire]) => {
    wire.deaf = true;
    await sleep(0.3);
    wire.cut();
    wire.deaf = false;
    wire.mend();
  },
};

for (const [what, happen] of Object.entries(SURVIVED)) {
  test(`relays of a cluster neither lose nor repeat messages when ${what}`, async () => {
    await using nats = await NatsServer.start();
    await using wire = new Wire(nats.port);
    await using cluster = await startAll([wire.url, nats.url, nats.url]);
    await using crowd = await Crowd.join(cluster.relays, 20);
    crowd.talk();
    await sleep(0.5);
    await happen(nats, [wire]);
    await sleep(0.5);
    await crowd.settle();
    assertEquals(crowd.present.length, 60);
    crowd.assertOneOrder();
  });
}

test("relays of a cluster disconnect all clients when a stream in memory is lost", async () => {
  await using nats = await NatsServer.start();
  await using cluster = await startAll(Array(3).fill(nats.url), { cluster: { storage: "memory" } });
  await using crowd = await Crowd.join(cluster.relays, 20);
  crowd.talk();
  await sleep(0.5);
  await nats.kill();
  await nats.restart();
  await crowd.assertClosed(GAP);
  await using again = await Crowd.join(cluster.relays, 2);
  again.talk();
  await sleep(0.5);
  await again.settle();
  again.assertOneOrder();
});

test("relay disconnects its clients when the stream was restored from a copy and has grown", async () => {
  await using nats = await NatsServer.start();
  await using wire = new Wire(nats.port);
  await using cluster = await startAll([wire.url]);
  await using crowd = await Crowd.join(cluster.relays, 10);
  for (const talker of crowd.all) talker.say();
  await crowd.settle();
  await nats.copyStore();
  for (const talker of crowd.all) talker.say();
  await crowd.settle();
  wire.cut();
  await nats.stop();
  await nats.restoreStore();
  await nats.restart();
  await using elsewhere = await startAll([nats.url]);
  await using others = await Crowd.join(elsewhere.relays, 5);
  const { length } = crowd.all[0].heard;
  others.talk(5);
  await until(() => others.all[0].heard.length > length, "more to be said than was lost");
  wire.mend();
  await crowd.assertClosed(GAP);
  for (const { heard } of crowd.all) assertEquals(heard.length, length);
  await others.settle();
  assertEquals(others.present.length, 5);
  others.assertOneOrder();
});

test("no relay delivers later messages of a sender whose message may have no place", async () => {
  await using nats = await NatsServer.start();
  await using wire = new Wire(nats.port);
  await using cluster = await startAll([wire.url, nats.url], { cluster: { retention_seconds: 1 } });
  const [far, near] = cluster.relays;
  await using alice = await Talker.join(far, "alice");
  await using bob = await Talker.join(near, "bob");
  alice.say();
  await bob.hears("alice 0");
  wire.mute = true; // Attempts to publish never arrive from now on.
  alice.say();
  await sleep(0.1);
  alice.say();
  await sleep(0.5);
  wire.cut();
  bob.say();
  await sleep(2.5); // Until bob's message has expired and the servers no longer recognise duplicates.
  wire.mend();
  await bounded(alice.ended, "alice to be sent away");
  assertEquals(alice.closed, GAP);
  await using again = await Talker.join(far, "again");
  again.say();
  await bob.hears("again 0");
  assertEquals(bob.heard, ["alice 0", "bob 0", "again 0"]);
});

test("only a relay that was cut off for longer than the retention disconnects its clients", async () => {
  await using nats = await NatsServer.start();
  await using wire = new Wire(nats.port);
  await using cluster = await startAll([wire.url, nats.url], { cluster: { retention_seconds: 1 } });
  const [far, near] = cluster.relays;
  await using gone = await Crowd.join([far], 10);
  await using crowd = await Crowd.join([near], 10);
  gone.talk();
  crowd.talk();
  await sleep(0.5);
  wire.cut();
  await sleep(3);
  wire.mend();
  await until(() => gone.present.length === 0, "those who missed something to be sent away");
  for (const { closed } of gone.all) assertEquals(closed, GAP);
  await crowd.settle();
  assertEquals(crowd.present.length, 10);
  crowd.assertOneOrder();
});

test("relay that has lost its cluster disconnects its clients, admits no others, and recovers", async () => {
  await using nats = await NatsServer.start();
  await using wire = new Wire(nats.port);
  await using cluster = await startAll([wire.url], { cluster: { patience_seconds: 2 } });
  const [relay] = cluster.relays;
  const readiness = async () => {
    const response = await fetch(`${relay.metricsUrl}readyz`);
    return [response.status, (await response.text()).trim()];
  };
  await using crowd = await Crowd.join([relay], 10);
  crowd.talk();
  await sleep(0.3);
  assertEquals(await readiness(), [200, "ready"]);
  wire.cut();
  await until(async () => (await readiness())[0] === 503, "the relay to notice");
  assertEquals(await readiness(), [503, "cluster reconnecting"]);
  assertEquals(crowd.present.length, 10);
  await assertRejects(() => connect(relay));
  assertEquals(relay.stats().rejections.cluster, 1);
  await crowd.assertClosed(LOST);
  assertEquals(await readiness(), [503, "cluster lost"]);
  assertEquals(relay.stats().evictions.cluster, 10);
  wire.mend();
  await until(async () => (await readiness())[0] === 200, "the relay to recover");
  await using alice = await connect(relay);
  alice.send("here again");
  let heard = await alice.next();
  while (heard !== "here again") heard = await alice.next(); // Earlier messages may come first.
});

test("relay that stops publishes accepted messages before it closes connections", async () => {
  await using nats = await NatsServer.start();
  await using cluster = await startAll(Array(2).fill(nats.url));
  const [leaving, staying] = cluster.relays;
  const alice = await connect(leaving), bob = await connect(staying);
  for (let i = 0; i < 500; i++) alice.send(`${i}`);
  await until(() => leaving.stats().receivedBytes > 0, "some of it to arrive");
  await leaving.stop();
  assertEquals(await alice.closed, { code: 1001, reason: "server shutting down" });
  const { messages } = leaving.stats();
  assert(messages > 0);
  assertEquals(await bob.take(messages), Array.from({ length: messages }, (_, i) => `${i}`));
  await bob.close();
});

test("relay of a cluster closes connections gradually and serves the others until then", async () => {
  await using nats = await NatsServer.start();
  await using cluster = await startAll([nats.url], {
    server: { transport: "ws" }, // On native, a client that is still sending gets no close code.
    shutdown: { spread_seconds: 2 },
  });
  await using crowd = await Crowd.join(cluster.relays, 40);
  crowd.talk();
  await sleep(0.3);
  const stopping = cluster.relays[0].stop();
  await until(() => crowd.present.length < 30, "the first to go");
  assert(crowd.present.length > 0, "all went at once");
  const [last] = crowd.present;
  const before = last.heard.length;
  await until(() => last.closed !== null || last.heard.length > before + 10, "it to be served on");
  await stopping;
  await crowd.assertClosed({ code: 1001, reason: "server shutting down" });
});
