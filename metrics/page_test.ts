import { assertEquals } from "@std/assert";
import { startRelay } from "../testing/start.ts";
import { read } from "./page/numbers.js";

Deno.test("status page counts from 0 after a restart of the relay, even beyond its old counts", () => {
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

Deno.test("status page shows the upper bound of the longest delay of the event loop", () => {
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

Deno.test("status page is not available to other origins, and not cached", async () => {
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
