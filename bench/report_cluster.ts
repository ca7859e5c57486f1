/**
 * The section of the report about relays that act as one.
 *
 * @module
 */

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
import { NCHAN_WITH_REDIS, SOCKET_IO_WITH_REDIS } from "./peers.ts";
import type { Circumstances } from "./results.ts";

const ALONE = "one relay alone", TWO = "2 relays with NATS";

/** The goals that were set before the measurements. */
const AIMS = {
  oneSender: 1.4,
  sixteenSenders: 1.8,
  p50: 1.5,
  socketIo: 1 / 5,
};

/** The least share of its core that the busier of server and load uses if nothing else holds them up. */
const SATURATED = 0.9;

const PEER = " × Socket.IO with Redis";

const CLIENTS = 1000;

/** Formats the section. */
export function clusterMarkdown(results: Circumstances): string {
  const runs = new Runs(results.runs);
  return `## Relays that act as one

Written by \`deno task bench --cluster${results.quick ? " --quick" : ""}\`; the figures are in
[cluster.json](cluster.json), ${results.runs.length} runs, with medians and ranges as above.${
    results.quick ? " **This was the quick form: a single short round.**" : ""
  }
Messages have 128 bytes, on \`ws\`, and the clients are spread evenly over the relays. **Relays and
engine share one core.** So CPU per delivery is what they need together, and deliveries per second
are what one core yields. This shows the cost of a cluster, and not its gain: with a core for each
relay there are more deliveries, and the latency does not include the work of the other relay. The
stream of NATS is in a file, which is the default. Processor time is counted in steps of 10 ms, so a
small share of an engine appears as 0.
${warning(runs)}
${circumstances(results)}

The goals, for 1,000 clients:

${aims(runs)}

One sender with 16 messages in flight, 1,000 clients:

${throughput(runs, "one sender")}

16 senders with 4 messages in flight each, 1,000 clients:

${throughput(runs, "16 senders")}

The cost falls as the clients per relay grow. The table has the CPU per delivery of all processes
together in µs, with one sender and 16 messages in flight. The lower lines have it as a multiple of
the relay alone, and the share of NATS in µs.

${growth(runs)}

Latency at 1,000 messages per second from 10 senders to 1,000 clients. These are a million deliveries
per second, which Socket.IO cannot do:

${latency(runs, "latency, 1,000 clients")}

The same with 100 clients:

${latency(runs, "latency, 100 clients")}

100 messages per second to 100 clients, which all peers can do:

${latency(runs, "latency of all")}

Clients that all begin to connect at the same moment, and how long each takes until its upgrade:

${herd(runs)}

Socket.IO promises less. It hands a message to the clients of its own process without waiting for
Redis, so clients of two processes do not see one order, and they miss silently what Redis does not
deliver.${nchan(results)}

${failures(results)}
`;
}

/** Returns a note if nchan was not measured. */
function nchan({ peers }: Circumstances): string {
  if (peers.some(({ name }) => name === NCHAN_WITH_REDIS)) return "";
  return " nchan with Redis was not measured, because its package is not installed here.";
}

/** Returns a warning if servers under full load did not get their core because of other work. */
function warning(runs: Runs): string {
  const loads = ["one sender", "16 senders"];
  const got = loads.flatMap((measure) => {
    const busy = ["busy", "load"] as const;
    const [server, load] = busy.map((figure) => runs.values(measure, ALONE, figure, CLIENTS));
    return server.map((share, i) => Math.max(share, load[i]));
  });
  if (median(got) >= SATURATED) return "";
  return `
**The machine was not quiet.** Under full load neither the relay alone nor its load generator got its
core: the busier of the two had ${short(median(got))} of it (${short(Math.min(...got))}–${
    short(Math.max(...got))
  }), so something else ran there. Ranges are wide, ratios are uncertain, and
the latencies are mainly those of a process that waits for its turn.
`;
}

function aims(runs: Runs): string {
  const cpu = (measure: string, reference: string) =>
    runs.ratios(measure, TWO, reference, "cpu", CLIENTS);
  const row = (what: string, most: number, unit: string, values: number[]) => [
    what,
    `${short(most)}${unit}`,
    `${spread(values)}${unit}`,
    median(values) <= most ? "reached" : "**missed**",
  ];
  return table(["two relays and NATS together", "at most", "measured", ""], [
    row("CPU per delivery, 1 sender", AIMS.oneSender, " × alone", cpu("one sender", ALONE)),
    row("CPU per delivery, 16 senders", AIMS.sixteenSenders, " × alone", cpu("16 senders", ALONE)),
    row(
      "p50 at 1,000 messages per second, more than alone",
      AIMS.p50,
      " ms",
      runs.differences("latency, 1,000 clients", TWO, ALONE, "p50"),
    ),
    row("CPU per delivery, 1 sender", AIMS.socketIo, PEER, cpu("one sender", SOCKET_IO_WITH_REDIS)),
    row(
      "CPU per delivery, 16 senders",
      AIMS.socketIo,
      PEER,
      cpu("16 senders", SOCKET_IO_WITH_REDIS),
    ),
  ]);
}

function throughput(runs: Runs, measure: string): string {
  return table(
    [
      "",
      "deliveries per second",
      "CPU per delivery, µs",
      "with alone as 1",
      "of the servers",
      "of the engine",
      "their core",
      "load generator's core",
      "p50 of own messages, ms",
    ],
    runs.peers(measure).map((peer) => {
      const value = (figure: Figure) => runs.values(measure, peer, figure, CLIENTS);
      return [
        peer,
        ...(["deliveries", "cpu"] as const).map((figure) => spread(value(figure))),
        spread(runs.ratios(measure, peer, ALONE, "cpu", CLIENTS)),
        spread(value("relays")),
        peer === ALONE ? "–" : spread(value("engine")),
        short(median(value("busy"))),
        short(median(value("load"))),
        spread(value("ownP50")),
      ];
    }),
  );
}

function growth(runs: Runs): string {
  const measure = "one sender";
  const xs = runs.xs(measure);
  const clustered = runs.peers(measure).filter((peer) => peer !== ALONE);
  const row = (name: string, values: (x: number) => number[]) => [
    name,
    ...xs.map((x) => spread(values(x))),
  ];
  return table(["total clients", ...xs.map((x) => x.toLocaleString("en"))], [
    ...runs.peers(measure).map((peer) => row(peer, (x) => runs.values(measure, peer, "cpu", x))),
    ...clustered.map((peer) =>
      row(`${peer}, alone as 1`, (x) => runs.ratios(measure, peer, ALONE, "cpu", x))
    ),
    row(`NATS of ${TWO}`, (x) => runs.values(measure, TWO, "engine", x)),
  ]);
}

function herd(runs: Runs): string {
  const measure = "herd";
  const xs = runs.xs(measure);
  const columns = xs.flatMap((x) => [`${x.toLocaleString("en")} clients, p50, ms`, "p99"]);
  return table(
    ["", ...columns],
    runs.peers(measure).map((peer) => [
      peer,
      ...xs.flatMap((x) => [
        spread(runs.values(measure, peer, "joinP50", x)),
        spread(runs.values(measure, peer, "joinP99", x)),
      ]),
    ]),
  );
}

function latency(runs: Runs, measure: string): string {
  const columns = [
    ["to any client, p50, ms", "p50"],
    ["p99", "p99"],
    ["p99.9", "p999"],
    ["own messages, p50, ms", "ownP50"],
    ["p99", "ownP99"],
    ["p99.9", "ownP999"],
    ["of another relay, p50, ms", "foreignP50"],
    ["p99", "foreignP99"],
    ["p99.9", "foreignP999"],
  ] as const;
  return table(
    ["", ...columns.map(([heading]) => heading), "their core"],
    runs.peers(measure).map((peer) => [
      peer,
      ...columns.map(([, figure]) => spread(runs.values(measure, peer, figure))),
      short(median(runs.values(measure, peer, "busy"))),
    ]),
  );
}
