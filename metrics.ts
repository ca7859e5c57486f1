/**
 * The relay's metrics for Prometheus, and the port that serves them.
 *
 * @module
 */

import { STATUS_CODE } from "@std/http";
import type { Rejection } from "./admission/admission.ts";
import type { HubStats } from "./hub.ts";
import { answerHealth } from "./lib/health.ts";
import { type Address, keepServing, type Listener, type TcpAddress } from "./lib/listener.ts";
import { Throttle } from "./lib/throttle.ts";
import { sampleEventLoopDelay } from "./metrics/process.ts";
import { serveStatusPage } from "./metrics/page.ts";
import { createRegistry, type Observer } from "./metrics/registry.ts";

export type { Observer } from "./metrics/registry.ts";
export type { Listener } from "./lib/listener.ts";

/** The cluster of a relay. */
export interface ClusterOfMetrics {
  /** Its name, for `relay_build_info`. */
  readonly name: string;
  /** Takes a snapshot of its numbers. */
  stats(): ClusterNumbers;
}

/** The numbers of a relay's link to its cluster. All but `connected` only ever grow. */
export interface ClusterNumbers {
  /** Whether batches pass. */
  readonly connected: boolean;
  /** Batches, by direction. */
  readonly batches: Readonly<Record<"in" | "out", number>>;
  /** Their bytes. */
  readonly bytes: Readonly<Record<"in" | "out", number>>;
  /** How often messages were lost. */
  readonly gaps: number;
}

/** The options of {@link createMetrics}. */
export interface MetricsOptions {
  /** Takes a snapshot of the hub. */
  stats(): HubStats;
  /** Takes a snapshot of how many requests were refused, by reason. */
  rejections(): Readonly<Record<Rejection, number>>;
  /** The transport's name, for `relay_build_info`. */
  readonly transport: string;
  /** The relay's cluster. Default: there are no metrics of a cluster. */
  readonly cluster?: ClusterOfMetrics;
  /** Returns when the certificate in use expires. Default: there is no metric of it. */
  certificateExpires?(): Date;
}

/** The metrics of one relay. */
export type Metrics = Disposable & Omit<Observer, "observeDelay">;

/** Makes the metrics of one relay. Dispose of them at the end, because they measure the event loop. */
export function createMetrics(options: MetricsOptions): Metrics {
  const { observeDelay, ...observer } = createRegistry(options);
  const sampling = sampleEventLoopDelay(observeDelay);
  return { ...observer, [Symbol.dispose]: () => sampling[Symbol.dispose]() };
}

/** Prometheus' text format. */
const CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8";

/** The time for which a scrape's text is reused, and the unit of the limit for requests. */
const STRETCH_MILLISECONDS = 250;

/** How many requests are answered within it at once. A Prometheus, a few probes and a page need fewer. */
const REQUESTS_PER_STRETCH = 25;

/** The options of {@link serveMetrics}. */
export interface MetricsServerOptions {
  /** Where to listen. */
  readonly address: Address;
  /** Writes the metrics. */
  scrape(): Promise<string>;
  /** Says why clients are not admitted; `null` if they are. */
  trouble(): string | null;
}

/**
 * Serves `/metrics`, `/healthz`, `/readyz`, and at `/` a page that shows them.
 *
 * @throws {Deno.errors.AddrInUse} If the port is taken, and other errors of the platform.
 */
export function serveMetrics(options: MetricsServerOptions): Listener {
  const { trouble } = options;
  const throttle = new Throttle(STRETCH_MILLISECONDS, REQUESTS_PER_STRETCH);
  const scrape = reused(options.scrape);
  return keepServing(
    options.address,
    (address) =>
      Deno.serve({ ...address as TcpAddress, onListen: () => {} }, async (request) => {
        await throttle.turn();
        const path = URL.parse(request.url)?.pathname ?? "";
        const health = answerHealth({ method: request.method, path }, trouble());
        if (health) return line(health.status, health.body, health.headers);
        if (request.method !== "GET" && request.method !== "HEAD") {
          return line(STATUS_CODE.MethodNotAllowed, "use GET", { allow: "GET, HEAD" });
        }
        if (path === "/metrics") {
          return new Response(await scrape(), {
            headers: { "content-type": CONTENT_TYPE },
          });
        }
        return serveStatusPage(path) ??
          line(STATUS_CODE.NotFound, "use /, /metrics, /healthz or /readyz");
      }),
    (server) => void server.shutdown(), // Deno.serve has no time-outs, so idle clients would stay for ever.
  );
}

/** Gives the same text to all requests within a short time, because writing it takes much longer than sending it. */
function reused(scrape: () => Promise<string>): () => Promise<string> {
  let written = -Infinity;
  let text: Promise<string>;
  return () => {
    const now = performance.now();
    if (now - written >= STRETCH_MILLISECONDS) {
      written = now;
      text = scrape();
    }
    return text;
  };
}

function line(status: number, body: string, headers: Record<string, string> = {}): Response {
  return new Response(`${body}\n`, { status, headers });
}
