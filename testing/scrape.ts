/**
 * Reads the metrics that a relay exposes to Prometheus.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { bounded } from "./wait.ts";

/** Reads a relay's metrics as text. */
export async function scrapeText(relay: { metricsUrl: string | null }): Promise<string> {
  const response = await bounded(fetch(`${relay.metricsUrl}metrics`), "the metrics");
  assertEquals(response.status, 200);
  assertEquals(response.headers.get("content-type"), "text/plain; version=0.0.4; charset=utf-8");
  return await response.text();
}

/** Reads a relay's metrics as a map from name with labels to value. */
export async function scrape(relay: { metricsUrl: string | null }): Promise<Map<string, number>> {
  const lines = (await scrapeText(relay)).split("\n").filter((line) =>
    line && !line.startsWith("#")
  );
  return new Map(lines.map((line) => {
    const space = line.lastIndexOf(" ");
    return [line.slice(0, space), Number(line.slice(space + 1))];
  }));
}
