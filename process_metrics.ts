/**
 * What the process itself costs, under the names that Prometheus' own client libraries use.
 *
 * Only what Deno reports correctly: prom-client's defaults read several values as 0 or as a constant
 * there. Open descriptors can be counted only with all permissions, and are left out without them.
 *
 * @module
 */

import process from "node:process";
import { Counter, Gauge, Histogram, type Registry } from "prom-client";

export type { Registry };

/** How often the delay of the event loop is measured. */
const LOOP_SAMPLE_MILLISECONDS = 200;

/**
 * Registers the metrics of the process, and begins to measure the delay of its event loop.
 *
 * @returns What stops the measuring.
 */
export function registerProcessMetrics(registry: Registry): Disposable {
  const registers = [registry];
  const counter = (name: string, help: string, value: () => number) =>
    new Counter({
      name,
      help,
      registers,
      collect() {
        this.reset();
        this.inc(value());
      },
    });
  const gauge = (name: string, help: string, value: () => number) =>
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(value());
      },
    });

  counter("process_cpu_user_seconds_total", "CPU time spent in the program.", () => {
    return process.cpuUsage().user / 1e6;
  });
  counter("process_cpu_system_seconds_total", "CPU time spent in the kernel.", () => {
    return process.cpuUsage().system / 1e6;
  });
  counter("process_cpu_seconds_total", "CPU time spent in both.", () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6;
  });
  const started = performance.timeOrigin / 1000;
  gauge("process_start_time_seconds", "When the process started, in Unix time.", () => started);
  gauge("process_resident_memory_bytes", "Memory that the process holds.", () => {
    return Deno.memoryUsage().rss;
  });
  gauge("process_heap_bytes", "Memory that its JavaScript objects take up.", () => {
    return Deno.memoryUsage().heapUsed;
  });
  if (openDescriptors() !== null) {
    gauge("process_open_fds", "Open file descriptors, sockets among them.", () => {
      return openDescriptors()!;
    });
  }
  const limit = descriptorLimit();
  if (limit !== null) {
    gauge("process_max_fds", "How many file descriptors may be open.", () => limit);
  }
  return measureEventLoop(registers);
}

/** Reads how many file descriptors this process may open; `null` where that cannot be known. */
export function descriptorLimit(): number | null {
  try {
    const limits = Deno.readTextFileSync("/proc/self/limits");
    const soft = /^Max open files\s+(\d+)/m.exec(limits);
    return soft && Number(soft[1]);
  } catch {
    return null;
  }
}

function openDescriptors(): number | null {
  try {
    return [...Deno.readDirSync("/proc/self/fd")].length;
  } catch {
    return null;
  }
}

function measureEventLoop(registers: Registry[]): Disposable {
  const delay = new Histogram({
    name: "relay_event_loop_delay_seconds",
    help: "How much later than asked for a timer fired, sampled five times a second.",
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5],
    registers,
  });
  let due = performance.now() + LOOP_SAMPLE_MILLISECONDS;
  const timer = setInterval(() => {
    const now = performance.now();
    delay.observe(Math.max(0, now - due) / 1000);
    due = now + LOOP_SAMPLE_MILLISECONDS;
  }, LOOP_SAMPLE_MILLISECONDS);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}
