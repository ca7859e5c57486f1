/**
 * Turns the measurements into `bench/RESULTS.md` and the plots beside it.
 *
 * @module
 */

import * as vega from "vega";
import { compile, type TopLevelSpec } from "vega-lite";
import {
  circumstances,
  failures,
  type Figure,
  median,
  Runs,
  short,
  spread,
  table,
} from "./figures.ts";
import { clusterMarkdown } from "./report_cluster.ts";
import type { Circumstances, Results } from "./results.ts";

/** A server that was busier than this share of its core was saturated. */
const SATURATED = 0.9;

const OURS = /^relay/;

const REFERENCE = "Bun, publish";

function throughput(runs: Runs, measure: string): string {
  const rows = runs.peers(measure).map((peer) => {
    const value = (figure: Figure) => runs.values(measure, peer, figure);
    const busy = median(value("busy"));
    const unsaturated = !(busy >= SATURATED);
    return [
      peer,
      `${unsaturated ? "at least " : ""}${spread(value("deliveries"))}`,
      spread(value("cpu")),
      spread(runs.ratios(measure, peer, REFERENCE, "cpu")),
      `${short(busy)}${unsaturated ? ", not saturated" : ""}`,
      short(median(value("load"))),
      spread(value("p50")),
    ];
  });
  return table([
    "",
    "deliveries per second",
    "server CPU per delivery, µs",
    "the same, with Bun as 1",
    "server's core",
    "load generator's core",
    "p50, ms",
  ], rows);
}

function byX(runs: Runs, measure: string, figure: Figure, unit: string): string {
  const xs = runs.xs(measure);
  return table(
    [unit, ...xs.map((x) => x.toLocaleString("en"))],
    runs.peers(measure).map((peer) => [
      peer,
      ...xs.map((x) => spread(runs.values(measure, peer, figure, x))),
    ]),
  );
}

function byFigure(
  runs: Runs,
  measure: string,
  titles: Partial<Record<Figure, string>>,
): string {
  const peers = runs.peers(measure);
  if (peers.length === 0) return "Not measured.";
  const figures = Object.keys(titles) as Figure[];
  return table(
    ["", ...Object.values(titles)],
    peers.map((peer) => [
      peer,
      ...figures.map((figure) => spread(runs.values(measure, peer, figure))),
    ]),
  );
}

function stuck(runs: Runs): string {
  return table(
    ["", "deliveries per second, without", "with one", "memory grown, MiB, without", "with one"],
    runs.peers("stuck").map((peer) => [
      peer,
      ...[0, 1].map((x) => spread(runs.values("stuck", peer, "deliveries", x))),
      ...[0, 1].map((x) => spread(runs.values("stuck", peer, "grown", x))),
    ]),
  );
}

/** The comparisons with the reference at the top: name, measurement, figure, and whether more is better. */
const COMPARED: readonly [
  what: string,
  measure: string,
  figure: Figure,
  more?: boolean,
  x?: number,
][] = [
  ["CPU per delivery, 1 sender, 16 in flight", "one sender", "cpu"],
  ["CPU per delivery, 16 senders, 4 in flight", "16 senders", "cpu"],
  ["CPU per delivery, 64 senders, 1 in flight", "64 senders", "cpu"],
  ["CPU per delivery, 1 sender, 1 in flight", "one in flight", "cpu"],
  ["CPU per delivery, TLS, 16 in flight", "tls", "cpu"],
  ["deliveries per second, 10 clients", "clients", "deliveries", true, 10],
  ["deliveries per second, messages of 8 KiB", "size", "deliveries", true, 8192],
  ["deliveries per second, messages of 64 KiB", "size", "deliveries", true, 65_536],
  ["latency, p50", "latency", "p50"],
  ["latency, p99.9", "latency", "p999"],
  ["latency in the first ten seconds, p99.9", "first seconds", "p999"],
  ["time until the first connection", "one sender", "start"],
  ["memory of an idle connection, of 10,000", "idle", "idle", false, 10_000],
  ["the memory 5 s later", "idle", "idleLater", false, 10_000],
  ["connections accepted per second, the first 1,000", "idle", "accepted", true, 1000],
  ["connections accepted per second, of 10,000", "idle", "accepted", true, 10_000],
  ["2,000 clients that connect at once, p99", "herd", "joinP99", false, 2000],
  ["10,000 clients that connect at once, p99", "herd", "joinP99", false, 10_000],
];

/** Describes where the relay on `ws` loses against the reference, worst first, and then where it wins. */
function comparison(runs: Runs): string {
  const rows = COMPARED.flatMap(([what, measure, figure, more = false, x]) => {
    const ratios = runs.ratios(measure, "relay, ws", REFERENCE, figure, x);
    if (ratios.length === 0) return [];
    const worse = more ? 1 / median(ratios) : median(ratios);
    const values = ["relay, ws", REFERENCE].map((peer) =>
      spread(runs.values(measure, peer, figure, x))
    );
    return [{ worse, cells: [what, spread(ratios), ...values] }];
  }).sort((a, b) => b.worse - a.worse);
  const head = ["", "relay on ws, with Bun as 1", "relay on ws", "Bun"];
  const part = (title: string, test: (worse: number) => boolean) =>
    `${title}\n\n${table(head, rows.filter(({ worse }) => test(worse)).map(({ cells }) => cells))}`;
  return `${part("Where the relay on `ws` loses, worst first:", (worse) => worse > 1)}\n\n${
    part("Where it wins:", (worse) => worse <= 1)
  }`;
}

function markdown(results: Results): string {
  const runs = new Runs(results.runs);
  const peers = runs.peers("one sender");
  const latency = byFigure(runs, "latency", {
    p50: "p50, ms",
    p99: "p99, ms",
    p999: "p99.9, ms",
    busy: "server's core",
  });
  const starting = table(
    [
      "",
      "first connection accepted after, ms",
      "accepted per second, the first 1,000",
      "of 10,000",
    ],
    peers.map((peer) => [
      peer,
      spread(runs.values(null, peer, "start")),
      spread(runs.values("idle", peer, "accepted", 1000)),
      spread(runs.values("idle", peer, "accepted", 10_000)),
    ]),
  );
  return `# Results

Written by \`deno task bench${results.quick ? " --quick" : ""}\`; the figures are in
[results.json](results.json), ${results.runs.length} runs. The figures are medians over the rounds, with
the smallest and the largest in brackets. ${
    results.quick
      ? "**This was the quick form: a single short round that shows that it works, and no more.**"
      : "Ratios are taken within a round, in which all peers were measured in turn."
  }

${circumstances(results)}

## The relay beside Bun

${comparison(runs)}

## Deliveries

There are 500 clients, and messages have 128 bytes. A server that did not use ${
    100 * SATURATED
  } % of its core was
not saturated, and its maximum is higher than shown. One sender with 16 messages in flight:

![Deliveries per second](deliveries.svg)

${throughput(runs, "one sender")}

16 senders with 4 messages in flight each:

${throughput(runs, "16 senders")}

64 senders with one message in flight each:

${throughput(runs, "64 senders")}

One sender with one message in flight, so that nothing can be batched:

${throughput(runs, "one in flight")}

One sender with 16 messages in flight and TLS, for the peers that support it:

${runs.peers("tls").length > 0 ? throughput(runs, "tls") : "Not measured."}

## Latency

There are 500 clients and one sender, with ${results.latencyRate} messages per second for every peer. This is half of
what the slowest one manages. The latency is the time from sending to the receipt by any client.

![Latency](latency.svg)

${latency}

In the first ten seconds after the start, at the same rate:

${byFigure(runs, "first seconds", { p50: "p50, ms", p99: "p99, ms", p999: "p99.9, ms" })}

## Many clients at once

Clients that all begin to connect at the same moment, and how long each takes until its upgrade:

${byX(runs, "herd", "joinP50", "p50 in ms, clients")}

${byX(runs, "herd", "joinP99", "p99 in ms, clients")}

## Idle connections

${byX(runs, "idle", "idle", "KiB per connection, of")}

The same 5 s later:

${byX(runs, "idle", "idleLater", "KiB per connection, of")}

![Memory](memory.svg)

${starting}

## How deliveries per second change

With the number of clients (one sender, 16 messages in flight, 128 bytes):

![Clients](clients.svg)

${byX(runs, "clients", "deliveries", "clients")}

With the size of a message (100 clients, bytes):

![Sizes](sizes.svg)

${byX(runs, "size", "deliveries", "bytes")}

## One stuck client

There are 100 clients that read, and one client that connects and never reads. Messages have 1 KiB.

${stuck(runs)}

${failures(results)}
`;
}

const COLOURS = { ours: "#d9480f", others: "#74839a" };

/** The colours of lines. The relay comes first and has warm colours. */
const LINES = ["#d9480f", "#f59f00", "#1c7ed6", "#2b8a3e", "#74839a"];
const CONFIG: TopLevelSpec["config"] = {
  background: "white",
  font: "sans-serif",
  axis: { labelFontSize: 12, titleFontSize: 12, labelLimit: 0 },
  title: { fontSize: 14, anchor: "start" },
  legend: { labelFontSize: 12, titleFontSize: 12, labelLimit: 0, titleLimit: 0 },
};

/** Plots one bar per peer with the range as a line. The relay's bars are coloured. */
function bars(
  title: string,
  unit: string,
  rows: { peer: string; values: number[] }[],
): TopLevelSpec {
  const values = rows.filter(({ values }) => values.length > 0).map(({ peer, values }) => ({
    peer,
    value: median(values),
    low: Math.min(...values),
    high: Math.max(...values),
    ours: OURS.test(peer),
  }));
  const order = values.toSorted((a, b) => b.value - a.value).map(({ peer }) => peer);
  const y = { field: "peer", type: "nominal", sort: order, title: null } as const;
  return {
    title,
    width: 560,
    data: { values },
    config: CONFIG,
    layer: [
      {
        mark: "bar",
        encoding: {
          y,
          x: { field: "value", type: "quantitative", title: unit, axis: { format: "~s" } },
          color: {
            condition: { test: "datum.ours", value: COLOURS.ours },
            value: COLOURS.others,
          },
        },
      },
      {
        mark: { type: "rule", strokeWidth: 2 },
        encoding: { y, x: { field: "low", type: "quantitative" }, x2: { field: "high" } },
      },
    ],
  };
}

function lines(
  title: string,
  xTitle: string,
  yTitle: string,
  rows: { peer: string; x: number; value: number }[],
): TopLevelSpec {
  const axis = { grid: true, format: "~s" } as const;
  return {
    title,
    width: 560,
    height: 300,
    data: { values: rows },
    config: CONFIG,
    mark: { type: "line", point: true },
    encoding: {
      x: { field: "x", type: "quantitative", scale: { type: "log" }, title: xTitle, axis },
      y: { field: "value", type: "quantitative", scale: { type: "log" }, title: yTitle, axis },
      color: { field: "peer", type: "nominal", sort: null, title: null, scale: { range: LINES } },
      strokeDash: {
        condition: { test: `test(/${OURS.source}/, datum.peer)`, value: [1, 0] },
        value: [5, 3],
      },
    },
  };
}

function quantiles(runs: Runs, rate: number): TopLevelSpec {
  const names = { p50: "50 %", p99: "99 %", p999: "99.9 %" } as const;
  const values = runs.peers("latency").flatMap((peer) =>
    (["p50", "p99", "p999"] as const).flatMap((figure) => {
      const seen = runs.values("latency", peer, figure);
      return seen.length > 0 ? [{ peer, quantile: names[figure], value: median(seen) }] : [];
    })
  );
  return {
    title: `Latency of ${rate} messages per second to 500 clients`,
    width: 560,
    data: { values },
    config: CONFIG,
    mark: { type: "point", filled: true, size: 90, opacity: 1 },
    encoding: {
      y: { field: "peer", type: "nominal", sort: { op: "max", field: "value" }, title: null },
      x: {
        field: "value",
        type: "quantitative",
        scale: { type: "log", nice: false },
        title: "milliseconds from sending to receipt (logarithmic)",
        axis: { grid: true },
      },
      color: {
        field: "quantile",
        type: "ordinal",
        sort: Object.values(names),
        title: "of all deliveries within",
        legend: { orient: "bottom", direction: "horizontal" },
        scale: { range: ["#9ecae1", "#4292c6", "#08306b"] },
      },
    },
  };
}

/** A text written by hand about attempts to make the relay faster, which becomes the end of the report. */
const TRIED = new URL("tried.md", import.meta.url);

async function draw(file: string, spec: TopLevelSpec): Promise<void> {
  const view = new vega.View(vega.parse(compile(spec).spec), { renderer: "none" });
  await Deno.writeTextFile(file, `${await view.toSVG()}\n`);
}

/** Writes the report and its plots from the results in one directory into another directory. */
export async function report(from: string, directory: string): Promise<void> {
  const read = async (name: string) => JSON.parse(await Deno.readTextFile(`${from}${name}.json`));
  const results: Results = await read("results"), cluster: Circumstances = await read("cluster");
  const runs = new Runs(results.runs);
  const all = (measure: string, figure: Figure, x?: number) =>
    runs.peers(measure).map((peer) => ({ peer, values: runs.values(measure, peer, figure, x) }));
  const curve = (measure: string) =>
    runs.peers(measure).flatMap((peer) =>
      runs.xs(measure).flatMap((x) => {
        const values = runs.values(measure, peer, "deliveries", x);
        return values.length > 0 ? [{ peer, x, value: median(values) }] : [];
      })
    );
  const idle = Math.max(...runs.xs("idle"));
  const clients = idle.toLocaleString("en");
  await draw(
    `${directory}deliveries.svg`,
    bars(
      "One sender, 500 clients, 128 bytes, server on one core",
      "deliveries per second",
      all("one sender", "deliveries"),
    ),
  );
  await draw(`${directory}latency.svg`, quantiles(runs, results.latencyRate));
  await draw(
    `${directory}memory.svg`,
    bars(`Memory for each of ${clients} idle connections`, "KiB", all("idle", "idle", idle)),
  );
  await draw(
    `${directory}clients.svg`,
    lines("One sender, 128 bytes", "clients", "deliveries per second", curve("clients")),
  );
  await draw(
    `${directory}sizes.svg`,
    lines("One sender, 100 clients", "bytes per message", "deliveries per second", curve("size")),
  );
  const tried = await Deno.readTextFile(TRIED);
  await Deno.writeTextFile(
    `${directory}RESULTS.md`,
    [
      markdown(results),
      clusterMarkdown(cluster),
      tried,
    ].join("\n"),
  );
}
