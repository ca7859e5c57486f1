/**
 * The status page: asks the relay for its metrics every few seconds, and shows the last ten minutes.
 *
 * @module
 */

import { createChart } from "./chart.js";
import { bytes, CHARTS, count, STATES, TABLES, WINDOW_SECONDS } from "./contents.js";
import { labelsOf, parse, read } from "./numbers.js";
import { createTable } from "./table.js";

const POLL_SECONDS = 2;
const PATIENCE_SECONDS = 5;

const $ = (id) => document.getElementById(id);
const clock = () => Date.now() / 1000;
const time = (at) => new Date(at * 1000).toLocaleTimeString("en-GB");
const date = (at) => {
  return new Date(at * 1000).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "medium" });
};

const openedAt = clock();
/** The last ten minutes. A reading that failed has only its time. */
const readings = [{ at: openedAt }];
/** The last answer of the relay, with its time and its metrics. */
let last = null;
/** Whether the relay has not answered since. */
let lost = false;
/** The time in the past that the user looks at. */
let lookedAt = null;

const parts = [
  ...CHARTS.map((chart) => place("charts", createChart(chart, lookAt))),
  ...TABLES.map((table) => place("tables", createTable(table))),
];

function place(id, part) {
  $(id).append(part.element);
  return part;
}

/** Looks at a part of the window: -1 is its beginning, 0 is now. */
function lookAt(share) {
  lookedAt = share < 0 ? readings.at(-1).at + share * WINDOW_SECONDS : null;
  draw();
}

function draw() {
  if (document.hidden) return;
  const now = readings.at(-1).at;
  const reading = lookedAt === null ? null : nearest(lookedAt);
  const when = reading ? time(reading.at) : "now";
  const view = {
    readings,
    now,
    span: now - openedAt < WINDOW_SECONDS ? `since ${time(openedAt)}` : "in ten minutes",
    moment: reading && { reading, time: when },
    metrics: last?.metrics ?? new Map(),
    lost,
  };
  for (const part of parts) part.draw(view);
  $("moment").value = (lookedAt ?? now) - now;
  $("moment").setAttribute("aria-valuetext", when);
  $("when").textContent = when;
}

function nearest(at) {
  return readings.reduce((best, each) => {
    return Math.abs(each.at - at) < Math.abs(best.at - at) ? each : best;
  });
}

/** Says how the relay is. A screen reader announces it only when the words change. */
function say(state, words, title) {
  $("header").dataset.state = state;
  if ($("state").textContent !== words) $("state").textContent = words;
  document.title = `${title} – Relay`;
}

function describe(metrics) {
  const { version, deno, transport } = labelsOf(metrics, "relay_build_info");
  const expires = metrics.get("websocket_tls_certificate_expiry_timestamp_seconds");
  $("about").textContent = `Version ${version} with the ${transport} transport on Deno ${deno}, ` +
    `running since ${date(metrics.get("process_start_time_seconds"))}` +
    `${expires ? `, certificate valid until ${date(expires)}` : ""}. ` +
    `Time zone: ${Intl.DateTimeFormat().resolvedOptions().timeZone}.`;
}

/** Shows the numbers of rooms, of the history, and of messages by POST. */
function describeRooms(metrics) {
  const number = (name) => count(metrics.get(`websocket_${name}`));
  $("rooms").textContent = `Rooms: ${number("rooms")}. History: ` +
    `${bytes(metrics.get("websocket_history_bytes"))}. Messages since the start: ` +
    `${number("published_messages_total")} by POST, ${number("replayed_messages_total")} replayed.`;
}

/** Names the cluster, and says whether the relay is connected to it, if it has one. */
function describeCluster(metrics, state) {
  const connected = metrics.get("relay_cluster_connected");
  const how = connected ? "connected" : state === "lost" ? "lost" : "reconnecting";
  const gaps = count(metrics.get("relay_cluster_gaps_total"));
  const { cluster } = labelsOf(metrics, "relay_build_info");
  $("cluster").hidden = connected === undefined;
  $("cluster").textContent = `Cluster ${cluster}: ${how}. Gaps since the start: ${gaps}.`;
}

/** Asks the relay for its metrics, and whether it admits clients; `null` if it does not answer. */
async function ask() {
  const signal = AbortSignal.timeout(PATIENCE_SECONDS * 1000);
  const get = (path) => fetch(path, { cache: "no-store", signal });
  try {
    const [metrics, ready] = await Promise.all([get("metrics"), get("readyz")]);
    if (!metrics.ok) return null;
    return { text: await metrics.text(), readiness: (await ready.text()).trim() };
  } catch {
    return null;
  }
}

async function poll() {
  const answer = await ask();
  if (answer) take(answer);
  else miss();
  while (readings[0].at < clock() - WINDOW_SECONDS) readings.shift();
  draw();
}

function take({ text, readiness }) {
  const now = { at: clock(), metrics: parse(text) };
  const reading = read(last, now);
  readings.push(reading);
  last = now;
  lost = false;
  describe(now.metrics);
  describeRooms(now.metrics);
  const [state, words] = STATES[readiness] ?? ["draining", `Not ready: ${readiness}.`];
  describeCluster(now.metrics, state);
  say(state, words, `${count(reading.clients)} clients`);
}

function miss() {
  readings.push({ at: clock() });
  lost = true;
  $("cluster").hidden = true;
  const since = `The relay has not answered since ${time(last?.at ?? openedAt)}`;
  say("lost", `${since}; asking again every ${POLL_SECONDS} seconds.`, "No answer");
}

$("moment").addEventListener("input", ({ target }) => lookAt(target.value / WINDOW_SECONDS));
document.addEventListener("visibilitychange", draw);
new ResizeObserver(draw).observe($("charts"));

while (true) {
  await poll();
  await new Promise((resolve) => setTimeout(resolve, POLL_SECONDS * 1000));
}
