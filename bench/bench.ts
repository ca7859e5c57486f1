/**
 * The benchmark: `deno task bench`, `deno task bench --quick`, or `--report` to write the report again
 * from `bench/results.json`.
 *
 * Every round measures all peers in turn, so that whatever else the machine does meets all of them;
 * what is reported are medians over the rounds, and ratios within a round.
 *
 * @module
 */

import { VERSION } from "../version.ts";
import { findPeers, type Peer } from "./peers.ts";
import { report } from "./report.ts";
import type { Results, Run } from "./results.ts";
import { type Load, PINNED, Server } from "./server.ts";

/** How thorough a benchmark is. */
interface Effort {
  readonly rounds: number;
  readonly fewerRounds: number;
  readonly warmup: number;
  readonly seconds: number;
  readonly clients: number[];
  readonly sizes: number[];
  readonly idle: number[];
}

const FULL: Effort = {
  rounds: 5,
  fewerRounds: 3,
  warmup: 1,
  seconds: 2,
  clients: [10, 100, 1000, 5000],
  sizes: [16, 1024, 8192, 65_536],
  idle: [1000, 10_000],
};
const QUICK: Effort = {
  rounds: 1,
  fewerRounds: 1,
  warmup: 0.3,
  seconds: 0.7,
  clients: [10, 1000],
  sizes: [16, 8192],
  idle: [1000],
};

/** Peers for which the dependence on clients and sizes is measured: the others only lengthen it. */
const SCALED = /^(relay|Bun|Go|Deno)/;

const DIRECTORY = new URL(".", import.meta.url).pathname;

async function bench(effort: Effort, quick: boolean): Promise<Results> {
  const temporary = await Deno.makeTempDir();
  const started = performance.now();
  const runs: Run[] = [];
  const say = (text: string) => {
    const seconds = ((performance.now() - started) / 1000).toFixed(0).padStart(4);
    console.log(`${seconds} s  ${text}`);
  };
  try {
    const { peers, skipped } = await findPeers(temporary);
    for (const { name, why } of skipped) say(`SKIPPED: ${name}: ${why}`);

    /** Measures one thing for each of some peers, in rounds. */
    const measure = async (
      name: string,
      x: number,
      rounds: number,
      which: readonly Peer[],
      look: (server: Server) => Promise<Partial<Run>>,
    ) => {
      for (let round = 0; round < rounds; round++) {
        for (const peer of which) {
          try {
            await using server = await Server.start(peer);
            const seen = await look(server);
            const { startSeconds } = server;
            runs.push({ measure: name, x, round, peer: peer.name, startSeconds, ...seen });
          } catch (error) {
            const failure = (error as Error).message;
            runs.push({ measure: name, x, round, peer: peer.name, failure });
            say(`FAILED: ${peer.name}: ${failure}`);
          }
        }
        say(`${name} ${x}, round ${round + 1} of ${rounds}`);
      }
    };
    const { warmup, seconds } = effort;
    const standard: Load = { clients: 500, senders: 1, window: 16, size: 128, warmup, seconds };
    const loaded = (changes: Partial<Load>) => async (server: Server) => ({
      result: await server.load({ ...standard, ...changes }),
    });

    await measure("one sender", 16, effort.rounds, peers, loaded({}));
    await measure("16 senders", 4, effort.rounds, peers, loaded({ senders: 16, window: 4 }));
    await measure("64 senders", 1, effort.fewerRounds, peers, loaded({ senders: 64, window: 1 }));

    const speeds = peers.map(({ name }) =>
      Math.min(
        ...runs.filter((run) => run.peer === name && run.measure === "one sender" && run.result)
          .map(({ result }) => result!.messages / result!.seconds),
      )
    );
    const rate = Math.max(1, Math.floor(Math.min(...speeds.filter(Number.isFinite)) / 2));
    await measure("latency", rate, effort.rounds, peers, loaded({ window: undefined, rate }));

    for (const clients of effort.idle) {
      await measure("idle", clients, effort.fewerRounds, peers, async (server) => {
        const before = server.memory();
        const load = { ...standard, clients, seconds: 0 };
        const [result, after] = await server.loadAndHold(load, async () => {
          await new Promise((resolve) => setTimeout(resolve, 500));
          return server.memory();
        });
        return { result, memory: [before, after] };
      });
    }
    const few = peers.filter(({ name }) => SCALED.test(name));
    for (const clients of effort.clients) {
      await measure("clients", clients, effort.fewerRounds, few, loaded({ clients }));
    }
    for (const size of effort.sizes) {
      await measure("size", size, effort.fewerRounds, few, loaded({ clients: 100, size }));
    }
    for (const stuck of [0, 1]) {
      await measure("stuck", stuck, effort.fewerRounds, peers, async (server) => {
        const load = { ...standard, clients: 100, size: 1024, stuck, seconds: 2 * seconds };
        const before = server.memory();
        const [result, after] = await server.loadAndHold(
          load,
          () => Promise.resolve(server.memory()),
        );
        return { result, memory: [before, after] };
      });
    }
    return {
      when: new Date().toISOString(),
      quick,
      seconds: (performance.now() - started) / 1000,
      version: VERSION,
      commit: await commit(),
      machine: await machine(),
      pinned: PINNED,
      latencyRate: rate,
      peers: peers.map(({ name, version }) => ({ name, version })),
      skipped,
      runs,
    };
  } finally {
    await Deno.remove(temporary, { recursive: true });
  }
}

async function commit(): Promise<string> {
  const git = async (...args: string[]) => {
    const { stdout } = await new Deno.Command("git", { args, cwd: DIRECTORY }).output();
    return new TextDecoder().decode(stdout).trim();
  };
  const dirty = await git("status", "--porcelain", "--", ":!bench/results*", ":!bench/RESULTS.md");
  return `${await git("rev-parse", "--short", "HEAD")}${dirty ? ", with uncommitted changes" : ""}`;
}

async function machine(): Promise<string> {
  const [, model] = /model name\s*: (.*)/.exec(await Deno.readTextFile("/proc/cpuinfo")) ?? [];
  const memory = Math.round(Deno.systemMemoryInfo().total / 2 ** 30);
  const cores = navigator.hardwareConcurrency;
  return `${
    model ?? "unknown processor"
  }, ${cores} cores, ${memory} GiB, Linux ${Deno.osRelease()}`;
}

const RESULTS = `${DIRECTORY}results.json`;
const unknown = Deno.args.filter((arg) => arg !== "--quick" && arg !== "--report");
if (unknown.length > 0 || Deno.args.length > 1) {
  console.error(`Want --quick, --report or nothing, got ${Deno.args.join(" ")}`);
  Deno.exit(2);
}
if (Deno.args[0] !== "--report") {
  const quick = Deno.args[0] === "--quick";
  const results = await bench(quick ? QUICK : FULL, quick);
  await Deno.writeTextFile(RESULTS, `${JSON.stringify(results, null, 1)}\n`);
}
await report(JSON.parse(await Deno.readTextFile(RESULTS)), DIRECTORY);
console.log(`Written: ${DIRECTORY}RESULTS.md`);
Deno.exit();
