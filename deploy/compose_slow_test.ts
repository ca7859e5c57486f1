import { assert, assertEquals } from "@std/assert";
import { parse } from "@std/yaml";
import { DEFAULT_CONFIG, loadConfig } from "../config.ts";
import { connect } from "../testing/client.ts";
import { Daemon, freePort, has } from "../testing/daemon.ts";
import { Program, ROOT } from "../testing/program.ts";
import { scrape } from "../testing/scrape.ts";
import { tempFolder } from "../testing/temp.ts";
import { startProxy } from "./proxies.ts";

/** One service, as far as the tests look at it. */
interface Service {
  build?: { context: string; dockerfile: string };
  command?: string[];
  configs?: { source: string; target: string }[];
  environment?: Record<string, string>;
  healthcheck?: { test: string[] };
  ports?: string[];
  stop_grace_period?: string;
  ulimits?: { nofile: number };
  volumes?: string[];
}

interface Compose {
  services: Record<string, Service>;
  configs?: Record<string, { content: string }>;
  volumes: Record<string, null>;
}

async function read(name: string): Promise<Compose> {
  return parse(await Deno.readTextFile(`${ROOT}deploy/${name}`)) as Compose;
}

const SINGLE = await read("compose.yaml");
const CLUSTER = await read("compose.cluster.yaml");

for (
  const [name, compose] of [["compose.yaml", SINGLE], ["compose.cluster.yaml", CLUSTER]] as const
) {
  Deno.test(`${name} names files that exist, and gives the relays what they need`, async () => {
    const services = Object.values(compose.services);
    const mounted = services.flatMap(({ volumes = [] }) =>
      volumes.map((each) => each.split(":")[0])
    );
    const files = mounted.filter((path) => path.startsWith("./"));
    const relays = services.filter(({ build }) => build);
    const images = relays.map(({ build }) => `${build!.context}/${build!.dockerfile}`);
    for (const path of [...files, ...images]) {
      assert((await Deno.stat(`${ROOT}deploy/${path}`)).isFile);
    }
    const kept = mounted.filter((path) => !path.startsWith("./"));
    assertEquals(kept.toSorted(), Object.keys(compose.volumes));
    for (const relay of relays) {
      const { limits, shutdown } = await configOf(relay);
      assert(relay.ulimits!.nofile > limits.max_connections + 1000);
      const grace = parseInt(relay.stop_grace_period!);
      assert(grace > shutdown.delay_seconds + shutdown.timeout_seconds + 2);
    }
  });
}

async function configOf({ environment }: Service) {
  const { config } = await loadConfig({ file: `${ROOT}config.yaml`, env: environment! });
  return config;
}

Deno.test("compose.yaml publishes the relay's port, and Prometheus knows the other", async () => {
  const { relay } = SINGLE.services;
  const { server: { port } } = await configOf(relay);
  assertEquals(relay.ports, [`${port}:${port}`]);
  const targets = await Deno.readTextFile(`${ROOT}deploy/prometheus.yml`);
  assert(targets.includes(`targets: [relay:${DEFAULT_CONFIG.metrics.port}]`));
});

Deno.test("compose.cluster.yaml publishes the proxy only, and each of its parts finds the others", async () => {
  const { nats, prometheus, proxy, ...relays } = CLUSTER.services;
  const names = Object.keys(relays);
  for (const { environment } of Object.values(relays)) {
    assertEquals(environment!.RELAY_CLUSTER_SERVERS, "nats://nats:4222");
  }
  const { metrics, server } = await configOf(relays[names[0]]);
  const all = (port: number) => names.map((name) => `${name}:${port}`);
  assertEquals(proxy.environment!.RELAYS, all(server.port).join(" "));
  const { port } = new URL(proxy.environment!.SITE.replace("//:", "//localhost:"));
  assertEquals(proxy.ports, [`${port}:${port}`]);
  const published = Object.values({ nats, ...relays }).flatMap(({ ports = [] }) => ports);
  assertEquals(published, []);

  const [{ source }] = prometheus.configs!;
  const { content } = CLUSTER.configs![source];
  const single = await Deno.readTextFile(`${ROOT}deploy/prometheus.yml`);
  const target = `relay:${DEFAULT_CONFIG.metrics.port}`;
  assertEquals(parse(content), parse(single.replace(target, all(metrics.port).join(", "))));
});

Deno.test("the parts of compose.cluster.yaml act as one relay for their clients", async () => {
  if (!await has("nats-server", "nats-server") || !await has("caddy", "caddy")) return;
  await using folder = await tempFolder();
  const { nats, proxy: { environment: { RELAYS = "" } = {} }, ...services } = CLUSTER.services;
  const port = freePort(), health = freePort();
  const [command, ...args] = nats.command!.map((word) =>
    word.replace("/data", folder.path).replace("8222", `${health}`)
  );
  const here = ["-a", "127.0.0.1", "-p", `${port}`];
  await using _nats = await Daemon.start([command, ...args, ...here], port);
  const { href } = new URL(nats.healthcheck!.test.at(-1)!.replace("8222", `${health}`));
  const response = await fetch(href);
  assertEquals([response.status, await response.json()], [200, { status: "ok" }]);

  const start = (name: string) => {
    const env = {
      ...services[name].environment,
      RELAY_CLUSTER_SERVERS: `nats://127.0.0.1:${port}`,
    };
    return Program.start({ env, args: ["--port", "0", "--metrics-port", "0"] });
  };
  const [one, two] = RELAYS.split(" ").map((relay) => relay.split(":")[0]);
  await using first = await start(one), second = await start(two);
  const relays = [first, second].map(({ url }) => new URL(url).host);
  await using proxy = await startProxy("caddy", { folder, relays });
  await using alice = await connect(proxy), bob = await connect(proxy);
  for (const relay of [first, second]) {
    assertEquals((await scrape(relay)).get("websocket_connected_clients"), 1);
  }
  alice.send("hello");
  assertEquals([await alice.next(), await bob.next()], ["hello", "hello"]);
  bob.send("you");
  assertEquals([await alice.next(), await bob.next()], ["you", "you"]);
});
