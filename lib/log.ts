/**
 * Sets up the logs: lines on standard error, for people or for machines.
 *
 * @module
 */

import {
  configureSync,
  getJsonLinesFormatter,
  getLogger,
  getTextFormatter,
} from "@logtape/logtape";
import type { TextFormatter } from "@logtape/logtape";
import type { Config } from "../config.ts";

/** Writes one line; `{name}` in the message stands for the property of that name. */
export type Write = (message: string, properties?: Record<string, unknown>) => void;

/** The relay's log. It is silent until {@link setUpLog} was called. */
export const log: Readonly<Record<Config["log"]["level"], Write>> = getLogger("relay");

const json = getJsonLinesFormatter({ properties: "flatten" });

const FORMATS: Record<Config["log"]["format"], TextFormatter> = {
  text: getTextFormatter({
    timestamp: "rfc3339",
    value: (value, inspect) => typeof value === "string" ? value : inspect(value),
  }),
  // The library would put every text within the message in quotes.
  json: (record) => json({ ...record, message: [record.message.join("")] }),
};

/** Sends the log to standard error. Writes are synchronous: the last line before an exit is never lost. */
export function setUpLog({ level, format }: Config["log"]): void {
  const encoder = new TextEncoder();
  const write = FORMATS[format];
  configureSync({
    reset: true,
    sinks: { stderr: (record) => void Deno.stderr.writeSync(encoder.encode(write(record))) },
    loggers: [
      { category: "relay", lowestLevel: level === "warn" ? "warning" : level, sinks: ["stderr"] },
      { category: ["logtape", "meta"], lowestLevel: "error", sinks: ["stderr"] },
    ],
  });
}
