/**
 * A siege applies the same load to a relay twice in one run, without and with attackers.
 *
 * The load runs in a process of its own (`bench/load.ts`), the attackers in this one.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import type { Job, Result } from "../bench/load.ts";
import { roomOf } from "./client.ts";
import { Program, ROOT } from "./program.ts";
import { frame, OPCODE, RawClient } from "./raw_client.ts";
import { scrape } from "./scrape.ts";
import { bounded } from "./wait.ts";

/** Clients besides the load, such as attackers, that act until they are disposed of. */
export type Company = (relay: { url: string }) => Promise<AsyncDisposable>;

/** The options of {@link besiege}. */
export interface Siege {
  /** Whether all other clients are in another room than the load. Default: false. */
  readonly apart?: boolean;
  /** The load of the healthy clients. */
  readonly load: Partial<Job>;
  /** Clients that are connected both times. Default: none. */
  readonly beside?: Company;
  /** The attackers. */
  readonly attack: Company;
}

/** The result of {@link besiege}. */
export interface SiegeReport {
  /** The load's result without attackers. */
  readonly calm: Result;
  /** The load's result with attackers. */
  readonly attacked: Result;
  /** Deliveries per second with attackers, as a share of those without them. */
  readonly throughput: number;
  /** The 99th percentile of the latency with attackers, as a multiple of that without them. */
  readonly p99: number;
  /** The relay's metrics at the end, without attackers and with them. */
  readonly metrics: readonly [Map<string, number>, Map<string, number>];
}

const LOAD: Omit<Job, "urls" | "serverPids"> = {
  clients: 10,
  senders: 2,
  rate: 200,
  size: 128,
  warmup: 1,
  seconds: 4,
};

/** Runs one load without and with attackers, each against a new relay. */
export async function besiege(transport: string, siege: Siege): Promise<SiegeReport> {
  const [calm, before] = await measure(transport, siege, []);
  const [attacked, after] = await measure(transport, siege, [siege.attack]);
  return {
    calm,
    attacked,
    throughput: attacked.deliveries / attacked.seconds / (calm.deliveries / calm.seconds),
    p99: attacked.latency!.p99 / calm.latency!.p99,
    metrics: [before, after],
  };
}

async function measure(
  transport: string,
  { load, beside, apart = false }: Siege,
  attackers: Company[],
): Promise<[Result, Map<string, number>]> {
  const env = { RELAY_SERVER_TRANSPORT: transport, RELAY_RELAY_ROOMS: `${apart}` };
  await using relay = await Program.start({ env });
  const job: Job = { ...LOAD, ...load, urls: [relay.url], serverPids: [relay.pid] };
  const companies = [...beside ? [beside] : [], ...attackers];
  const elsewhere = apart ? roomOf(relay, "/elsewhere") : relay;
  const stops = await Promise.all(companies.map((company) => company(elsewhere)));
  try {
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--cached-only", `${ROOT}bench/load.ts`, JSON.stringify(job)],
      stdout: "piped",
    }).spawn();
    const { stdout } = await bounded(child.output(), "the load", 60);
    const result = JSON.parse(new TextDecoder().decode(stdout));
    return [result, await scrape(relay)];
  } finally {
    for (const stop of stops) await stop[Symbol.asyncDispose]();
  }
}

/** Combines several companies. */
export function together(...companies: Company[]): Company {
  return async (relay) => {
    const stack = new AsyncDisposableStack();
    for (const each of companies) stack.use(await each(relay));
    return stack;
  };
}

/** Makes clients that act regularly, for example once per second, until the siege is over. */
export function company(
  join: (relay: { url: string }) => Promise<RawClient[]>,
  act: (client: RawClient) => unknown = () => {},
  everyMilliseconds = 1000,
): Company {
  return async (relay) => {
    const clients = await join(relay);
    const timer = setInterval(() => clients.forEach(act), everyMilliseconds);
    return {
      [Symbol.asyncDispose]: () => {
        clearInterval(timer);
        for (const client of clients) client.reset();
        return Promise.resolve();
      },
    };
  };
}

/** Makes clients that all act once, a while after they have joined. */
export function once(
  join: (relay: { url: string }) => Promise<RawClient[]>,
  act: (client: RawClient) => unknown,
): Company {
  return async (relay) => {
    const clients = await join(relay);
    const timer = setTimeout(() => clients.forEach(act), 2000);
    return {
      [Symbol.asyncDispose]: () => {
        clearTimeout(timer);
        for (const client of clients) client.reset();
        return Promise.resolve();
      },
    };
  };
}

/** Makes clients that never read, one every 200 ms up to a number, and replaces each evicted one. */
export function newcomers(most: number): Company {
  return (relay) => {
    const all: RawClient[] = [];
    let present = 0;
    const timer = setInterval(async () => {
      if (present >= most) return;
      present++;
      const client = await RawClient.join(relay);
      client.ignore();
      client.pause();
      all.push(client);
      client.ended.then(() => present--);
    }, 200);
    return Promise.resolve({
      [Symbol.asyncDispose]: () => {
        clearInterval(timer);
        for (const client of all) client.reset();
        return Promise.resolve();
      },
    });
  };
}

/** Joins clients that read and ignore everything. */
export function readers(count: number): (relay: { url: string }) => Promise<RawClient[]> {
  return (relay) =>
    Promise.all(Array.from({ length: count }, async () => {
      const client = await RawClient.join(relay);
      client.ignore();
      return client;
    }));
}

/** Joins clients that have stopped reading. */
export function stuck(count: number): (relay: { url: string }) => Promise<RawClient[]> {
  return async (relay) => {
    const clients = await readers(count)(relay);
    for (const client of clients) client.pause();
    return clients;
  };
}

/** Builds many messages as one write. */
export function burst(count: number, bytes: number): Buffer {
  return Buffer.concat(Array(count).fill(frame(OPCODE.text, "x".repeat(bytes))));
}
