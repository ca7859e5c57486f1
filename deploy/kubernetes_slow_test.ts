import { assert, assertEquals, assertRejects } from "@std/assert";
import { parseAll } from "@std/yaml";
import type { Deployment } from "kubernetes-types/apps/v1.d.ts";
import type { ConfigMap, Service } from "kubernetes-types/core/v1.d.ts";
import { ConfigError, loadConfig } from "../config.ts";
import { ROOT, run } from "../testing/program.ts";
import { tempFolder } from "../testing/temp.ts";

const [configMap, deployment, service] = parseAll(
  await Deno.readTextFile(`${ROOT}deploy/kubernetes.yaml`),
) as [ConfigMap, Deployment, Service];

Deno.test("kubernetes.yaml has no key and no value that the Kubernetes API does not know", async () => {
  await using folder = await tempFolder();
  const typed = `
    import type { Deployment } from "kubernetes-types/apps/v1.d.ts";
    import type { ConfigMap, Service } from "kubernetes-types/core/v1.d.ts";
    export const configMap: ConfigMap = ${JSON.stringify(configMap)};
    export const deployment: Deployment = ${JSON.stringify(deployment)};
    export const service: Service = ${JSON.stringify(service)};`;
  const file = await folder.write("typed.ts", typed);
  const command = [Deno.execPath(), "check", "--config", `${ROOT}deno.json`];
  const { code, stderr } = await run({ command, args: [file] });
  assertEquals(code, 0, stderr);
});

Deno.test("kubernetes.yaml gives the relay a configuration it takes, its ports, and time to stop", async () => {
  await using folder = await tempFolder();
  const file = await folder.write("config.yaml", configMap.data!["config.yaml"]);
  const { config: { metrics, server, shutdown } } = await loadConfig({ file });
  const { enableServiceLinks, terminationGracePeriodSeconds, containers: [relay] } = deployment
    .spec!.template.spec!;
  assert(
    terminationGracePeriodSeconds! > shutdown.delay_seconds + shutdown.timeout_seconds + 2,
  );
  assertEquals(relay.ports, [
    { name: "relay", containerPort: server.port },
    { name: "metrics", containerPort: metrics.port },
  ]);
  assertEquals(service.spec!.ports![0].port, server.port);
  assertEquals(service.spec!.selector, deployment.spec!.template.metadata!.labels);

  const link = { RELAY_PORT: `tcp://10.0.0.1:${server.port}` };
  await assertRejects(() => loadConfig({ file, env: link }), ConfigError);
  assertEquals(enableServiceLinks, false);
});
