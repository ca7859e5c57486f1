import { assertEquals, assertNotEquals } from "@std/assert";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { has } from "../testing/daemon.ts";
import { NatsServer } from "../testing/nats.ts";
import { startRelay } from "../testing/start.ts";
import { Crowd } from "../testing/talk.ts";
import { bounded, sleep, until } from "../testing/wait.ts";

const here = await has("nats-server", "nats-server");

/** Finds the index of the server that leads the stream; -1 if there is none. */
async function leaderOf(servers: readonly NatsServer[]): Promise<number> {
  const connection = await connect({ servers: servers.map(({ url }) => url) });
  try {
    const manager = await jetstreamManager(connection, { checkAPI: false, timeout: 1000 });
    const { cluster } = await manager.streams.info("relay");
    return Number(cluster?.leader?.slice(1) ?? -1);
  } catch {
    return -1; // There is no leader at the moment.
  } finally {
    await connection.close();
  }
}

/** Waits until all replicas of the stream have caught up with its leader. */
async function healed(servers: readonly NatsServer[]): Promise<void> {
  await until(
    async () => {
      const connection = await connect({ servers: servers.map(({ url }) => url) });
      try {
        const manager = await jetstreamManager(connection, { checkAPI: false, timeout: 1000 });
        const { cluster } = await manager.streams.info("relay");
        return cluster?.replicas?.filter(({ current }) => current).length === 2;
      } catch {
        return false;
      } finally {
        await connection.close();
      }
    },
    "all replicas to be current",
    30,
  );
}

/** Lets a crowd talk while something happens, and checks that no client is affected. */
async function survives(
  happen: (servers: NatsServer[], crowd: Crowd) => Promise<void>,
): Promise<void> {
  const servers = await NatsServer.startCluster(3);
  await using stack = new AsyncDisposableStack();
  for (const server of servers) stack.use(server);
  const cluster = {
    servers: servers.map(({ url }) => url),
    replicas: 3,
    patience_seconds: 20, // An election can take long on a busy machine.
  };
  const relays = await Promise.all(
    (["native", "ws", "ws"] as const).map((transport) =>
      startRelay({ server: { transport }, cluster })
    ),
  );
  for (const relay of relays) stack.use(relay);
  await using crowd = await Crowd.join(relays, 10);
  crowd.talk();
  await sleep(0.5);
  await happen(servers, crowd);
  await sleep(0.5);
  await crowd.settle();
  assertEquals(crowd.present.length, 30);
  crowd.assertOneOrder();
}

/** Waits until every client has received something new. */
async function goesOn(crowd: Crowd): Promise<void> {
  const before = crowd.all.map(({ heard }) => heard.length);
  await until(
    () => crowd.all.every(({ heard }, i) => heard.length > before[i] + 10),
    "all to be served on",
    30,
  );
}

Deno.test({
  name: "relays whose stream is on three servers lose nothing when its leader is killed",
  ignore: !here,
  fn: () =>
    survives(async (servers, crowd) => {
      let leader = -1;
      await until(async () => (leader = await leaderOf(servers)) >= 0, "a leader");
      await servers[leader].kill();
      await goesOn(crowd);
      const others = servers.filter((_, i) => i !== leader);
      assertNotEquals(await leaderOf(others), leader);
      await servers[leader].restart();
    }),
});

Deno.test({
  name:
    "relays whose stream is on three servers lose nothing when the servers are restarted in turn",
  ignore: !here,
  fn: () =>
    survives(async (servers, crowd) => {
      for (const server of servers) {
        await server.stop();
        await goesOn(crowd);
        await server.restart();
        await bounded(healed(servers), "the servers to be whole again", 40);
      }
    }),
});
