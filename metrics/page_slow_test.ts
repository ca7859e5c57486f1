import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { barriers, browserTest, type Locator, type Open, type Page } from "../testing/browser.ts";
import { closeAll, connect, connectAll, roomOf } from "../testing/client.ts";
import { has } from "../testing/daemon.ts";
import { NatsServer, Wire } from "../testing/nats.ts";
import { Program } from "../testing/program.ts";
import { RawClient } from "../testing/raw_client.ts";
import { scrape } from "../testing/scrape.ts";
import { startRelay } from "../testing/start.ts";
import { bounded, until } from "../testing/wait.ts";

/** How often the page asks its relay for numbers. */
const POLL_MS = 2000;

/** How long a test waits for the effect of one answer, before it lets the page ask again. */
const ANSWER_MS = 500;

/** Finds a chart by what its text alternative says. */
function chart(page: Page, saying: RegExp) {
  return page.getByRole("img", { name: saying });
}

/** Opens the status page with a clock that the test can set forward. */
async function openStatus(open: Open, url: string, visitor?: Parameters<Open>[1]): Promise<Page> {
  const page = await open(url, visitor);
  await page.clock.install();
  await page.reload();
  return page;
}

/** Waits until a page shows something, and lets its clock run from one poll to the next meanwhile. */
async function shows(page: Page, wanted: Locator): Promise<void> {
  await until(async () => {
    if (await wanted.isVisible()) return true;
    await page.clock.runFor(POLL_MS);
    return await wanted.waitFor({ timeout: ANSWER_MS }).then(() => true, () => false);
  }, `the page to show ${wanted}`);
}

/** Waits until a chart's text alternative begins so, and returns the numbers that it says are current. */
async function current(page: Page, saying: RegExp): Promise<number[]> {
  const found = chart(page, saying);
  await shows(page, found);
  const [, now] = /: (.*) now; /.exec(await found.getAttribute("aria-label") ?? "") ?? [];
  return [...now.matchAll(/\d[\d,.]*/g)].map(([digits]) => Number(digits.replaceAll(",", "")));
}

browserTest(
  "status page says how many rooms there are, and what was posted and replayed",
  async (open) => {
    await using relay = await startRelay({ relay: { rooms: true, history_seconds: 60 } });
    const page = await openStatus(open, relay.metricsUrl!);
    await using alice = await connect(roomOf(relay, "/a"));
    const url = `${relay.url.replace("ws", "http")}b`;
    for (const body of ["one", "two", "three"]) await fetch(url, { method: "POST", body });
    await using bob = await connect(roomOf(relay, "/b?last=2"));
    await bob.take(2);
    const line = "Rooms: 2. History: 3.2 KiB. Messages since the start: 3 by POST, 2 replayed.";
    await shows(page, page.getByText(line));
    assertEquals(alice.waiting, 0);
  },
);

browserTest("status page shows the numbers of /metrics and asks only its relay", async (open) => {
  await using relay = await startRelay({ limits: { max_backlog_bytes: 1024 ** 3 } });
  const clients = await connectAll(relay, 3);
  using stuck = await RawClient.join(relay);
  stuck.pause();
  const page = await openStatus(open, relay.metricsUrl!);
  const asked = new Set<string>(), said: string[] = [];
  page.on("request", (request) => asked.add(request.url().replace(relay.metricsUrl!, "/")));
  page.on("console", (message) => said.push(message.text()));
  await page.reload(); // Now that somebody watches.

  const talk = setInterval(() => clients[0].send("hello"), 10);
  const [messages] = await current(page, /^Messages received: [1-9]/);
  const [deliveries] = await current(page, /^Messages delivered: [1-9]/);
  assert(deliveries > messages, `${messages} in, ${deliveries} out`);
  const line = chart(page, /^Messages received/).locator("path");
  const points = async () => (await line.getAttribute("d"))!.split("L").length;
  await until(async () => {
    await page.clock.runFor(POLL_MS);
    return await points() >= 3;
  }, "a line through three points");
  clearInterval(talk);

  for (let i = 0; i < 30; i++) clients[0].send("x".repeat(1024 * 1024));
  await until(
    () => relay.stats().backlogBytes > 1024 ** 2,
    "a backlog of the client that is stuck",
  );
  await shows(page, chart(page, /^Messages received: 0 per second now/));
  await until(async () => { // The text of a scrape may be a quarter of a second old.
    await page.clock.runFor(POLL_MS);
    const [backlog, largest] = await current(page, /^Backlog of unsent bytes: \S+ MiB total/);
    const metrics = await scrape(relay);
    const isShown = (shown: number, name: string) =>
      Math.abs(shown - metrics.get(name)! / 1024 ** 2) <= 0.1;
    return isShown(backlog, "websocket_backlog_bytes") &&
      isShown(largest, "websocket_backlog_bytes_max");
  }, "the page to show the backlog");
  assertEquals((await scrape(relay)).get("websocket_connected_clients"), 4);
  assertEquals(await current(page, /^Connected clients/), [4]);

  await shows(page, page.getByText("Running; clients are admitted."));
  const about = /^Version \S+ with the native transport on Deno \S+, running since \d+ /;
  await shows(page, page.getByText(about));
  assertEquals(said, []);
  assertEquals([...asked].sort(), [
    "/",
    "/metrics",
    "/readyz",
    "/status/chart.js",
    "/status/contents.js",
    "/status/dom.js",
    "/status/numbers.js",
    "/status/page.css",
    "/status/page.js",
    "/status/table.js",
  ]);
  await closeAll(clients);
});

browserTest("status page shows evictions and refusals by reason", async (open) => {
  await using relay = await startRelay({ limits: { max_message_bytes: 10, max_connections: 1 } });
  await using alice = await connect(relay);
  const page = await openStatus(open, relay.metricsUrl!);
  await shows(page, page.getByRole("row", { name: /^too_big .* 0 0$/ }));
  await assertRejects(() => connect(relay));
  alice.send("far too big");
  await bounded(alice.closed, "the eviction");
  await shows(page, page.getByRole("row", { name: /^too_big .* 1 1$/ }));
  await shows(page, page.getByRole("row", { name: /^full .* 1 1$/ }));
  assertEquals(await page.getByRole("row", { name: / 1 1$/ }).count(), 2);
});

browserTest("status page shows that the relay shuts down, is gone, and is back", async (open) => {
  const env = { RELAY_LIMITS_MAX_MESSAGE_BYTES: "10", RELAY_SHUTDOWN_DELAY_SECONDS: "60" };
  const start = (port: string) => {
    return Program.start({ args: ["--port", "0", "--metrics-port", port], env, cwd: "/" });
  };
  const first = await start("0");
  const { port } = new URL(first.metricsUrl);
  let page;
  {
    await using _ = first;
    page = await openStatus(open, first.metricsUrl);
    await shows(page, page.getByRole("row", { name: /^too_big .* 0 0$/ }));
    await using alice = await connect(first);
    alice.send("far too big");
    await shows(page, page.getByRole("row", { name: /^too_big .* 1 1$/ }));
    first.signal("SIGTERM");
    await shows(page, page.getByText("Shutting down; new clients are refused."));
  }
  const lost = /^The relay has not answered since \d\d:\d\d:\d\d; asking again/;
  await shows(page, page.getByText(lost));
  await shows(page, chart(page, /^Connected clients: – clients now/));
  assertEquals(await page.title(), "No answer – Relay");

  await using _second = await start(port);
  await shows(page, page.getByText("Running; clients are admitted."));
  await shows(page, chart(page, /^Connected clients: 0 clients now/));
  const before = page.getByRole("row", { name: /^too_big .* 1 0$/ }); // In ten minutes, since the start.
  await shows(page, before);
  const line = await chart(page, /^Connected clients/).locator("path").getAttribute("d");
  assertEquals(line!.split("M").length - 1, 2, `a gap in ${line}`);
});

browserTest(
  "status page shows whether the relay is connected to its cluster",
  async (open) => {
    await using alone = await startRelay();
    const bare = await openStatus(open, alone.metricsUrl!);
    await shows(bare, bare.getByText("Running; clients are admitted."));
    assertEquals(await bare.getByText(/^Cluster/).isVisible(), false);

    if (!await has("nats-server", "nats-server")) return;
    await using nats = await NatsServer.start();
    await using wire = new Wire(nats.port);
    await using relay = await startRelay({
      cluster: { servers: [wire.url], storage: "memory", patience_seconds: 2 },
    });
    await using alice = await connect(relay);
    const page = await openStatus(open, relay.metricsUrl!);
    await shows(page, page.getByText("Cluster relay: connected. Gaps since the start: 0."));
    wire.cut();
    const waiting =
      "The cluster does not answer; clients stay connected, and new ones are refused.";
    await shows(page, page.getByText(waiting));
    await shows(page, page.getByText("Cluster relay: reconnecting. Gaps since the start: 0."));
    const lost = "The cluster is lost; all clients were disconnected, and new ones are refused.";
    await shows(page, page.getByText(lost));
    await shows(page, page.getByText("Cluster relay: lost. Gaps since the start: 0."));
    await shows(page, page.getByRole("row", { name: /^cluster the cluster was lost 1 1$/ }));
    await bounded(alice.closed, "the end");
    await nats.kill(); // And with it the stream in its memory.
    await nats.restart();
    wire.mend();
    await shows(
      page,
      page.getByText("Cluster relay: connected. Gaps since the start: 1."),
    );
    await shows(page, page.getByText("Running; clients are admitted."));
    assertEquals(await barriers(page), []);
  },
);

browserTest(
  "status page works on a narrow screen, with a keyboard and with a screen reader",
  async (open) => {
    await using relay = await startRelay();
    const page = await openStatus(open, relay.metricsUrl!, {
      viewport: { width: 320, height: 640 },
    });
    const clients = chart(page, /^Connected clients: 0/);
    await clients.waitFor();
    await page.keyboard.press("Tab");
    await page.keyboard.press("Home");
    const slider = page.getByRole("slider", { name: "Look back" });
    assertMatch(await slider.getAttribute("aria-valuetext") ?? "", /^\d\d:\d\d:\d\d$/);
    assertEquals(await page.getByText(/^at \d\d:\d\d:\d\d: /).count(), 6);
    await page.keyboard.press("End");
    assertEquals(await slider.getAttribute("aria-valuetext"), "now");
    const wide = await page.evaluate("document.documentElement.scrollWidth");
    assertEquals(wide, 320);
    assertEquals(await barriers(page), []);
  },
);
