import { assert, assertEquals, assertRejects } from "@std/assert";
import { parseAll } from "@std/yaml";
import type { Deployment } from "kubernetes-types/apps/v1.d.ts";
import type { ConfigMap, Service } from "kubernetes-types/core/v1.d.ts";
import type { PodDisruptionBudget } from "kubernetes-types/policy/v1.d.ts";
import { ConfigError, loadConfig } from "../config.ts";
import { ROOT, run } from "../testing/program.ts";
import { tempFolder } from "../testing/temp.ts";

/** The objects of a file by their kinds, of which each is there once. */
interface Objects {
  ConfigMap: ConfigMap;
  Deployment: Deployment;
  PodDisruptionBudget?: PodDisruptionBudget;
  Service: Service;
}

async function read(name: string): Promise<Objects> {
  const objects = parseAll(await Deno.readTextFile(`${ROOT}deploy/${name}`)) as { kind: string }[];
  return Object.fromEntries(objects.map((each) => [each.kind, each])) as unknown as Objects;
}

/** Where the API has each kind. */
const GROUPS: Record<keyof Objects, string> = {
  ConfigMap: "core",
  Deployment: "apps",
  PodDisruptionBudget: "policy",
  Service: "core",
};

const FILES = {
  "kubernetes.yaml": await read("kubernetes.yaml"),
  "kubernetes.cluster.yaml": await read("kubernetes.cluster.yaml"),
};

for (const [name, objects] of Object.entries(FILES)) {
  Deno.test(`${name} has no key and no value that the Kubernetes API does not know`, async () => {
    await using folder = await tempFolder();
    const typed = Object.entries(objects).map(([kind, object]) => {
      const type = `import("kubernetes-types/${GROUPS[kind as keyof Objects]}/v1.d.ts").${kind}`;
      return `export const ${kind}: ${type} = ${JSON.stringify(object)};`;
    });
    const file = await folder.write("typed.ts", typed.join("\n"));
    const command = [Deno.execPath(), "check", "--config", `${ROOT}deno.json`];
    const { code, stderr } = await run({ command, args: [file] });
    assertEquals(code, 0, stderr);
  });

  Deno.test(`${name} gives the relay a valid configuration, its ports, and time to stop`, async () => {
    await using folder = await tempFolder();
    const { file, config } = await configOf(objects, folder.path);
    const { metrics, server, shutdown } = config;
    const { Deployment: { spec }, Service } = objects;
    const { enableServiceLinks, terminationGracePeriodSeconds, containers: [relay] } = spec!
      .template
      .spec!;
    assert(
      terminationGracePeriodSeconds! > shutdown.delay_seconds + shutdown.timeout_seconds + 2,
    );
    assertEquals(relay.ports, [
      { name: "relay", containerPort: server.port },
      { name: "metrics", containerPort: metrics.port },
    ]);
    assertEquals(relay.readinessProbe!.httpGet, { path: "/readyz", port: "metrics" });
    assertEquals(relay.livenessProbe!.httpGet, { path: "/healthz", port: "metrics" });
    assertEquals(Service.spec!.ports![0].port, server.port);
    assertEquals(Service.spec!.selector, spec!.template.metadata!.labels);

    const link = { RELAY_PORT: `tcp://10.0.0.1:${server.port}` };
    await assertRejects(() => loadConfig({ file, env: link }), ConfigError);
    assertEquals(enableServiceLinks, false);
  });
}

Deno.test("kubernetes.yaml never has two relays, because they would not act as one", async () => {
  const objects = FILES["kubernetes.yaml"];
  await using folder = await tempFolder();
  const { config: { cluster } } = await configOf(objects, folder.path);
  const { replicas, strategy } = objects.Deployment.spec!;
  assertEquals([cluster.servers, replicas, strategy], [[], 1, { type: "Recreate" }]);
});

Deno.test("kubernetes.cluster.yaml always leaves relays for the clients of one that stops", async () => {
  const objects = FILES["kubernetes.cluster.yaml"];
  await using folder = await tempFolder();
  const { config: { cluster } } = await configOf(objects, folder.path);
  const { replicas, strategy, template } = objects.Deployment.spec!;
  const { maxUnavailable, selector } = objects.PodDisruptionBudget!.spec!;
  assertEquals(cluster.servers, ["nats://nats:4222"]);
  assert(replicas! > (maxUnavailable as number));
  assertEquals(strategy!.rollingUpdate!.maxUnavailable, 0);
  const { labels } = template.metadata!;
  assertEquals(selector!.matchLabels, labels);
  const [spread] = template.spec!.topologySpreadConstraints!;
  assertEquals(spread.labelSelector!.matchLabels, labels);
});

async function configOf({ ConfigMap: { data } }: Objects, folder: string) {
  const file = `${folder}/config.yaml`;
  await Deno.writeTextFile(file, data!["config.yaml"]);
  return { file, ...await loadConfig({ file }) };
}
