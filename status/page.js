/**
 * The status page: asks the relay for its metrics again and again, and shows the last ten minutes.
 *
 * @module
 */

import { createChart, createStrip, html, known, WINDOW_SECONDS } from "./chart.js";
import { byReason, labelsOf, parse, read } from "./numbers.js";

const POLL_SECONDS = 2;
const PATIENCE_SECONDS = 5;

const orNone = (format) => (value) => known(value) ? format(value) : "–";
const count = orNone((value) => value.toLocaleString("en"));
const rate = orNone((value) => {
  return value < 1e6
    ? value.toLocaleString("en", { maximumFractionDigits: value < 10 ? 1 : 0 })
    : value.toLocaleString("en", { notation: "compact", maximumSignificantDigits: 3 });
});
const bytes = orNone((value) => {
  const power = Math.min(4, Math.floor(Math.log2(Math.max(1, value)) / 10));
  const short = (value / 1024 ** power).toLocaleString("en", { maximumSignificantDigits: 3 });
  return `${short} ${["B", "KiB", "MiB", "GiB", "TiB"][power]}`;
});
const duration = orNone((seconds) => {
  return seconds < 1 ? `${Number((seconds * 1000).toPrecision(3))} ms` : `${seconds} s`;
});
const atMost = orNone((seconds) => seconds === Infinity ? "> 5 s" : `≤ ${duration(seconds)}`);

/** Every chart with its lines: keys of a reading, and the unit. Its axis ends at `least` or above. */
const CHARTS = [
  {
    title: "Connected clients",
    lines: [{ key: "clients", name: "clients" }],
    format: count,
    least: 2,
  },
  {
    title: "Messages taken in",
    lines: [{ key: "messages", name: "a second" }],
    format: rate,
    least: 2,
  },
  {
    title: "Messages delivered",
    lines: [{ key: "deliveries", name: "a second" }],
    format: rate,
    least: 2,
  },
  {
    title: "Backlog of unsent bytes",
    lines: [
      { key: "backlog", name: "all clients" },
      { key: "backlogMax", name: "largest of one" },
    ],
    format: bytes,
    least: 2048,
    binary: true,
  },
  {
    title: "Event-loop delay",
    lines: [{ key: "delay", name: "longest at a time" }],
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
const TABLES = [
  {
    title: "Evictions",
    key: "evictions",
    metric: "websocket_evictions_total",
    meanings: {
      slow: "read too slowly",
      rate: "sent too fast",
      too_big: "sent too big a message",
      idle: "was silent too long",
      error: "its connection broke",
    },
  },
  {
    title: "Rejected connections",
    key: "rejections",
    metric: "websocket_rejected_connections_total",
    meanings: {
      origin: "web page of a foreign origin",
      token: "token missing or wrong",
      full: "relay full",
      per_ip: "too many from its address",
      draining: "relay shutting down",
      bad_request: "no WebSocket handshake",
    },
  },
];

const $ = (id) => document.getElementById(id);
const clock = () => Date.now() / 1000;
const time = (at) => new Date(at * 1000).toLocaleTimeString("en-GB");
const date = (at) =>
  new Date(at * 1000).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "medium" });

/** The last ten minutes. A reading that failed has only its time. */
const readings = [{ at: clock() }];
/** The last answer of the relay, when it came. */
let last = null;
/** Since when it has not answered. */
let lostAt = null;
/** The time that is looked back at; `null` is now. */
let lookedAt = null;

const charts = CHARTS.map((chart) => createChart(chart, (share) => lookAt(share * WINDOW_SECONDS)));
const tables = TABLES.map(createTable);
$("charts").append(...charts.map(({ element }) => element));
$("tables").append(...tables.map(({ element }) => element));

function createTable({ title, key, metric, meanings }) {
  const body = html("tbody");
  const rows = new Map();
  const header = (textContent) => html("th", { scope: "col", textContent });
  const element = html("section", {}, [
    html("table", {}, [
      html("caption", { textContent: title }),
      html("thead", {}, [
        html("tr", {}, [
          header("Reason"),
          header("When, in ten minutes"),
          header("Ten minutes"),
          header("Since the start"),
        ]),
      ]),
      body,
    ]),
  ]);
  function row(reason) {
    const strip = createStrip();
    const recent = html("td");
    const total = html("td");
    body.append(html("tr", {}, [
      html("th", { scope: "row" }, [
        html("code", { textContent: reason }),
        ` ${meanings[reason] ?? ""}`,
      ]),
      html("td", {}, [strip.element]),
      recent,
      total,
    ]));
    return { strip, recent, total };
  }
  function draw(now) {
    for (const [reason, value] of last ? byReason(last.metrics, metric) : []) {
      if (!rows.has(reason)) rows.set(reason, row(reason));
      const { strip, recent, total } = rows.get(reason);
      const counted = readings.filter((reading) => reading[key]?.get(reason) > 0);
      strip.draw(counted.map(({ at }) => at), now);
      recent.textContent = count(
        counted.reduce((sum, reading) => sum + reading[key].get(reason), 0),
      );
      total.textContent = count(value);
      recent.className = counted.length > 0 ? "some" : "";
    }
  }
  return { element, draw };
}

function draw() {
  if (document.hidden) return;
  const now = readings.at(-1).at;
  const moment = lookedAt === null ? null : nearest(lookedAt);
  for (const chart of charts) chart.draw(readings, now, moment);
  for (const table of tables) table.draw(now);
  $("moment").value = moment ? moment.at - now : 0;
  $("when").textContent = moment ? time(moment.at) : "now";
  $("moment").setAttribute("aria-valuetext", $("when").textContent);
}

function nearest(at) {
  return readings.reduce((best, each) => {
    return Math.abs(each.at - at) < Math.abs(best.at - at) ? each : best;
  });
}

function lookAt(secondsFromNow) {
  lookedAt = secondsFromNow < 0 ? readings.at(-1).at + secondsFromNow : null;
  draw();
}

/** Says in words how the relay is; the same words again are not said again. */
function say(state, words) {
  $("header").dataset.state = state;
  if ($("state").textContent !== words) $("state").textContent = words;
}

function describe({ metrics }) {
  const { version, deno, transport } = labelsOf(metrics, "relay_build_info");
  const expires = metrics.get("websocket_tls_certificate_expiry_timestamp_seconds");
  $("about").textContent = `Version ${version} with the ${transport} transport on Deno ${deno}, ` +
    `running since ${date(metrics.get("process_start_time_seconds"))}` +
    `${known(expires) ? `, certificate valid until ${date(expires)}` : ""}. ` +
    `Times are of ${Intl.DateTimeFormat().resolvedOptions().timeZone}.`;
}

async function ask(path) {
  return await fetch(path, {
    cache: "no-store",
    signal: AbortSignal.timeout(PATIENCE_SECONDS * 1000),
  });
}

async function poll() {
  try {
    const [metrics, ready] = await Promise.all([ask("metrics"), ask("readyz")]);
    if (!metrics.ok) throw new Error(`/metrics answers ${metrics.status}`);
    const answer = { at: clock(), metrics: parse(await metrics.text()) };
    readings.push(read(last, answer));
    last = answer;
    lostAt = null;
    describe(last);
    if (ready.ok) say("ready", "Running; clients are admitted.");
    else say("draining", "Shutting down; no more clients are admitted.");
    document.title = `${count(readings.at(-1).clients)} clients – Relay`;
  } catch {
    readings.push({ at: clock() });
    lostAt ??= clock();
    say(
      "lost",
      `The relay has not answered since ${
        time(lostAt)
      }; asking again every ${POLL_SECONDS} seconds.`,
    );
    document.title = "No answer – Relay";
  }
  while (readings[0].at < clock() - WINDOW_SECONDS) readings.shift();
  draw();
}

$("moment").addEventListener("input", ({ target }) => lookAt(Number(target.value)));
document.addEventListener("visibilitychange", draw);
new ResizeObserver(draw).observe($("charts"));

while (true) {
  await poll();
  await new Promise((resolve) => setTimeout(resolve, POLL_SECONDS * 1000));
}
