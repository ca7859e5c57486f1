/**
 * Fails if the tests reach too few lines of the core. Run it after `deno test --coverage`.
 *
 * @module
 */

import { ROOT } from "./program.ts";

/** The parts of the core. Each is a file at the root together with the folder of the same name. */
const CORE = ["hub", "config", "relay", "metrics"];
const WANTED_PERCENT = 95;

const { stdout, success } = await new Deno.Command(Deno.execPath(), {
  args: ["coverage", "--lcov", "coverage"],
  cwd: ROOT,
}).output();
if (!success) throw new Error("deno coverage failed");

const parts = new Map<string, { hit: number; lines: number }>();
for (const record of new TextDecoder().decode(stdout).split("end_of_record")) {
  const value = (key: string) => new RegExp(`^${key}:(.*)$`, "m").exec(record)?.[1] ?? "";
  const path = value("SF");
  if (!path.startsWith(ROOT)) continue;
  const part = path.slice(ROOT.length).split("/")[0].replace(/\.ts$/, "");
  const { hit, lines } = parts.get(part) ?? { hit: 0, lines: 0 };
  parts.set(part, { hit: hit + Number(value("LH")), lines: lines + Number(value("LF")) });
}
let enough = true;
for (const part of CORE) {
  const { hit, lines } = parts.get(part) ?? { hit: 0, lines: 1 };
  const percent = 100 * hit / lines;
  if (percent < WANTED_PERCENT) enough = false;
  console.log(`coverage: ${part} ${percent.toFixed(1)} % of lines (wanted: ${WANTED_PERCENT} %)`);
}
Deno.exit(enough ? 0 : 1);
