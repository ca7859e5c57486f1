/**
 * The contents of `bench/results.json` and, for relays that act as one, `bench/cluster.json`.
 *
 * @module
 */

import type { Result } from "./load.ts";

/** One run of one peer. */
export interface Run {
  /** The name of the measurement, for example `one sender`. */
  readonly measure: string;
  /** The value that was varied: clients, bytes, messages per second or messages in flight. */
  readonly x: number;
  /** The number of the round, from 0. */
  readonly round: number;
  /** The peer's name. */
  readonly peer: string;
  /** The time from the start of the process to the first response to a handshake. */
  readonly startSeconds?: number;
  /** The result of the load generator. */
  readonly result?: Result;
  /** Resident memory in bytes before and after, and for idle connections some seconds later. */
  readonly memory?: readonly [before: number, after: number, later?: number];
  /** The reason why there is no result. */
  readonly failure?: string;
}

/** A benchmark: its time, machine, programs and results. */
export interface Circumstances {
  readonly when: string;
  readonly quick: boolean;
  /** Its duration. */
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

/** The benchmark of single servers. */
export interface Results extends Circumstances {
  /** The rate at which latency was measured, in messages per second. */
  readonly latencyRate: number;
}
