import { assert, assertAlmostEquals, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { read } from "./page/numbers.js";
import { barriers, browserTest, type Page } from "../testing/browser.ts";
import { closeAll, connect, connectAll } from "../testing/client.ts";
import { Program } from "../testing/program.ts";
import { RawClient } from "../testing/raw_client.ts";
import { scrape } from "../testing/scrape.ts";
import { startRelay } from "../testing/start.ts";
import { bounded, until } from "../testing/wait.ts";

/** Finds a chart by what its text alternative says. */
function chart(page: Page, saying: RegExp) {
  return page.getByRole("img", { name: saying });
}

/** Waits until a chart's text alternative begins so, and returns the numbers that it says are current. */
async function current(page: Page, saying: RegExp): Promise<number[]> {
  const found = chart(page, saying);
  await found.waitFor();
  const [, now] = /: (.*) now; /.exec(await found.getAttribute("aria-label") ?? "") ?? [];
  return [...now.matchAll(/\d[\d,.]*/g)].map(([digits]) => Number(digits.replaceAll(",", "")));
}

browserTest("status page shows the numbers of /metrics and asks only its relay", async (open) => {
  await using relay = await startRelay({ limits: { max_backlog_bytes: 1024 ** 3 } });
  const clients = await connectAll(relay, 3);
  using stuck = await RawClient.join(relay);
  stuck.pause();
  const page = await open(relay.metricsUrl!);
  const asked = new Set<string>(), said: string[] = [];
  page.on("request", (request) => asked.add(request.url().replace(relay.metricsUrl!, "/")));
  page.on("console", (message) => said.push(message.text()));
  await page.reload();

  const talk = setInterval(() => clients[0].send("hello"), 10);
  const [messages] = await current(page, /^Messages taken in: [1-9]/);
  const [deliveries] = await current(page, /^Messages delivered: [1-9]/);
  assert(deliveries > messages, `${messages} in, ${deliveries} out`);
  const line = chart(page, /^Messages taken in/).locator("path");
  const points = async () => (await line.getAttribute("d"))!.split("L").length;
  await until(async () => await points() >= 3, "a line through three points");
  clearInterval(talk);

  for (let i = 0; i < 30; i++) clients[0].send("x".repeat(1024 * 1024));
  await until(
    () => relay.stats().backlogBytes > 1024 ** 2,
    "a backlog of the client that is stuck",
  );
  await chart(page, /^Messages taken in: 0 a second now/).waitFor();
  const metrics = await scrape(relay);
  const mebibytes = (name: string) => metrics.get(name)! / 1024 ** 2;
  assertEquals(metrics.get("websocket_connected_clients"), 4);
  assertEquals(await current(page, /^Connected clients/), [4]);
  const [backlog, largest] = await current(page, /^Backlog of unsent bytes: \S+ MiB in all/);
  assertAlmostEquals(backlog, mebibytes("websocket_backlog_bytes"), 0.1);
  assertAlmostEquals(largest, mebibytes("websocket_backlog_bytes_max"), 0.1);

  await page.getByText("Running; clients are admitted.").waitFor();
  const about = /^Version \S+ with the native transport on Deno \S+, running since \d+ /;
  await page.getByText(about).waitFor();
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
  const page = await open(relay.metricsUrl!);
  await page.getByRole("row", { name: /^too_big .* 0 0$/ }).waitFor();
  await assertRejects(() => connect(relay));
  alice.send("far too big");
  await bounded(alice.closed, "the eviction");
  await page.getByRole("row", { name: /^too_big .* 1 1$/ }).waitFor();
  await page.getByRole("row", { name: /^full .* 1 1$/ }).waitFor();
  assertEquals(await page.getByRole("row", { name: / 1 1$/ }).count(), 2);
});

browserTest("status page says that the relay shuts down, is gone, and is back", async (open) => {
  const env = { RELAY_LIMITS_MAX_MESSAGE_BYTES: "10", RELAY_SHUTDOWN_DELAY_SECONDS: "60" };
  const start = (port: string) => {
    return Program.start({ args: ["--port", "0", "--metrics-port", port], env, cwd: "/" });
  };
  const first = await start("0");
  const { port } = new URL(first.metricsUrl);
  let page;
  {
    await using _ = first;
    page = await open(first.metricsUrl);
    await page.getByRole("row", { name: /^too_big .* 0 0$/ }).waitFor();
    await using alice = await connect(first);
    alice.send("far too big");
    await page.getByRole("row", { name: /^too_big .* 1 1$/ }).waitFor();
    first.signal("SIGTERM");
    await page.getByText("Shutting down; no more clients are admitted.").waitFor();
  }
  await page.getByText(/^The relay has not answered since \d\d:\d\d:\d\d; asking again/).waitFor();
  await chart(page, /^Connected clients: – clients now/).waitFor();
  assertEquals(await page.title(), "No answer – Relay");

  await using _second = await start(port);
  await page.getByText("Running; clients are admitted.").waitFor();
  await chart(page, /^Connected clients: 0 clients now/).waitFor();
  await page.getByRole("row", { name: /^too_big .* 1 0$/ }).waitFor(); // One in ten minutes, none since the start.
  const line = await chart(page, /^Connected clients/).locator("path").getAttribute("d");
  assertEquals(line!.split("M").length - 1, 2, `a gap in ${line}`);
});

browserTest("status page fits a narrow screen, a keyboard, a screen reader", async (open) => {
  await using relay = await startRelay();
  const page = await open(relay.metricsUrl!, { viewport: { width: 320, height: 640 } });
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
});

Deno.test("status page counts on from 0 when the relay was restarted, even past its old counts", () => {
  const at = (seconds: number, started: number, messages: number) => ({
    at: seconds,
    metrics: new Map([
      ["process_start_time_seconds", started],
      ["websocket_messages_total", messages],
    ]),
  });
  assertEquals(read(null, at(0, 1, 100)).messages, undefined);
  assertEquals(read(at(0, 1, 100), at(2, 1, 160)).messages, 30);
  assertEquals(read(at(0, 1, 100), at(2, 2, 160)).messages, 80);
  assertEquals(read(at(0, 1, 100), at(2, 2, 40)).messages, 20);
});

Deno.test("status page says the bound under which every delay of the event loop was", () => {
  const delay = (counts: [string, number][]) =>
    new Map(
      counts.map((
        [bound, count],
      ) => [`relay_event_loop_delay_seconds_bucket{le="${bound}"}`, count]),
    );
  const before = { at: 0, metrics: delay([["0.001", 5], ["0.1", 6], ["+Inf", 6]]) };
  const then = (counts: [string, number][]) =>
    read(before, { at: 2, metrics: delay(counts) }).delay;
  assertEquals(then([["0.001", 5], ["0.1", 6], ["+Inf", 6]]), undefined);
  assertEquals(then([["0.001", 9], ["0.1", 10], ["+Inf", 10]]), 0.001);
  assertEquals(then([["0.001", 9], ["0.1", 11], ["+Inf", 11]]), 0.1);
  assertEquals(then([["0.001", 9], ["0.1", 11], ["+Inf", 12]]), Infinity);
});

Deno.test("status page is kept from other origins, and from every cache", async () => {
  await using relay = await startRelay();
  for (const method of ["GET", "HEAD"]) {
    const response = await fetch(relay.metricsUrl!, { method });
    const { status, headers } = response;
    assertEquals(status, 200);
    assertEquals(headers.get("content-type"), "text/html; charset=utf-8");
    assertEquals(headers.get("cache-control"), "no-store");
    assertEquals(headers.get("x-content-type-options"), "nosniff");
    assertEquals(
      headers.get("content-security-policy"),
      "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; " +
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    );
    assertEquals((await response.text()) === "", method === "HEAD");
  }
});
