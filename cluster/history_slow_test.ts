import { assert, assertEquals, assertMatch } from "@std/assert";
import { connect, roomOf } from "../testing/client.ts";
import { has } from "../testing/daemon.ts";
import { NatsServer } from "../testing/nats.ts";
import { ask } from "../testing/raw_client.ts";
import { type Changes, startRelay } from "../testing/start.ts";
import { run } from "../testing/program.ts";
import { sleep, until } from "../testing/wait.ts";

const here = await has("nats-server", "nats-server");

/** Starts a relay of a cluster with a history. */
function start(nats: NatsServer, { relay, ...rest }: Changes = {}) {
  const changes = { cluster: { servers: [nats.url] }, server: { transport: "ws" as const } };
  return startRelay({ ...changes, ...rest, relay: { history_seconds: 60, ...relay } });
}

async function say(relay: { url: string }, ...texts: string[]): Promise<void> {
  await using client = await connect(relay);
  for (const text of texts) client.send(text);
  await client.take(texts.length);
}

/** Returns the messages that a client receives at once when it asks for a part of the history. */
async function heardBy(relay: { url: string }, query: string, room = "/"): Promise<unknown[]> {
  await using client = await connect(roomOf(relay, `${room}?${query}`));
  await sleep(0.2); // Nothing marks the end of the history.
  return await client.take(client.waiting);
}

for (const transport of ["native", "ws"] as const) {
  Deno.test({
    name: `relay on ${transport} that joins a cluster has the history of the others at once`,
    ignore: !here,
    fn: async () => {
      await using nats = await NatsServer.start();
      await using first = await start(nats, { relay: { rooms: true } });
      await say(roomOf(first, "/team"), "one", "two");
      await say(first, "elsewhere");
      await sleep(5);
      await say(roomOf(first, "/team"), "three");
      await using second = await start(nats, { relay: { rooms: true }, server: { transport } });
      const all = ["one", "two", "three"];
      const expected = {
        "since=4": ["three"],
        "since=60": all,
        "last=2": ["two", "three"],
        "last=9": all,
        "last=0": [],
      };
      for (const [query, texts] of Object.entries(expected)) {
        const heard = [first, second].map((relay) => heardBy(relay, query, "/team"));
        assertEquals(await Promise.all(heard), [texts, texts], query);
      }
    },
  });
}

Deno.test({
  name: "relay that joins a cluster reads no more of the past than it keeps",
  ignore: !here,
  fn: async () => {
    await using nats = await NatsServer.start();
    await using first = await start(nats);
    await say(first, "old");
    await sleep(6);
    await say(first, "young");
    await using second = await start(nats, { relay: { history_seconds: 4 } });
    assertEquals(await heardBy(second, "last=9"), ["young"]);
    await using third = await start(nats, { relay: { history_seconds: 0 } });
    assertEquals(await heardBy(third, "last=9"), []);
  },
});

Deno.test({
  name: "relay that joins a cluster is not ready until it has 50 MB of history",
  ignore: !here,
  fn: async () => {
    await using nats = await NatsServer.start();
    await using first = await start(nats);
    const large = "x".repeat(500_000);
    await say(first, ...Array.from({ length: 100 }, (_, i) => `${i} ${large}`));
    await using second = await start(nats);
    assertEquals((await ask(second, {}, "GET /readyz HTTP/1.1")).status, 200);
    await using client = await connect(roomOf(second, "/?last=100"));
    const heard = await client.take(100) as string[];
    assertEquals(
      heard.map((text) => text.split(" ")[0]),
      Array.from({ length: 100 }, (_, i) => `${i}`),
    );
  },
});

Deno.test({
  name: "relays of a cluster discard the history when messages were lost",
  ignore: !here,
  fn: async () => {
    await using nats = await NatsServer.start();
    await using relay = await start(nats, {
      cluster: { servers: [nats.url], storage: "memory" },
    });
    await say(relay, "before");
    await nats.stop();
    await nats.restart();
    await until(() => relay.stats().historyBytes === 0, "the history to be forgotten");
    await until(async () => (await ask(relay, {}, "GET /readyz HTTP/1.1")).status === 200, "it");
    await say(relay, "after");
    assertEquals(await heardBy(relay, "last=9"), ["after"]);
  },
});

Deno.test("relay refuses a history that is longer than the stream keeps messages", async () => {
  const env = { RELAY_CLUSTER_SERVERS: "nats://127.0.0.1:1", RELAY_RELAY_HISTORY_SECONDS: "121" };
  const { code, stderr } = await run({ args: ["--check"], env });
  assertEquals(code, 2);
  assertMatch(stderr, /history_seconds must be at most cluster\.retention_seconds, 120, got 121 /);
});

Deno.test({
  name: "relay that joins a cluster has a history even if the stream loses its beginning meanwhile",
  ignore: !here,
  fn: async () => {
    await using nats = await NatsServer.start();
    const kept = 1024 * 1024;
    const cluster = { servers: [nats.url], max_bytes: 8 * kept };
    const changes = { cluster, relay: { history_bytes: kept } };
    await using first = await start(nats, changes);
    await using alice = await connect(first);
    const text = "x".repeat(10_000);
    let said = 0, heard = 0;
    alice.listen(() => heard++);
    const talking = setInterval(() => {
      for (; said < heard + 100; said++) alice.send(`${said} ${text}`);
    }, 1);
    try {
      await until(() => heard > 1000, "the stream to be full", 60);
      await using second = await start(nats, changes);
      const { historyBytes } = second.stats();
      assert(historyBytes > kept / 4, `the history has ${historyBytes} bytes`);
      clearInterval(talking);
      await until(() => heard === said, "the last message");
      const last = Array.from({ length: 30 }, (_, i) => said - 30 + i);
      const numbersOf = async (query: string) =>
        (await heardBy(second, query)).map((text) => parseInt(text as string));
      await until(async () => (await numbersOf("last=1"))[0] === said - 1, "it at the other relay");
      assertEquals(await numbersOf("last=30"), last);
    } finally {
      clearInterval(talking);
    }
  },
});
