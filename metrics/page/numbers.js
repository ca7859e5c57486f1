/**
 * Reads the relay's metrics for the status page.
 *
 * @module
 */

const STARTED = "process_start_time_seconds";
const DELAY = "relay_event_loop_delay_seconds_bucket";

/**
 * The metrics at one moment: a map from names with labels to values.
 *
 * @typedef {Map<string, number>} Metrics
 */

/**
 * The values of one moment. Rates are averages since the previous reading. The delay of the event loop is the
 * upper bound of the longest one since then, and `Infinity` beyond the last bucket.
 *
 * @typedef {object} Reading
 * @property {number} at When, in seconds.
 * @property {number} [clients]
 * @property {number} [messages] Per second.
 * @property {number} [deliveries] Per second.
 * @property {number} [backlog] In bytes, over all clients.
 * @property {number} [backlogMax] In bytes, of one client.
 * @property {number} [memory] In bytes.
 * @property {number} [delay] In seconds.
 * @property {Map<string, number>} [evictions] How many more, by reason.
 * @property {Map<string, number>} [rejections] How many more, by reason.
 */

/**
 * Reads Prometheus' text format.
 *
 * @param {string} text
 * @returns {Metrics}
 */
export function parse(text) {
  const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return new Map(lines.map((line) => {
    const space = line.lastIndexOf(" ");
    return [line.slice(0, space), Number(line.slice(space + 1))];
  }));
}

/**
 * Makes a reading from the changes between two moments; the first moment has none before it.
 *
 * @param {{ at: number, metrics: Metrics } | null} before
 * @param {{ at: number, metrics: Metrics }} after
 * @returns {Reading}
 */
export function read(before, { at, metrics }) {
  const reading = {
    at,
    clients: metrics.get("websocket_connected_clients"),
    backlog: metrics.get("websocket_backlog_bytes"),
    backlogMax: metrics.get("websocket_backlog_bytes_max"),
    memory: metrics.get("process_resident_memory_bytes"),
  };
  if (before === null) return reading;
  const more = (key) => increase(before.metrics, metrics, key);
  const aSecond = (key) => more(key) / (at - before.at);
  const moreByReason = (name) =>
    new Map(
      byReason(metrics, name).map(([reason]) => [reason, more(`${name}{reason="${reason}"}`)]),
    );
  return {
    ...reading,
    messages: aSecond("websocket_messages_total"),
    deliveries: aSecond("websocket_deliveries_total"),
    delay: worstDelay(metrics, more),
    evictions: moreByReason("websocket_evictions_total"),
    rejections: moreByReason("websocket_rejected_connections_total"),
  };
}

/**
 * Lists the values of a metric by reason.
 *
 * @param {Metrics} metrics
 * @param {string} name
 * @returns {[reason: string, value: number][]}
 */
export function byReason(metrics, name) {
  return byLabel(metrics, name, "reason");
}

/**
 * Finds the labels of a metric that is always 1.
 *
 * @param {Metrics} metrics
 * @param {string} name
 * @returns {Record<string, string>}
 */
export function labelsOf(metrics, name) {
  const key = [...metrics.keys()].find((key) => key.startsWith(`${name}{`)) ?? "";
  return Object.fromEntries(
    [...key.matchAll(/(\w+)="([^"]*)"/g)].map(([, label, value]) => [label, value]),
  );
}

function byLabel(metrics, name, label) {
  const start = `${name}{${label}="`;
  return [...metrics].filter(([key]) => key.startsWith(start))
    .map(([key, value]) => [key.slice(start.length, -'"}'.length), value]);
}

/** Returns by how much a counter grew. After a restart of the relay it has counted from 0. */
function increase(before, after, key) {
  const then = before.get(key) ?? 0;
  const now = after.get(key) ?? 0;
  return before.get(STARTED) !== after.get(STARTED) || now < then ? now : now - then;
}

function worstDelay(metrics, more) {
  let worst;
  let below = 0;
  for (const [bound] of byLabel(metrics, DELAY, "le")) {
    const upTo = more(`${DELAY}{le="${bound}"}`);
    if (upTo > below) worst = bound === "+Inf" ? Infinity : Number(bound);
    below = upTo;
  }
  return worst;
}
