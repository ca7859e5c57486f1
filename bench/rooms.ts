/**
 * Compares many rooms of two clients with one room of the same number of clients, on each transport:
 *
 *     deno run -A bench/rooms.ts [ROUNDS [ROOMS]]
 *
 * Each room has one sender. All senders together cause the same number of deliveries per second as in the
 * one room. It prints the medians, and the range of the ratios.
 *
 * @module
 */

import { installPackages, type Peer, relay } from "./peers.ts";
import { type Load, Server } from "./server.ts";

const [rounds = "5", count = "9000"] = Deno.args;
const rooms = Number(count), clients = 2 * rooms;

/** The total number of deliveries per second. */
const DELIVERIES = 20_000;

const STANDARD = { clients, size: 128, warmup: 1, seconds: 3 };
const LOADS: Readonly<Record<"one" | "many", Load>> = {
  one: { ...STANDARD, senders: 1, rate: DELIVERIES / clients },
  many: { ...STANDARD, senders: rooms, rooms, rate: DELIVERIES / 2 },
};

await installPackages();
for (const transport of ["ws", "native"] as const) {
  const peer = withRooms(relay(transport));
  const seen = { one: [] as Figures[], many: [] as Figures[] };
  for (let round = 0; round < Number(rounds); round++) {
    for (const what of ["one", "many"] as const) seen[what].push(await measure(peer, LOADS[what]));
  }
  for (const what of ["one", "many"] as const) {
    const name = what === "one" ? `one room of ${clients}` : `${rooms} rooms of two`;
    const each = Object.keys(seen[what][0]).map((key) =>
      `${key} ${median(seen[what].map((figures) => figures[key as keyof Figures])).toPrecision(3)}`
    );
    console.log(`${transport}, ${name}: ${each.join(", ")}`);
  }
}
Deno.exit();

interface Figures {
  "KiB a client": number;
  "seconds to join": number;
  "CPU per delivery, µs": number;
  "p50, ms": number;
}

async function measure(peer: Peer, load: Load): Promise<Figures> {
  await using server = await Server.start(peer);
  const empty = server.memory();
  const [result, memory] = await server.loadAndHold(load, () => Promise.resolve(server.memory()));
  if (result.lost > 0) throw new Error(`${result.lost} clients were lost`);
  return {
    "KiB a client": (memory - empty) / 1024 / clients,
    "seconds to join": result.connectSeconds,
    "CPU per delivery, µs": result.serverCpuSeconds / result.deliveries * 1e6,
    "p50, ms": result.latency!.p50,
  };
}

function withRooms(peer: Peer): Peer {
  return {
    ...peer,
    command: (place) => {
      const [env, ...rest] = peer.command(place);
      return [env, "RELAY_RELAY_ROOMS=true", ...rest];
    },
  };
}

function median(values: number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1];
}
