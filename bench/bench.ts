/**
 * The benchmark. `deno task bench` measures single servers, and `--cluster` measures relays that act as one.
 * `--quick` is a short form of either. `--report` only writes the report again from `bench/results.json` and
 * `bench/cluster.json`.
 *
 * Every round measures all peers in turn, so that other work of the machine affects all of them. The report
 * has medians over the rounds, and ratios within a round.
 *
 * @module
 */

import { makeCertificate } from "../testing/certificate.ts";
import { sleep } from "../testing/wait.ts";
import { benchCluster } from "./cluster.ts";
import { findPeers } from "./peers.ts";
import { report } from "./report.ts";
import type { Results } from "./results.ts";
import { Rounds } from "./rounds.ts";
import type { Load, Server } from "./server.ts";

/** The extent of a benchmark. Times are in seconds. */
interface Effort {
  readonly rounds: number;
  readonly warmup: number;
  readonly seconds: number;
  readonly clients: number[];
  readonly sizes: number[];
  readonly idle: number[];
  /** The numbers of clients that connect at the same moment. */
  readonly herd: number[];
  /** How long connections idle before memory is measured again. */
  readonly idleSeconds: number;
}

const FULL: Effort = {
  rounds: 5,
  warmup: 0.5,
  seconds: 1.5,
  clients: [10, 100, 1000, 5000],
  sizes: [16, 1024, 8192, 65_536],
  idle: [1000, 10_000],
  herd: [2000, 10_000],
  idleSeconds: 5,
};
const QUICK: Effort = {
  rounds: 1,
  warmup: 0.3,
  seconds: 0.6,
  clients: [10, 1000],
  sizes: [16, 8192],
  idle: [1000],
  herd: [500],
  idleSeconds: 1,
};

/** Peers that are measured with several numbers of clients and sizes. The others would only take time. */
const SCALED = /^(relay|Bun|Go|Deno)/;

const DIRECTORY = new URL(".", import.meta.url).pathname;

async function bench(effort: Effort, quick: boolean): Promise<Results> {
  const temporary = await Deno.makeTempDir();
  const rounds = new Rounds(effort.rounds);
  const measure = rounds.measure.bind(rounds);
  try {
    const { peers, skipped } = await findPeers(temporary);
    for (const each of skipped) rounds.skip(each);
    const certificate = await makeCertificate(temporary, "bench").catch(() => undefined);
    if (!certificate) {
      rounds.skip({ name: "TLS", why: "openssl, which makes the certificate, is not installed" });
    }
    const { warmup, seconds } = effort;
    const standard: Load = { clients: 500, senders: 1, window: 16, size: 128, warmup, seconds };
    const loaded = (changes: Partial<Load>) => async (server: Server) => ({
      result: await server.load({ ...standard, ...changes }),
    });

    await measure("one sender", 16, peers, loaded({}));
    await measure("16 senders", 4, peers, loaded({ senders: 16, window: 4 }));
    await measure("64 senders", 1, peers, loaded({ senders: 64, window: 1 }));
    await measure("one in flight", 1, peers, loaded({ window: 1 }));
    if (certificate) {
      const secure = peers.filter(({ tls }) => tls);
      await measure("tls", 16, secure, loaded({}), certificate);
    }

    const speeds = peers.map(({ name }) =>
      Math.min(
        ...rounds.runs.filter((run) =>
          run.peer === name && run.measure === "one sender" && run.result
        )
          .map(({ result }) => result!.messages / result!.seconds),
      )
    );
    const rate = Math.max(1, Math.floor(Math.min(...speeds.filter(Number.isFinite)) / 2));
    await measure(
      "latency",
      rate,
      peers,
      loaded({ window: undefined, rate, seconds: 2 * seconds }),
    );

    await measure(
      "first seconds",
      rate,
      peers,
      loaded({ window: undefined, rate, warmup: 0, seconds: 20 * warmup }),
    );
    for (const clients of rounds.possible(effort.herd)) {
      await measure(
        "herd",
        clients,
        peers,
        loaded({ clients, together: clients, seconds: 0 }),
      );
    }

    for (const clients of rounds.possible(effort.idle)) {
      await measure("idle", clients, peers, async (server) => {
        const before = server.memory();
        const load = { ...standard, clients, seconds: 0 };
        const [result, [after, later]] = await server.loadAndHold(load, async () => {
          await sleep(0.5);
          const after = server.memory();
          await sleep(effort.idleSeconds);
          return [after, server.memory()];
        });
        return { result, memory: [before, after, later] };
      });
    }
    const few = peers.filter(({ name }) => SCALED.test(name));
    for (const clients of rounds.possible(effort.clients)) {
      await measure("clients", clients, few, loaded({ clients }));
    }
    for (const size of effort.sizes) {
      await measure("size", size, few, loaded({ clients: 100, size }));
    }
    for (const stuck of [0, 1]) {
      await measure("stuck", stuck, peers, async (server) => {
        const load = { ...standard, clients: 100, size: 1024, stuck, seconds: 2 * seconds };
        const before = server.memory();
        const [result, after] = await server.loadAndHold(
          load,
          () => Promise.resolve(server.memory()),
        );
        return { result, memory: [before, after] };
      });
    }
    return { ...await rounds.circumstances(peers, quick), latencyRate: rate };
  } finally {
    await Deno.remove(temporary, { recursive: true });
  }
}

const flags = new Set(Deno.args);
const [quick, cluster, reportOnly] = ["--quick", "--cluster", "--report"].map((flag) =>
  flags.delete(flag)
);
if (flags.size > 0 || reportOnly && (quick || cluster)) {
  console.error(`Want --quick, --cluster, both, --report or nothing, got ${Deno.args.join(" ")}`);
  Deno.exit(2);
}
if (!reportOnly) {
  const results = await (cluster ? benchCluster(quick) : bench(quick ? QUICK : FULL, quick));
  const file = `${DIRECTORY}${cluster ? "cluster" : "results"}.json`;
  await Deno.writeTextFile(file, `${JSON.stringify(results, null, 1)}\n`);
}
await report(DIRECTORY, DIRECTORY);
console.log(`Written: ${DIRECTORY}RESULTS.md`);
Deno.exit();
