/**
 * The figures of a report as text, with medians and ranges.
 *
 * @module
 */

import type { Result } from "./load.ts";
import type { Circumstances, Run } from "./results.ts";

/** Returns the median. */
export function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** Formats a number with three significant digits. */
export function short(value: number): string {
  if (!Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return value.toLocaleString("en", { maximumFractionDigits: digits, maximumSignificantDigits: 3 });
}

/** Formats a median with its range. */
export function spread(values: number[]): string {
  if (values.length === 0) return "–";
  const [low, high] = [Math.min(...values), Math.max(...values)];
  return values.length > 1
    ? `${short(median(values))} (${short(low)}–${short(high)})`
    : short(values[0]);
}

/** Returns the CPU time of the engine, which is the first of several processes; 0 for a single process. */
function engineSeconds({ serversCpuSeconds }: Result): number {
  return serversCpuSeconds?.length > 1 ? serversCpuSeconds[0] : 0;
}

/** The figures of a run. Some runs lack some figures. */
const FIGURES = {
  deliveries: ({ result }: Run) => result && result.deliveries / result.seconds,
  cpu: ({ result }: Run) =>
    result && result.deliveries > 0 ? result.serverCpuSeconds / result.deliveries * 1e6 : undefined,
  busy: ({ result }: Run) => result && result.serverCpuSeconds / result.seconds,
  load: ({ result }: Run) => result && result.loadCpuSeconds / result.seconds,
  p50: ({ result }: Run) => result?.latency?.p50,
  p99: ({ result }: Run) => result?.latency?.p99,
  p999: ({ result }: Run) => result?.latency?.p999,
  ownP50: ({ result }: Run) => result?.ownLatency?.p50,
  ownP99: ({ result }: Run) => result?.ownLatency?.p99,
  ownP999: ({ result }: Run) => result?.ownLatency?.p999,
  foreignP50: ({ result }: Run) => result?.foreignLatency?.p50,
  foreignP99: ({ result }: Run) => result?.foreignLatency?.p99,
  foreignP999: ({ result }: Run) => result?.foreignLatency?.p999,
  engine: ({ result }: Run) =>
    result && result.deliveries > 0 ? engineSeconds(result) / result.deliveries * 1e6 : undefined,
  relays: ({ result }: Run) =>
    result && result.deliveries > 0
      ? (result.serverCpuSeconds - engineSeconds(result)) / result.deliveries * 1e6
      : undefined,
  idle: ({ memory, x }: Run) => memory && (memory[1] - memory[0]) / x / 1024,
  idleLater: ({ memory, x }: Run) => memory?.[2] && (memory[2] - memory[0]) / x / 1024,
  grown: ({ memory }: Run) => memory && (memory[1] - memory[0]) / 2 ** 20,
  accepted: ({ result, x }: Run) => result && x / result.connectSeconds,
  joinP50: ({ result }: Run) => result?.joining?.p50,
  joinP99: ({ result }: Run) => result?.joining?.p99,
  start: ({ startSeconds }: Run) => startSeconds && startSeconds * 1000,
} satisfies Record<string, (run: Run) => number | undefined>;

/** The name of a figure. */
export type Figure = keyof typeof FIGURES;

/** The runs of a benchmark and their figures. */
export class Runs {
  /** Wraps the runs. */
  constructor(readonly all: readonly Run[]) {}

  /** Returns the values of a figure for one peer, one per round. */
  values(measure: string | null, peer: string, figure: Figure, x?: number): number[] {
    return this.all
      .filter((run) => measure === null || run.measure === measure)
      .filter((run) => run.peer === peer && (x === undefined || run.x === x))
      .map(FIGURES[figure])
      .filter((value) => value !== undefined);
  }

  /** Returns the ratios to a reference within each round. */
  ratios(measure: string, peer: string, reference: string, figure: Figure, x?: number): number[] {
    return this.#pairs(measure, peer, reference, figure, x).map(([value, other]) => value / other);
  }

  /** Returns the differences from a reference within each round. */
  differences(measure: string, peer: string, reference: string, figure: Figure): number[] {
    return this.#pairs(measure, peer, reference, figure).map(([value, other]) => value - other);
  }

  #pairs(
    measure: string,
    peer: string,
    reference: string,
    figure: Figure,
    x?: number,
  ): [number, number][] {
    const runs = this.all.filter((run) =>
      run.measure === measure && (x === undefined || run.x === x)
    );
    const of = (name: string, round: number) => {
      const run = runs.find((run) => run.peer === name && run.round === round);
      return (run && FIGURES[figure](run)) ?? NaN;
    };
    return [...new Set(runs.map(({ round }) => round))]
      .map((round): [number, number] => [of(peer, round), of(reference, round)])
      .filter((pair) => pair.every(Number.isFinite));
  }

  /** Returns the values that were varied in a measurement. */
  xs(measure: string): number[] {
    return [...new Set(this.all.filter((run) => run.measure === measure).map(({ x }) => x))];
  }

  /** Returns the names of the peers in a measurement. */
  peers(measure: string): string[] {
    return [...new Set(this.all.filter((run) => run.measure === measure).map(({ peer }) => peer))];
  }
}

/** Formats a table whose first column is text and whose other columns are numbers. */
export function table(head: string[], rows: string[][]): string {
  const line = (cells: string[]) => `| ${cells.join(" | ")} |`;
  return [line(head), line(head.map((_, i) => i === 0 ? "---" : "---:")), ...rows.map(line)].join(
    "\n",
  );
}

/** Describes time, machine and programs of a benchmark, as a list. */
export function circumstances(results: Circumstances): string {
  const { when, seconds, version, commit, machine, pinned, peers, skipped } = results;
  return `- ${when}, ${short(seconds / 60)} minutes; relay ${version}, commit
  ${commit}
- ${machine}; server and load generator ${
    pinned ? "each on cores of their own" : "NOT pinned to different cores"
  }
- ${peers.map(({ name, version }) => `${name}: ${version}`).join("; ")}
${skipped.map(({ name, why }) => `- **Skipped: ${name}**: ${why}`).join("\n")}`;
}

/** Lists the failed runs of a benchmark. */
export function failures({ runs }: Circumstances): string {
  const failed = runs.filter(({ failure }) => failure);
  if (failed.length === 0) return "No run failed.";
  const lines = failed.map(({ measure, x, round, peer, failure }) =>
    `- ${measure} ${x}, round ${round + 1}: ${peer}: ${failure}`
  );
  return `**Failed runs**\n\n${lines.join("\n")}`;
}
