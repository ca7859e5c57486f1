/**
 * The contents of the status page, and their words.
 *
 * @module
 */

/** The time that the page shows, in seconds. */
export const WINDOW_SECONDS = 600;

const orNone = (format) => (value) => value === undefined ? "–" : format(value);

/** Formats a whole number; like all formats, as a dash if there is none. */
export const count = orNone((value) => value.toLocaleString("en"));
const rate = orNone((value) => {
  return value < 1e6
    ? value.toLocaleString("en", { maximumFractionDigits: value < 10 ? 1 : 0 })
    : value.toLocaleString("en", { notation: "compact", maximumSignificantDigits: 3 });
});
/** Says a number of bytes. */
export const bytes = orNone((value) => {
  const power = Math.min(4, Math.floor(Math.log2(Math.max(1, value)) / 10));
  const short = (value / 1024 ** power).toLocaleString("en", { maximumSignificantDigits: 3 });
  return `${short} ${["B", "KiB", "MiB", "GiB", "TiB"][power]}`;
});
const duration = orNone((seconds) => {
  return seconds < 1 ? `${Number((seconds * 1000).toPrecision(3))} ms` : `${seconds} s`;
});
const atMost = orNone((seconds) => seconds === Infinity ? "> 5 s" : `≤ ${duration(seconds)}`);

/** The answers of `/readyz`, and for each of them a state and its words. */
export const STATES = {
  "ready": ["ready", "Running; clients are admitted."],
  "shutting down": ["draining", "Shutting down; new clients are refused."],
  "cluster reconnecting": [
    "reconnecting",
    "The cluster does not answer; clients stay connected, and new ones are refused.",
  ],
  "cluster lost": [
    "lost",
    "The cluster is lost; all clients were disconnected, and new ones are refused.",
  ],
};

/** Every chart with its lines: keys of a reading, and the unit. Its axis ends at `least` or above. */
export const CHARTS = [
  {
    title: "Connected clients",
    lines: [{ key: "clients", name: "clients" }],
    format: count,
    least: 2,
  },
  {
    title: "Messages received",
    lines: [{ key: "messages", name: "per second" }],
    format: rate,
    least: 2,
  },
  {
    title: "Messages delivered",
    lines: [{ key: "deliveries", name: "per second" }],
    format: rate,
    least: 2,
  },
  {
    title: "Backlog of unsent bytes",
    lines: [
      { key: "backlog", name: "total" },
      { key: "backlogMax", name: "largest of one client" },
    ],
    format: bytes,
    least: 2048,
    binary: true,
  },
  {
    title: "Event-loop delay",
    lines: [{ key: "delay", name: "longest in 2 seconds" }],
    format: atMost,
    tick: duration,
    least: 0.002,
  },
  {
    title: "Memory of the process",
    lines: [{ key: "memory", name: "resident" }],
    format: bytes,
    least: 2048,
    binary: true,
  },
];

/** Every table of counts by reason, and what the reasons mean. */
export const TABLES = [
  {
    title: "Evictions",
    key: "evictions",
    metric: "websocket_evictions_total",
    meanings: {
      slow: "read too slowly",
      rate: "sent too fast",
      too_big: "message too big",
      role: "sent, but may only listen",
      expired: "its token expired",
      idle: "was silent for too long",
      gap: "messages were lost",
      cluster: "the cluster was lost",
      error: "its connection broke",
    },
  },
  {
    title: "Rejected connections",
    key: "rejections",
    metric: "websocket_rejected_connections_total",
    meanings: {
      origin: "origin not allowed",
      token: "token missing or wrong",
      role: "not allowed by its token",
      full: "relay full",
      rooms: "too many rooms",
      per_ip: "too many from its address",
      draining: "relay shutting down",
      cluster: "cut off from the cluster",
      bad_request: "malformed request",
    },
  },
];
