/**
 * The log: lines on standard error, for people or for machines.
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

/** The level of a line, the least severe first. */
export type LogLevel = "debug" | "info" | "warn" | "error";

/** The options of {@link setUpLog}. */
export interface LogOptions {
  /** The least severe level that is written. */
  readonly level: LogLevel;
  /** Lines for people, or one JSON object per line. */
  readonly format: "text" | "json";
}

/** A function that writes one line; `{name}` in the message stands for the property of that name. */
export type Write = (message: string, properties?: Record<string, unknown>) => void;

/** The relay's log. It is silent until {@link setUpLog} is called. */
export const log: Readonly<Record<LogLevel, Write>> = getLogger("relay");

const json = getJsonLinesFormatter({ properties: "flatten" });

const FORMATS: Record<LogOptions["format"], TextFormatter> = {
  text: getTextFormatter({
    timestamp: "rfc3339",
    value: (value, inspect) => typeof value === "string" ? value : inspect(value),
  }),
  // The library would put quotes around every text in the message.
  json: (record) => json({ ...record, message: [record.message.join("")] }),
};

/** Sends the log to standard error. Writes are synchronous, so the last line before an exit is never lost. */
export function setUpLog({ level, format }: LogOptions): void {
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
