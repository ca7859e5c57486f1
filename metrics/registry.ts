/**
 * The metrics in Prometheus' registry: one table over the numbers of the hub, and the histograms.
 *
 * Of the library only the parts that are used are loaded: all of it, with its gateway over HTTP, takes twice
 * as long, and that is time until the first client can connect.
 *
 * @module
 */

import type * as Library from "prom-client";
import CounterOfLibrary from "prom-client/lib/counter.js";
import GaugeOfLibrary from "prom-client/lib/gauge.js";
import HistogramOfLibrary from "prom-client/lib/histogram.js";
import RegistryOfLibrary from "prom-client/lib/registry.js";
import type { Rejection } from "../admission/admission.ts";
import type { HubStats } from "../hub.ts";
import { VERSION } from "../lib/version.ts";
import type { ClusterOfMetrics, MetricsOptions } from "../metrics.ts";
import { processTable } from "./process.ts";

const Counter: typeof Library.Counter = CounterOfLibrary;
const Gauge: typeof Library.Gauge = GaugeOfLibrary;
const Histogram: typeof Library.Histogram = HistogramOfLibrary;
const Registry: typeof Library.Registry = RegistryOfLibrary;

/** What is observed, and written out. */
export interface Observer {
  /** Records how long it took to hand one batch to all members. */
  observeBatch(seconds: number): void;
  /** Records how long it took until one batch had its place in the order of the cluster. */
  observePublish(seconds: number): void;
  /** Records how late a timer fired. */
  observeDelay(seconds: number): void;
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

/** Every metric over the hub's numbers. Names that end in `_total` are counters, all others are gauges. */
const TABLE: readonly Row[] = [
  ["websocket_connected_clients", "Members now.", (s) => s.connected],
  ["websocket_rooms", "Rooms with members or history.", (s) => s.rooms],
  ["websocket_connections_total", "Members that joined.", (s) => s.connections],
  ["websocket_disconnections_total", "Members that left, each once.", (s) => s.disconnections],
  ["websocket_messages_total", "Messages taken in and broadcast.", (s) => s.messages],
  [
    "websocket_published_messages_total",
    "Messages taken in by POST; they are among all messages.",
    (s) => s.postedMessages,
  ],
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
  ["websocket_rejected_connections_total", "Requests that were refused.", (s) => s.rejections],
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
      "Batches that passed through the cluster.",
      () => take().batches,
      "direction",
    ],
    ["relay_cluster_bytes_total", "Their bytes.", () => take().bytes, "direction"],
    ["relay_cluster_gaps_total", "How often messages were lost.", () => take().gaps],
  ];
}

/** Makes the registry of one relay. */
export function createRegistry(options: MetricsOptions): Observer {
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
    help: "How late a timer fired.",
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5],
    registers,
  });
  const publishes = options.cluster && new Histogram({
    name: "relay_cluster_publish_duration_seconds",
    help: "Time until one batch had its place in the order of the cluster.",
    buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30],
    registers,
  });
  return {
    observeBatch: (seconds) => batches.observe(seconds),
    observePublish: (seconds) => publishes?.observe(seconds),
    observeDelay: (seconds) => delay.observe(seconds),
    scrape() {
      stats = take();
      return registry.metrics(); // It reads every value before it waits for the first time.
    },
  };
}

/** Registers one row as a metric that reads its value from the snapshot of the scrape. */
function register(
  registry: Library.Registry,
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
