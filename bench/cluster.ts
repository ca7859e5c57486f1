/**
 * The benchmark of relays that act as one, compared with a single relay and with alternatives. All servers
 * and their engine share the first core, so that their total costs can be compared.
 *
 * @module
 */

import { tempFolder } from "../testing/temp.ts";
import { findClusterPeers } from "./peers.ts";
import type { Circumstances } from "./results.ts";
import { Rounds } from "./rounds.ts";
import type { Load, Server } from "./server.ts";

/** The number of clients of most measurements. */
const CLIENTS = 1000;

/** The number of senders whose latency is measured. They are spread evenly over the relays. */
const TIMED_SENDERS = 10;

/** Measures everything. */
export async function benchCluster(quick: boolean): Promise<Circumstances> {
  const rounds = new Rounds(quick ? 1 : 5);
  await using folder = await tempFolder();
  const { peers, skipped } = await findClusterPeers(folder.path);
  for (const each of skipped) rounds.skip(each);
  const pairs = peers.filter(({ processes = 1 }) => processes <= 2);
  const relays = pairs.filter(({ protocol }) => protocol === undefined);
  const standard: Load = {
    ...{ clients: CLIENTS, senders: 1, size: 128 },
    ...quick ? { warmup: 0.5, seconds: 0.8 } : { warmup: 1.5, seconds: 2 },
  };
  const loaded = (changes: Partial<Load>) => async (server: Server) => ({
    result: await server.load({ ...standard, ...changes }),
  });
  const timed = (clients: number, rate: number) =>
    loaded({ clients, rate, senders: TIMED_SENDERS });

  for (const clients of rounds.possible(quick ? [100, CLIENTS] : [100, CLIENTS, 5000])) {
    await rounds.measure("one sender", clients, pairs, loaded({ clients, window: 16 }));
  }
  await rounds.measure("16 senders", CLIENTS, pairs, loaded({ senders: 16, window: 4 }));
  await rounds.measure("latency, 1,000 clients", 1000, relays, timed(CLIENTS, 1000));
  await rounds.measure("latency, 100 clients", 1000, relays, timed(100, 1000));
  await rounds.measure("latency of all", 100, pairs, timed(100, 100));
  for (const clients of rounds.possible(quick ? [500] : [2000, 10_000])) {
    const rush = loaded({ clients, together: clients, seconds: 0 });
    await rounds.measure("herd", clients, peers, rush);
  }
  return await rounds.circumstances(peers, quick);
}
