import { Program } from "../testing/program.ts";
import { handshake, RawClient } from "../testing/raw_client.ts";
import { until } from "../testing/wait.ts";

for (const transport of ["native", "ws"] as const) {
  Deno.test(`relay on ${transport} lets nobody take a seat with a handshake that fails`, async () => {
    // A process of its own, since on `native` the platform never lets go of a client that vanishes.
    const env = { RELAY_SERVER_TRANSPORT: transport, RELAY_LIMITS_MAX_CONNECTIONS: "3" };
    await using program = await Program.start({ env });
    for (let i = 0; i < 5; i++) {
      using client = await RawClient.open(program);
      client.send(handshake());
      client.reset(); // Before the relay has answered.
      await client.ended;
    }
    const clients: RawClient[] = [];
    await until(async () => {
      clients.push(await RawClient.join(program));
      return clients.filter(({ head }) => head.includes(" 101 ")).length === 3;
    }, "three free seats");
    for (const client of clients) client.reset();
  });
}
