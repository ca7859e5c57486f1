/**
 * The metrics of the process itself, under the names that Prometheus' own client libraries use.
 *
 * They contain only values that Deno reports correctly; prom-client's own defaults would read several of them
 * as 0 or as a constant. Descriptors can be counted only with all permissions, and are left out otherwise.
 *
 * @module
 */

import process from "node:process";
import { descriptorLimit, openDescriptors } from "../lib/descriptors.ts";

/** A metric of the process: its name, its help text, and a function that reads its value. */
export type ProcessRow = readonly [name: string, help: string, value: () => number];

/** Lists the metrics of the process that can be read here. */
export function processTable(): ProcessRow[] {
  const rows: ProcessRow[] = [
    ["process_cpu_user_seconds_total", "CPU time spent in the program.", () => cpuSeconds().user],
    [
      "process_cpu_system_seconds_total",
      "CPU time spent in the kernel.",
      () => cpuSeconds().system,
    ],
    ["process_cpu_seconds_total", "CPU time spent in both.", () => {
      const { user, system } = cpuSeconds();
      return user + system;
    }],
    ["process_start_time_seconds", "When the process started, in Unix time.", () => {
      return performance.timeOrigin / 1000;
    }],
    ["process_resident_memory_bytes", "Memory that the process holds.", () => {
      return Deno.memoryUsage().rss;
    }],
    ["process_heap_bytes", "Memory that its JavaScript objects take up.", () => {
      return Deno.memoryUsage().heapUsed;
    }],
  ];
  const limit = descriptorLimit();
  if (limit !== null) {
    rows.push(
      ["process_open_fds", "Open file descriptors, sockets among them.", () => {
        return openDescriptors(limit);
      }],
      ["process_max_fds", "How many file descriptors may be open.", () => limit],
    );
  }
  return rows;
}

/**
 * Measures how late a timer fires, which is the time for which something else kept the event loop busy.
 * Disposing of it ends the measurement.
 */
export function sampleEventLoopDelay(observe: (seconds: number) => void): Disposable {
  const interval = 200; // ms
  let due = performance.now() + interval;
  const timer = setInterval(() => {
    const now = performance.now();
    observe(Math.max(0, now - due) / 1000);
    due = now + interval;
  }, interval);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

function cpuSeconds(): { user: number; system: number } {
  const { user, system } = process.cpuUsage();
  return { user: user / 1e6, system: system / 1e6 };
}
