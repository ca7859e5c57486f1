import { assert, assertEquals } from "@std/assert";
import { ROOT, run } from "../testing/program.ts";
import { tempFolder } from "../testing/temp.ts";

/** The packages that `main.ts` imports, and those that they import. */
const PACKAGES = [
  "@logtape/logtape",
  "@opentelemetry/api",
  "bintrees",
  "deno-std",
  "ipaddr.js",
  "prom-client",
  "tdigest",
  "ws",
  "zod",
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

Deno.test("deno run -A main.ts downloads what the relay imports, and no other package", async () => {
  await using folder = await tempFolder();
  const cache = `${folder.path}/cache`;
  const { code, stderr } = await runWith(cache, `${ROOT}deno.lock`, {}, ["--version"]);
  assertEquals(code, 0, stderr);
  assertEquals(packagesIn(cache), PACKAGES);
});

const FORGED: [name: string, env: Record<string, string>, args: string[]][] = [
  ["zod", {}, ["--version"]],
  ["ws", { RELAY_SERVER_TRANSPORT: "ws" }, ["--port", "0", "--metrics-port", "0"]], // Loaded late.
];
for (const [name, env, args] of FORGED) {
  Deno.test(`deno run -A main.ts refuses a package ${name} that the lock file does not know`, async () => {
    await using folder = await tempFolder();
    const lock = await Deno.readTextFile(`${ROOT}deno.lock`);
    const start = new RegExp(`("${name}@[^"]*": \\{\\s+"integrity": "sha512-).{8}`);
    const forged = lock.replace(start, "$1AAAAAAAA");
    assert(forged !== lock);
    const file = await folder.write("deno.lock", forged);
    const { code, stdout, stderr } = await runWith(`${folder.path}/cache`, file, env, args);
    assertEquals([code, stdout], [1, ""]);
    assert(stderr.includes("Tarball checksum did not match"), stderr);
  });
}
