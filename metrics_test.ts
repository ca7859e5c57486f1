import { assert, assertEquals, assertRejects } from "@std/assert";
import { closeAll, connect, connectAll } from "./testing/client.ts";
import { has } from "./testing/daemon.ts";
import { RawClient } from "./testing/raw_client.ts";
import { scrape, scrapeText } from "./testing/scrape.ts";
import { startRelay } from "./testing/start.ts";
import { bounded } from "./testing/wait.ts";
import { VERSION } from "./lib/version.ts";

Deno.test("metrics have every series from the start, all counters at 0", async () => {
  await using relay = await startRelay();
  const metrics = await scrape(relay);
  const names = [...metrics.keys()].filter((name) => name.startsWith("websocket_"));
  assertEquals(names.filter((name) => !name.includes("_duration_")), [
    "websocket_connected_clients",
    "websocket_rooms",
    "websocket_connections_total",
    "websocket_disconnections_total",
    "websocket_messages_total",
    "websocket_published_messages_total",
    "websocket_received_bytes_total",
    "websocket_deliveries_total",
    "websocket_sent_bytes_total",
    "websocket_dropped_messages_total",
    "websocket_replayed_messages_total",
    'websocket_evictions_total{reason="slow"}',
    'websocket_evictions_total{reason="rate"}',
    'websocket_evictions_total{reason="too_big"}',
    'websocket_evictions_total{reason="role"}',
    'websocket_evictions_total{reason="expired"}',
    'websocket_evictions_total{reason="idle"}',
    'websocket_evictions_total{reason="gap"}',
    'websocket_evictions_total{reason="cluster"}',
    'websocket_evictions_total{reason="error"}',
    'websocket_rejected_connections_total{reason="origin"}',
    'websocket_rejected_connections_total{reason="token"}',
    'websocket_rejected_connections_total{reason="role"}',
    'websocket_rejected_connections_total{reason="full"}',
    'websocket_rejected_connections_total{reason="rooms"}',
    'websocket_rejected_connections_total{reason="per_ip"}',
    'websocket_rejected_connections_total{reason="draining"}',
    'websocket_rejected_connections_total{reason="cluster"}',
    'websocket_rejected_connections_total{reason="bad_request"}',
    "websocket_history_bytes",
    "websocket_backlog_bytes",
    "websocket_backlog_bytes_max",
  ]);
  for (const name of names) assertEquals(metrics.get(name), 0, name);
  const { deno } = Deno.version;
  const build = `relay_build_info{version="${VERSION}",deno="${deno}",transport="native"}`;
  assertEquals(metrics.get(build), 1);
});

Deno.test("metrics count events", async () => {
  await using relay = await startRelay({ limits: { max_message_bytes: 10, max_connections: 3 } });
  const [alice, bob, cathy] = await connectAll(relay, 3);
  await assertRejects(() => connect(relay));
  alice.send("four");
  bob.send("€");
  for (const client of [alice, bob, cathy]) await client.take(2);
  cathy.send("far too big");
  await bounded(cathy.closed, "the eviction");
  const metrics = await scrape(relay);
  const value = (name: string) => metrics.get(`websocket_${name}`);
  assertEquals(value("connected_clients"), 2);
  assertEquals(value("connections_total"), 3);
  assertEquals(value("disconnections_total"), 1);
  assertEquals(value("messages_total"), 2);
  assertEquals(value("received_bytes_total"), 7);
  assertEquals(value("deliveries_total"), 6);
  assertEquals(value("sent_bytes_total"), 21);
  assertEquals(value('evictions_total{reason="too_big"}'), 1);
  assertEquals(value('rejected_connections_total{reason="full"}'), 1);
  assert(value("broadcast_duration_seconds_count")! >= 1);
  assert(value("broadcast_duration_seconds_sum")! > 0);
  await closeAll([alice, bob]);
});

Deno.test("metrics add up at every scrape while clients come and go", async () => {
  await using relay = await startRelay();
  let busy = true;
  const churn = (async () => {
    try {
      for (let i = 0; i < 15; i++) await closeAll(await connectAll(relay, 5));
    } finally {
      busy = false;
    }
  })();
  let scrapes = 0;
  while (busy) {
    const [metrics, again] = await Promise.all([scrape(relay), scrape(relay)]);
    for (const each of [metrics, again]) {
      const value = (name: string) => each.get(`websocket_${name}`)!;
      assertEquals(
        value("connected_clients"),
        value("connections_total") - value("disconnections_total"),
      );
      scrapes++;
    }
  }
  await churn;
  assert(scrapes > 10, `only ${scrapes} scrapes`);
});

Deno.test("metrics show the backlog of a client that does not read", async () => {
  await using relay = await startRelay({ limits: { max_backlog_bytes: 1024 ** 3 } });
  await using alice = await connect(relay);
  using cathy = await RawClient.join(relay);
  cathy.pause();
  const megabyte = "x".repeat(1024 * 1024);
  for (let i = 0; i < 30; i++) {
    alice.send(megabyte);
    await alice.next();
  }
  const metrics = await scrape(relay);
  const backlog = metrics.get("websocket_backlog_bytes")!;
  assert(backlog >= 1024 * 1024, `${backlog} bytes`);
  assertEquals(metrics.get("websocket_backlog_bytes_max"), backlog);
});

Deno.test("metrics port answers its own paths and no others", async () => {
  await using relay = await startRelay();
  const ask = async (path: string, init?: RequestInit) => {
    const response = await fetch(`${relay.metricsUrl}${path}`, init);
    return [response.status, await response.text()];
  };
  assertEquals(await ask("healthz"), [200, "ok\n"]);
  assertEquals(await ask("readyz"), [200, "ready\n"]);
  assertEquals(await ask("nothing"), [404, "use /, /metrics, /healthz or /readyz\n"]);
  assertEquals(await ask("metrics", { method: "POST" }), [405, "use GET\n"]);
  assertEquals(await ask("healthz", { method: "HEAD" }), [200, ""]);
});

Deno.test("metrics port makes a client that asks too often wait, and no other client", async () => {
  await using relay = await startRelay();
  const ask = () => fetch(`${relay.metricsUrl}healthz`).then((response) => response.text());
  const started = performance.now();
  await ask();
  assert(performance.now() - started < 240, "the first waited");
  await Promise.all(Array.from({ length: 60 }, ask));
  await Promise.all(Array.from({ length: 60 }, ask));
  assert(performance.now() - started > 240, "nobody waited");
});

Deno.test("metrics have no port if they are disabled", async () => {
  await using relay = await startRelay({ metrics: { enabled: false } });
  assertEquals(relay.metricsUrl, null);
});

Deno.test("promtool finds nothing wrong with the metrics", async () => {
  if (!await has("promtool", "prometheus")) return;
  await using relay = await startRelay();
  await using alice = await connect(relay);
  alice.send("one message");
  await alice.next();
  const metrics = new TextEncoder().encode(await scrapeText(relay));
  const child = new Deno.Command("promtool", {
    args: ["check", "metrics"],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(metrics);
  await writer.close();
  const { code, stdout, stderr } = await child.output();
  assertEquals([code, new TextDecoder().decode(stdout), new TextDecoder().decode(stderr)], [
    0,
    "",
    "",
  ]);
});
