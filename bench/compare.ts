/**
 * Compares the relay of this tree with that of another one, for example of the previous commit:
 *
 *     git worktree add /tmp/before HEAD~1
 *     deno run -A bench/compare.ts /tmp/before [ROUNDS [NAME]]
 *
 * Each round measures both relays in turn, under each load and on each transport, and also two relays with
 * NATS. It prints the ratios of this tree to the other one for server CPU per delivery, deliveries per second
 * and latency, each as a median with its range.
 *
 * @module
 */

import type { Result } from "./load.ts";
import { cluster, installPackages, type Peer, relay } from "./peers.ts";
import { type Load, Server } from "./server.ts";

const STANDARD: Load = { clients: 500, senders: 1, size: 128, warmup: 0.5, seconds: 1.5 };

const LOADS: Readonly<Record<string, Load>> = {
  "1 sender, 1 in flight": { ...STANDARD, window: 1 },
  "1 sender, 16 in flight": { ...STANDARD, window: 16 },
  "16 senders, 4 in flight": { ...STANDARD, senders: 16, window: 4 },
  "1,000 messages per second": { ...STANDARD, senders: 10, rate: 1000 },
  "1 sender, 16 in flight, one stuck": { ...STANDARD, window: 16, size: 1024, stuck: 1 },
};

const PEERS: Readonly<Record<string, (root?: string) => Peer>> = {
  ws: (root) => relay("ws", root),
  native: (root) => relay("native", root),
  cluster: (root) => cluster(2, "", root),
};

const [before, rounds = "5", name = ""] = Deno.args;
if (before === undefined) {
  console.error("Want the folder of the other tree, and perhaps the number of rounds and a name");
  Deno.exit(2);
}
await installPackages();
for (const [what, peerOf] of Object.entries(PEERS)) {
  const peers = [peerOf(), peerOf(`${await Deno.realPath(before)}/`)];
  for (const [load, job] of Object.entries(LOADS)) {
    if (!`${what} ${load}`.includes(name)) continue;
    const cpu: number[] = [], speed: number[] = [], latency: number[] = [];
    for (let round = 0; round < Number(rounds); round++) {
      const results: Result[] = [];
      for (const peer of round % 2 === 0 ? peers : peers.toReversed()) {
        await using server = await Server.start(peer);
        results.push(await server.load(job));
      }
      const [own, other] = round % 2 === 0 ? results : results.toReversed();
      const cost = (result: Result) => result.serverCpuSeconds / result.deliveries;
      const rate = (result: Result) => result.deliveries / result.seconds;
      cpu.push(cost(own) / cost(other));
      speed.push(rate(own) / rate(other));
      latency.push(own.latency!.p50 / other.latency!.p50);
    }
    const ratios = `CPU per delivery ${spread(cpu)}, speed ${spread(speed)}, p50 ${
      spread(latency)
    }`;
    console.log(`${what}, ${load}: ${ratios}`);
  }
}
Deno.exit();

function spread(ratios: number[]): string {
  const sorted = ratios.toSorted((a, b) => a - b).map((ratio) => ratio.toFixed(3));
  return `${sorted[sorted.length >> 1]} (${sorted[0]} to ${sorted.at(-1)})`;
}
