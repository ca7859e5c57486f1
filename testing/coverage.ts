/**
 * Fails if the tests reach too few lines of the core; run after `deno test --coverage`.
 *
 * @module
 */

const CORE = ["hub.ts", "config.ts", "relay.ts", "metrics.ts"];
const WANTED_PERCENT = 95;

const { stdout, success } = await new Deno.Command(Deno.execPath(), {
  args: ["coverage", "--lcov", "coverage"],
}).output();
if (!success) throw new Error("deno coverage failed");

const percents = new Map<string, number>();
for (const record of new TextDecoder().decode(stdout).split("end_of_record")) {
  const value = (key: string) => new RegExp(`^${key}:(.*)$`, "m").exec(record)?.[1] ?? "";
  const name = value("SF").split("/").at(-1)!;
  percents.set(name, 100 * Number(value("LH")) / Number(value("LF")));
}
let enough = true;
for (const name of CORE) {
  const percent = percents.get(name) ?? 0;
  if (percent < WANTED_PERCENT) enough = false;
  console.log(`coverage: ${name} ${percent.toFixed(1)} % of lines (wanted: ${WANTED_PERCENT} %)`);
}
Deno.exit(enough ? 0 : 1);
