/**
 * Rounds of measurements. Every round measures all peers in turn, so that other load on the machine affects
 * all of them.
 *
 * @module
 */

import type { CertificateFiles } from "../testing/certificate.ts";
import { VERSION } from "../lib/version.ts";
import { descriptorLimit } from "../lib/descriptors.ts";
import type { Peer, Skipped } from "./peers.ts";
import type { Circumstances, Run } from "./results.ts";
import { PINNED, Server } from "./server.ts";

/** The file descriptors that a server needs besides those of its clients. The relay on `ws` needs most. */
const SPARE_DESCRIPTORS = 400;

/** The files that a benchmark writes, by the ends of their names. */
const OUTPUT = ["json", "md", "svg"];

const DIRECTORY = new URL(".", import.meta.url).pathname;

/** The measurements so far, and those that failed. */
export class Rounds {
  /** The runs, in the order in which they were made. */
  readonly runs: Run[] = [];
  /** The peers and measurements that were skipped. */
  readonly skipped: Skipped[] = [];
  readonly #rounds: number;
  readonly #started = performance.now();

  /** Starts a benchmark that measures everything a number of times. */
  constructor(rounds: number) {
    this.#rounds = rounds;
  }

  /** Records that a peer or measurement is skipped. */
  skip({ name, why }: Skipped): void {
    this.skipped.push({ name, why });
    this.#say(`SKIPPED: ${name}: ${why}`);
  }

  /** Skips numbers of clients for which a process may not open enough files, and returns the others. */
  possible(counts: readonly number[]): number[] {
    const limit = descriptorLimit() ?? Infinity;
    return counts.filter((clients) => {
      const enough = clients + SPARE_DESCRIPTORS <= limit;
      const name = `${clients} clients`;
      if (!enough) this.skip({ name, why: `a process may open only ${limit} files here` });
      return enough;
    });
  }

  /** Does one measurement for several peers, in rounds. */
  async measure(
    name: string,
    x: number,
    peers: readonly Peer[],
    look: (server: Server) => Promise<Partial<Run>>,
    certificate?: CertificateFiles,
  ): Promise<void> {
    for (let round = 0; round < this.#rounds; round++) {
      for (const peer of peers) {
        try {
          await using server = await Server.start(peer, certificate);
          const seen = await look(server);
          const { startSeconds } = server;
          this.runs.push({ measure: name, x, round, peer: peer.name, startSeconds, ...seen });
        } catch (error) {
          const failure = (error as Error).message;
          this.runs.push({ measure: name, x, round, peer: peer.name, failure });
          this.#say(`FAILED: ${peer.name}: ${failure}`);
        }
      }
      this.#say(`${name} ${x}, round ${round + 1} of ${this.#rounds}`);
    }
  }

  /** Returns the time, machine and programs of the measurements. */
  async circumstances(peers: readonly Peer[], quick: boolean): Promise<Circumstances> {
    return {
      when: new Date().toISOString(),
      quick,
      seconds: this.#seconds,
      version: VERSION,
      commit: await commit(),
      machine: await machine(),
      pinned: PINNED,
      peers: peers.map(({ name, version }) => ({ name, version })),
      skipped: this.skipped,
      runs: this.runs,
    };
  }

  get #seconds(): number {
    return (performance.now() - this.#started) / 1000;
  }

  #say(text: string): void {
    console.log(`${this.#seconds.toFixed(0).padStart(4)} s  ${text}`);
  }
}

async function commit(): Promise<string> {
  const git = async (...args: string[]) => {
    const { stdout } = await new Deno.Command("git", { args, cwd: DIRECTORY }).output();
    return new TextDecoder().decode(stdout).trim();
  };
  const dirty = await git(
    "status",
    "--porcelain",
    "--",
    ...OUTPUT.map((name) => `:!bench/*.${name}`),
  );
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
