/**
 * What the benchmark measured: `bench/results.json`, and for relays that act as one `bench/cluster.json`.
 *
 * @module
 */

import type { Result } from "./load.ts";

/** One run of one peer. */
export interface Run {
  /** What was measured, for example `one sender`. */
  readonly measure: string;
  /** The value that was varied: clients, bytes, messages per second, messages in flight. */
  readonly x: number;
  /** In which round, from 0. */
  readonly round: number;
  /** The peer's name. */
  readonly peer: string;
  /** From the start of the process to the first answer to a handshake. */
  readonly startSeconds?: number;
  /** What the load generator saw. */
  readonly result?: Result;
  /** Resident memory before and after, in bytes, and of idle connections some seconds later. */
  readonly memory?: readonly [before: number, after: number, later?: number];
  /** Why there is no result. */
  readonly failure?: string;
}

/** A benchmark: its time, machine, programs and results. */
export interface Circumstances {
  readonly when: string;
  readonly quick: boolean;
  /** How long it took. */
  readonly seconds: number;
  /** The relay's version and commit. */
  readonly version: string;
  readonly commit: string;
  readonly machine: string;
  /** Whether server and load had cores of their own. */
  readonly pinned: boolean;
  readonly peers: readonly { name: string; version: string }[];
  readonly skipped: readonly { name: string; why: string }[];
  readonly runs: readonly Run[];
}

/** The benchmark of one server. */
export interface Results extends Circumstances {
  /** Messages per second at which latency was measured. */
  readonly latencyRate: number;
}
