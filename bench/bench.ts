/**
 * The benchmark: `deno task bench`, `deno task bench --quick`, or `--report` to write the report again
 * from `bench/results.json`.
 *
 * Every round measures all peers in turn, so that whatever else the machine does meets all of them;
 * what is reported are medians over the rounds, and ratios within a round.
 *
 * @module
 */

import { descriptorLimit } from "../lib/descriptors.ts";
import { type CertificateFiles, makeCertificate } from "../testing/certificate.ts";
import { sleep } from "../testing/wait.ts";
import { VERSION } from "../lib/version.ts";
import { findPeers, type Peer, type Skipped } from "./peers.ts";
import { report } from "./report.ts";
import type { Results, Run } from "./results.ts";
import { type Load, PINNED, Server } from "./server.ts";

/** How thorough a benchmark is; times in seconds. */
interface Effort {
  readonly rounds: number;
  readonly warmup: number;
  readonly seconds: number;
  readonly clients: number[];
  readonly sizes: number[];
  readonly idle: number[];
}

const FULL: Effort = {
  rounds: 5,
  warmup: 0.5,
  seconds: 1.5,
  clients: [10, 100, 1000, 5000],
  sizes: [16, 1024, 8192, 65_536],
  idle: [1000, 10_000],
};
const QUICK: Effort = {
  rounds: 1,
  warmup: 0.3,
  seconds: 0.6,
  clients: [10, 1000],
  sizes: [16, 8192],
  idle: [1000],
};

/** What a server needs of its file descriptors besides those of its clients; the relay on `ws` most. */
const SPARE_DESCRIPTORS = 400;

/** Peers for which the dependence on clients and sizes is measured: the others only lengthen it. */
const SCALED = /^(relay|Bun|Go|Deno)/;

const DIRECTORY = new URL(".", import.meta.url).pathname;

async function bench(effort: Effort, quick: boolean): Promise<Results> {
  const temporary = await Deno.makeTempDir();
  const started = performance.now();
  const runs: Run[] = [];
  const skipped: Skipped[] = [];
  const say = (text: string) => {
    const seconds = ((performance.now() - started) / 1000).toFixed(0).padStart(4);
    console.log(`${seconds} s  ${text}`);
  };
  try {
    const { peers, skipped: missing } = await findPeers(temporary);
    const skip = (name: string, why: string) => {
      skipped.push({ name, why });
      say(`SKIPPED: ${name}: ${why}`);
    };
    for (const { name, why } of missing) skip(name, why);
    const certificate = await makeCertificate(temporary, "bench").catch(() => undefined);
    if (!certificate) skip("TLS", "openssl, which makes the certificate, is not installed");

    /** Measures one thing for each of some peers, in rounds. */
    const measure = async (
      name: string,
      x: number,
      which: readonly Peer[],
      look: (server: Server) => Promise<Partial<Run>>,
      certificate?: CertificateFiles,
    ) => {
      for (let round = 0; round < effort.rounds; round++) {
        for (const peer of which) {
          try {
            await using server = await Server.start(peer, certificate);
            const seen = await look(server);
            const { startSeconds } = server;
            runs.push({ measure: name, x, round, peer: peer.name, startSeconds, ...seen });
          } catch (error) {
            const failure = (error as Error).message;
            runs.push({ measure: name, x, round, peer: peer.name, failure });
            say(`FAILED: ${peer.name}: ${failure}`);
          }
        }
        say(`${name} ${x}, round ${round + 1} of ${effort.rounds}`);
      }
    };
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
        ...runs.filter((run) => run.peer === name && run.measure === "one sender" && run.result)
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

    const limit = descriptorLimit() ?? Infinity;
    const possible = (counts: number[]) =>
      counts.filter((clients) => {
        const enough = clients + SPARE_DESCRIPTORS <= limit;
        if (!enough) skip(`${clients} clients`, `a process may open only ${limit} files here`);
        return enough;
      });
    for (const clients of possible(effort.idle)) {
      await measure("idle", clients, peers, async (server) => {
        const before = server.memory();
        const load = { ...standard, clients, seconds: 0 };
        const [result, after] = await server.loadAndHold(load, async () => {
          await sleep(0.5);
          return server.memory();
        });
        return { result, memory: [before, after] };
      });
    }
    const few = peers.filter(({ name }) => SCALED.test(name));
    for (const clients of possible(effort.clients)) {
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
