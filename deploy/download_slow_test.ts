import { assert, assertEquals } from "@std/assert";
import { has } from "../testing/daemon.ts";
import { NatsServer } from "../testing/nats.ts";
import { Program, ROOT, run } from "../testing/program.ts";
import { tempFolder } from "../testing/temp.ts";

/** The packages that `main.ts` imports, and those that they import. */
const PACKAGES = [
  "@logtape/logtape",
  "@opentelemetry/api",
  "@valibot/to-json-schema",
  "bintrees",
  "deno-std",
  "ipaddr.js",
  "prom-client",
  "tdigest",
  "valibot",
];

/** Runs the relay with an empty cache. */
async function runWith(cache: string, lock: string, env: Record<string, string>, args: string[]) {
  await Deno.mkdir(cache);
  const command = [Deno.execPath(), "run", "-A", "--lock", lock, "main.ts"];
  return await run({ command, args, env: { ...env, DENO_DIR: cache } });
}

/** Names the packages in a cache, once for each of their versions. */
function packagesIn(cache: string): string[] {
  const registry = `${cache}/npm/registry.npmjs.org/`;
  const folders = (path: string) =>
    [...Deno.readDirSync(path)].filter(({ isDirectory }) => isDirectory).map(({ name }) => name);
  const names = folders(registry).flatMap((name) =>
    name.startsWith("@") ? folders(registry + name).map((each) => `${name}/${each}`) : [name]
  );
  return names.flatMap((name) => folders(registry + name).map(() => name)).toSorted();
}

/** Starts the relay with an empty cache, ends it, and names what it has downloaded. */
async function downloads(env: Record<string, string>): Promise<string[]> {
  await using folder = await tempFolder();
  const cache = `${folder.path}/cache`;
  {
    const command = [Deno.execPath(), "run", "-A", "main.ts"];
    await using _ = await Program.start({ command, env: { ...env, DENO_DIR: cache } });
  }
  return packagesIn(cache);
}

Deno.test("deno run -A main.ts downloads only the packages of a relay without a cluster", async () => {
  assertEquals(await downloads({ RELAY_SERVER_TRANSPORT: "ws" }), PACKAGES);
});

Deno.test("deno run -A main.ts downloads the client of NATS only in a cluster", async () => {
  if (!await has("nats-server", "nats-server")) return;
  await using nats = await NatsServer.start();
  const more = (await downloads({ RELAY_CLUSTER_SERVERS: nats.url }))
    .filter((name) => !PACKAGES.includes(name));
  assertEquals(more, [
    "@nats-io/jetstream",
    "@nats-io/nats-core",
    "@nats-io/nkeys",
    "@nats-io/nuid",
    "@nats-io/transport-node",
    "tweetnacl",
  ]);
});

Deno.test("deno run -A main.ts downloads the check of signed tokens only if keys are configured", async () => {
  await using folder = await tempFolder();
  const more = (await downloads(await withKeys(folder))).filter((name) => !PACKAGES.includes(name));
  assertEquals(more, ["jose"]);
});

/** The variable with which a relay checks signed tokens. */
async function withKeys(folder: { write(name: string, text: string): Promise<string> }) {
  const keys = { keys: [{ kty: "oct", k: btoa("x".repeat(33)) }] };
  return { RELAY_SERVER_AUTH_KEYS_FILE: await folder.write("keys", JSON.stringify(keys)) };
}

const FORGED: [name: string, keys: boolean, args: string[]][] = [
  ["valibot", false, ["--version"]],
  ["jose", true, ["--port", "0", "--metrics-port", "0"]], // Loaded late.
];
for (const [name, keys, args] of FORGED) {
  Deno.test(`deno run -A main.ts refuses a package ${name} that the lock file does not know`, async () => {
    await using folder = await tempFolder();
    const lock = await Deno.readTextFile(`${ROOT}deno.lock`);
    const start = new RegExp(`("${name}@[^"]*": \\{\\s+"integrity": "sha512-).{8}`);
    const forged = lock.replace(start, "$1AAAAAAAA");
    assert(forged !== lock);
    const file = await folder.write("deno.lock", forged);
    const env = keys ? await withKeys(folder) : {};
    const { code, stdout, stderr } = await runWith(`${folder.path}/cache`, file, env, args);
    assertEquals([code, stdout], [1, ""]);
    assert(stderr.includes("Tarball checksum did not match"), stderr);
  });
}
