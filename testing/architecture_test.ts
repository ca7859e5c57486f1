import { assert, assertEquals } from "@std/assert";
import { ROOT } from "./program.ts";

/** The other parts that each part of the project may import. A part is a folder, its door, or both. */
const RULES: Readonly<Record<string, readonly string[]>> = {
  main: ["relay", "transport", "admission", "config", "lib"],
  relay: ["transport", "metrics", "admission", "cluster", "hub", "config", "lib"],
  transport: ["admission", "hub", "config", "lib"],
  metrics: ["hub", "admission", "lib"],
  cluster: ["hub", "lib"],
  admission: ["config", "lib"],
  hub: [],
  config: [],
  lib: [],
};

/** The parts whose folder is imported from outside only through the file of the same name at the root. */
const BEHIND_DOORS = ["hub", "config", "metrics"];

/** Modules that are imported only when they are used, by a path that Deno does not see. */
const LOADED_LATE = ["cluster/nats.ts", "admission/signed_tokens.ts"];

interface Dependency {
  code?: { specifier: string };
  type?: { specifier: string };
}

interface Module {
  specifier: string;
  dependencies?: Dependency[];
}

Deno.test("modules import only what the rules allow, and the hub imports no package", async () => {
  const base = `file://${ROOT}`;
  const modules: Module[] = [];
  for (const entry of ["main.ts", ...LOADED_LATE]) {
    modules.push(...JSON.parse(await output(Deno.execPath(), "info", "--json", entry)).modules);
  }
  assert(modules.some(({ specifier }) => specifier === `${base}hub.ts`));
  const breaches: string[] = [];
  for (const { specifier, dependencies = [] } of modules) {
    if (!specifier.startsWith(base)) continue;
    const importer = specifier.slice(base.length), part = partOf(importer);
    for (const { code, type } of dependencies) {
      const target = (code ?? type)?.specifier ?? "";
      const imported = target.startsWith(base) ? target.slice(base.length) : null;
      if (imported?.endsWith(".html")) continue; // Text is not a module.
      const other = imported === null ? null : partOf(imported);
      const inside = other !== null && BEHIND_DOORS.includes(other) && imported !== `${other}.ts`;
      const allowed = other === null
        ? part !== "hub"
        : other === part || !inside && RULES[part]?.includes(other);
      if (!allowed) breaches.push(`${importer} imports ${imported ?? target}`);
    }
  }
  assertEquals(breaches, []);
});

Deno.test("the root has few entries", async () => {
  const files = (await output("git", "ls-files")).trimEnd().split("\n");
  const entries = new Set(files.map((path) => path.split("/")[0]));
  assert(entries.has("main.ts") && entries.size <= 32, `there are ${entries.size}`);
});

/** Names the part that a module belongs to: `hub` for `hub.ts` and for all of `hub/`. */
function partOf(path: string): string {
  return path.split("/")[0].replace(/\.ts$/, "");
}

async function output(command: string, ...args: string[]): Promise<string> {
  const { stdout } = await new Deno.Command(command, { args, cwd: ROOT }).output();
  return new TextDecoder().decode(stdout);
}
