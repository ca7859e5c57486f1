/**
 * The relay's numbers for Prometheus: one table over the hub's, and the port they are served on.
 *
 * @module
 */

import { STATUS_CODE } from "@std/http";
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { Rejection } from "./admission/admission.ts";
import type { HubStats } from "./hub.ts";
import { answerHealth } from "./lib/health.ts";
import { type Address, keepServing, type Listener, type TcpAddress } from "./lib/listener.ts";
import { Throttle } from "./lib/throttle.ts";
import { processTable, sampleEventLoopDelay } from "./metrics/process.ts";
import { serveStatusPage } from "./metrics/page.ts";
import { VERSION } from "./lib/version.ts";

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
  /** Times at which messages were missing for certain. */
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
  /** The cluster that it is in; without it there are no such metrics. */
  readonly cluster?: ClusterOfMetrics;
  /** Tells when the certificate in use expires; without it there is no such metric. */
  certificateExpires?(): Date;
}

/** The metrics of one relay. */
export interface Metrics extends Disposable {
  /** Records how long it took to hand one batch to all members. */
  observeBatch(seconds: number): void;
  /** Records how long it took until one batch had its place in the order of the cluster. */
  observePublish(seconds: number): void;
  /** Writes all metrics in Prometheus' text format, from one snapshot. */
  scrape(): Promise<string>;
}

/** The numbers of one scrape. */
interface Snapshot extends HubStats {
  readonly rejections: Readonly<Record<Rejection, number>>;
}

/** A metric over a snapshot: its name, its help text, its value, or one for each value of a label. */
type Row = readonly [
  name: string,
  help: string,
  value: (stats: Snapshot) => number | Readonly<Record<string, number>>,
  label?: string,
];

/** Every metric over the hub's numbers. Those whose names end in `_total` are counters, the rest gauges. */
const TABLE: readonly Row[] = [
  ["websocket_connected_clients", "Members now.", (s) => s.connected],
  ["websocket_rooms", "Rooms with members or history.", (s) => s.rooms],
  ["websocket_connections_total", "Members that joined.", (s) => s.connections],
  ["websocket_disconnections_total", "Members that left, each once.", (s) => s.disconnections],
  ["websocket_messages_total", "Messages taken in and broadcast.", (s) => s.messages],
  ["websocket_received_bytes_total", "Payload bytes taken in.", (s) => s.receivedBytes],
  ["websocket_deliveries_total", "Messages handed to a member's socket.", (s) => s.deliveries],
  ["websocket_sent_bytes_total", "Payload bytes handed to sockets.", (s) => s.sentBytes],
  [
    "websocket_dropped_messages_total",
    "Messages skipped for slow clients.",
    (s) => s.droppedMessages,
  ],
  [
    "websocket_replayed_messages_total",
    "Messages of the history handed to a member's socket.",
    (s) => s.replayedMessages,
  ],
  ["websocket_evictions_total", "Members that the relay removed.", (s) => s.evictions],
  ["websocket_rejected_connections_total", "Requests that might not join.", (s) => s.rejections],
  ["websocket_history_bytes", "Bytes of the history.", (s) => s.historyBytes],
  ["websocket_backlog_bytes", "Unsent bytes over all members.", (s) => s.backlogBytes],
  ["websocket_backlog_bytes_max", "The largest backlog of one member.", (s) => s.backlogBytesMax],
];

/** The metrics over the link to a cluster. */
function clusterTable(cluster: ClusterOfMetrics): Row[] {
  const take = () => cluster.stats();
  return [
    ["relay_cluster_connected", "1 while the cluster answers.", () => Number(take().connected)],
    [
      "relay_cluster_batches_total",
      "Batches that went through the cluster.",
      () => take().batches,
      "direction",
    ],
    ["relay_cluster_bytes_total", "Their bytes.", () => take().bytes, "direction"],
    ["relay_cluster_gaps_total", "Times at which messages were lost.", () => take().gaps],
  ];
}

/** Makes the metrics of one relay; to be disposed of, since they measure the event loop. */
export function createMetrics(options: MetricsOptions): Metrics {
  const registry = new Registry();
  const registers = [registry];
  const take = (): Snapshot => ({ ...options.stats(), rejections: options.rejections() });
  let stats = take();

  const rows: Row[] = [...TABLE, ...processTable()];
  const { certificateExpires } = options;
  if (certificateExpires) {
    rows.push([
      "websocket_tls_certificate_expiry_timestamp_seconds",
      "When the certificate in use expires, in Unix time.",
      () => certificateExpires().getTime() / 1000,
    ]);
  }
  if (options.cluster) rows.push(...clusterTable(options.cluster));
  for (const row of rows) register(registry, row, () => stats);

  const batches = new Histogram({
    name: "websocket_broadcast_duration_seconds",
    help: "Time to hand one batch to all members.",
    buckets: [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1],
    registers,
  });
  const build: Record<string, string> = {
    version: VERSION,
    deno: Deno.version.deno,
    transport: options.transport,
    ...options.cluster ? { cluster: options.cluster.name } : {},
  };
  new Gauge({
    name: "relay_build_info",
    help: "Always 1; the labels say what is running.",
    labelNames: Object.keys(build),
    registers,
  }).set(build, 1);
  const delay = new Histogram({
    name: "relay_event_loop_delay_seconds",
    help: "How much later than asked for a timer fired.",
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5],
    registers,
  });
  const publishes = options.cluster && new Histogram({
    name: "relay_cluster_publish_duration_seconds",
    help: "Time until one batch had its place in the order of the cluster.",
    buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30],
    registers,
  });
  const sampling = sampleEventLoopDelay((seconds) => delay.observe(seconds));

  return {
    observeBatch: (seconds) => batches.observe(seconds),
    observePublish: (seconds) => publishes?.observe(seconds),
    scrape() {
      stats = take();
      return registry.metrics(); // Reads every value before it first waits.
    },
    [Symbol.dispose]: () => sampling[Symbol.dispose](),
  };
}

/** Registers one row as a metric that reads its value from the snapshot of the scrape. */
function register(
  registry: Registry,
  [name, help, value, label = "reason"]: Row,
  stats: () => Snapshot,
): void {
  const labelNames = typeof value(stats()) === "number" ? [] : [label];
  const common = { name, help, labelNames, registers: [registry] };
  const each = (put: (labels: Record<string, string>, value: number) => void) => {
    const now = value(stats());
    if (typeof now === "number") return put({}, now);
    for (const [each, count] of Object.entries(now)) put({ [label]: each }, count);
  };
  if (name.endsWith("_total")) {
    new Counter({
      ...common,
      collect() {
        this.reset();
        each((labels, count) => this.inc(labels, count));
      },
    });
  } else {
    new Gauge({
      ...common,
      collect() {
        each((labels, level) => this.set(labels, level));
      },
    });
  }
}

/** The time for which a scrape's text is reused, and in which so many requests are answered at once. */
const STRETCH_MILLISECONDS = 250;

/** How many requests are answered within it at once; a Prometheus, a few probes and a page need fewer. */
const REQUESTS_PER_STRETCH = 25;

/** What the metrics port serves, and where. */
export interface MetricsServerOptions {
  /** Where to listen. */
  readonly address: Address;
  /** Writes the metrics. */
  scrape(): Promise<string>;
  /** Tells why clients are not admitted; `null` if they are. */
  trouble(): string | null;
}

/**
 * Serves `/metrics`, `/healthz`, `/readyz`, and at `/` a page that shows what they say.
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
            headers: { "content-type": Registry.PROMETHEUS_CONTENT_TYPE },
          });
        }
        return serveStatusPage(path) ??
          line(STATUS_CODE.NotFound, "there are /, /metrics, /healthz and /readyz");
      }),
    (server) => void server.shutdown(), // Deno.serve has no time-outs: who is idle would stay for ever.
  );
}

/** Gives the same text to all who ask within a short time: writing one takes some hundred times longer. */
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
