import { assert, assertEquals } from "@std/assert";
import { ROOT, run } from "../testing/program.ts";
import { startRelay } from "../testing/start.ts";
import { tempFolder } from "../testing/temp.ts";
import type { Job, Result } from "./load.ts";
import { report } from "./report.ts";

const DIRECTORY = `${ROOT}bench/`;

for (const pace of [{ window: 4 }, { rate: 100 }]) {
  Deno.test(`load generator receives every message once per client, with ${Object.keys(pace)}`, async () => {
    await using relay = await startRelay();
    const clients = 10;
    const job: Job = {
      ...{ urls: [relay.url], clients, senders: 2, size: 64, warmup: 0.1, seconds: 0.5 },
      ...{ serverPids: [Deno.pid], ...pace },
    };
    const command = [Deno.execPath(), "run", "-A", `${DIRECTORY}load.ts`, JSON.stringify(job)];
    const { code, stdout, stderr } = await run({ command });
    assertEquals(code, 0, stderr);
    const { messages, deliveries, lost, latency, serverCpuSeconds }: Result = JSON.parse(stdout);
    const underWay = 2 * 4 * clients; // At the beginning and at the end of the measurement.
    assert(messages > 10, stdout);
    assert(Math.abs(deliveries - messages * clients) <= 2 * underWay, stdout);
    assertEquals(lost, 0);
    assert(latency !== null && latency.p50 <= latency.p99 && latency.p99 <= latency.p999, stdout);
    assert(serverCpuSeconds >= 0);
  });
}

Deno.test("RESULTS.md and its plots show the figures in results.json and cluster.json", async () => {
  await using folder = await tempFolder();
  const directory = `${folder.path}/`;
  await report(DIRECTORY, directory);
  const files = [...Deno.readDirSync(directory)].map(({ name }) => name);
  assert(files.includes("RESULTS.md") && files.some((name) => name.endsWith(".svg")));
  for (const file of files) {
    const [made, kept] = await Promise.all(
      [directory, DIRECTORY].map((place) => Deno.readTextFile(place + file)),
    );
    assertEquals(made, kept, `${file} is out of date: deno task bench --report`);
  }
});
