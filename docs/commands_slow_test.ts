import { assertEquals } from "@std/assert";
import { commandsOf, documents } from "../testing/markdown.ts";
import { run } from "../testing/program.ts";
import { startWithTls } from "../testing/start.ts";
import { tempFolder } from "../testing/temp.ts";

/** Commands that are all of the checks, or part of them: .ci/run runs them. */
const ELSEWHERE = ["deno task ok", "deno fmt --check && deno lint && deno check ."];

for (const [path, markdown] of await documents()) {
  const commands = commandsOf(markdown).filter((line) => !ELSEWHERE.includes(line));
  if (path === "README.md" || commands.length === 0) continue; // README's are run by readme_slow_test.ts.
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
