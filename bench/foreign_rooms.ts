/**
 * Measures the cost of a cluster's batch for a relay without members in the batch's room, and for one with
 * two members there, on each transport:
 *
 *     deno run -A bench/foreign_rooms.ts [ROUNDS [TRANSPORT...]]
 *
 * The batches are published directly into the stream, like those of another relay, at a fixed rate. It prints
 * the medians of the relay's CPU time per batch, without the CPU time of an idle relay.
 *
 * @module
 */

import { connect } from "@nats-io/transport-node";
import { randomOrigin, write } from "../cluster/wire.ts";
import { batchOf } from "../testing/batches.ts";
import { roomOf } from "../testing/client.ts";
import { NatsServer } from "../testing/nats.ts";
import { Program } from "../testing/program.ts";
import { RawClient } from "../testing/raw_client.ts";
import { scrape } from "../testing/scrape.ts";
import { sleep, until } from "../testing/wait.ts";

const [rounds = "5", ...transports] = Deno.args;

const BATCHES_A_SECOND = 1000, SECONDS = 4, BURST_MILLISECONDS = 5;

const ROOMS = { "nobody there": "/elsewhere", "two there": "/here" };

for (const transport of transports.length > 0 ? transports : ["ws", "native"]) {
  await using nats = await NatsServer.start();
  await using relay = await Program.start({
    env: {
      RELAY_SERVER_TRANSPORT: transport,
      RELAY_RELAY_ROOMS: "true",
      RELAY_CLUSTER_SERVERS: nats.url,
      RELAY_SERVER_IDLE_TIMEOUT_SECONDS: "300", // The members do not answer pings.
    },
  });
  const members = await Promise.all([1, 2].map(() => RawClient.join(roomOf(relay, "/here"))));
  for (const member of members) member.ignore();
  const connection = await connect({ port: nats.port });
  const origin = randomOrigin();
  let number = 0;

  /** Publishes batches, or none, and returns the CPU seconds of the relay. */
  const measure = async (room: string, messages: number): Promise<number> => {
    const batch = batchOf(Array(messages).fill("x".repeat(128)), room);
    const metric = async (name: string) => (await scrape(relay)).get(name)!;
    const came = 'relay_cluster_batches_total{direction="in"}';
    const cpu = await metric("process_cpu_seconds_total"), before = await metric(came);
    const each = BATCHES_A_SECOND * BURST_MILLISECONDS / 1000;
    const started = performance.now();
    let count = 0;
    for (let i = 0; i < SECONDS * 1000 / BURST_MILLISECONDS; i++) {
      for (let j = 0; j < each && messages > 0; j++, count++) {
        connection.publish("relay", write({ origin, number: ++number, batch }));
      }
      await sleep(Math.max(0, started + (i + 1) * BURST_MILLISECONDS - performance.now()) / 1000);
    }
    await until(async () => await metric(came) === before + count, "all batches to come");
    if (await metric("websocket_connected_clients") !== 2) throw new Error("a member was lost");
    return await metric("process_cpu_seconds_total") - cpu;
  };

  for (const messages of [1, 16]) {
    const seen: number[][] = [[], []];
    for (let round = 0; round < Number(rounds); round++) {
      const idle = await measure("/", 0);
      for (const [i, room] of Object.values(ROOMS).entries()) {
        const more = await measure(room, messages) - idle;
        seen[i].push(more / (BATCHES_A_SECOND * SECONDS) * 1e6);
      }
    }
    Object.keys(ROOMS).forEach((name, i) => {
      const [least, median, most] = [0, seen[i].length >> 1, seen[i].length - 1]
        .map((at) => seen[i].toSorted((a, b) => a - b)[at].toFixed(1));
      console.log(
        `${transport}, ${messages} messages a batch, ${name}: ${median} µs (${least} to ${most})`,
      );
    });
  }
  for (const member of members) member.reset();
  await connection.close();
}
