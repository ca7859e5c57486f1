import { assertEquals } from "@std/assert";
import { commandsOf, documents } from "../testing/markdown.ts";
import { run } from "../testing/program.ts";
import { startWithTls } from "../testing/start.ts";
import { tempFolder } from "../testing/temp.ts";

/** Commands that others run: .ci/run, and deploy/compile_slow_test.ts. */
const ELSEWHERE = [
  "deno task ok",
  "deno fmt --check && deno lint && deno check .",
  "deno task compile",
];

/** Pages whose commands need more than a relay; tests of their own run them. */
const PAGES_APART = ["README.md", "docs/configuration.md"];

for (const [path, markdown] of await documents()) {
  const commands = commandsOf(markdown).filter((line) => !ELSEWHERE.includes(line));
  if (PAGES_APART.includes(path) || commands.length === 0) continue;
  Deno.test(`${path} has only commands that work`, async () => {
    await using folder = await tempFolder();
    await using relay = await startWithTls(folder);
    for (const line of commands) {
      const here = line
        .replace(/^deno /, `${Deno.execPath()} `)
        .replace("http://localhost:9090/", relay.metricsUrl!)
        .replace("localhost:8443", new URL(relay.url).host)
        .replace(/ > \S+$/, ""); // Nothing in the project is written over.
      const { code, stderr } = await run({ command: ["sh", "-c", here] });
      assertEquals(code, 0, `${here}\n${stderr}`);
    }
  });
}
