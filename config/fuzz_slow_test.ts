import { assert } from "@std/assert";
import fc from "fast-check";
import { ConfigError, loadConfig } from "../config.ts";
import { tempFolder } from "../testing/temp.ts";

Deno.test("loadConfig turns any text into a configuration or a list of problems", async () => {
  await using folder = await tempFolder();
  const key = fc.constantFrom(
    ..."server limits metrics shutdown log port hostname tls enabled transport level".split(" "),
  );
  const scalar = fc.oneof(
    fc.integer().map(String),
    fc.double().map(String),
    fc.string(),
    fc.constantFrom(
      "true",
      "~",
      "null",
      ".nan",
      "&a",
      "*a",
      "!!binary AAAA",
      "!!set {x}",
      "2020-01-01",
    ),
    fc.constantFrom(
      "[",
      "{",
      "}",
      "---",
      "%YAML 1.2",
      "\t",
      "? ",
      "<<: *a",
      "|\n  x",
      "!!omap [a: 1]",
    ),
  );
  const line = fc.tuple(fc.nat(3), fc.oneof(key, fc.string()), scalar)
    .map(([depth, name, value]) => `${"  ".repeat(depth)}${name}: ${value}`);
  const yaml = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.array(line, { maxLength: 12 }).map((lines) => lines.join("\n")),
    fc.json(),
    fc.constantFrom(
      "a: &a {b: *a}",
      "server: &s {tls: *s}",
      "[".repeat(1e5),
      "server: &s\n  tls: *s",
    ),
  );
  const outcomes = { loaded: 0, refused: 0 };
  await fc.assert(
    fc.asyncProperty(yaml, async (text) => {
      try {
        await loadConfig({ file: await folder.write("relay.yaml", text) });
        outcomes.loaded++;
      } catch (error) {
        if (!(error instanceof ConfigError)) throw error;
        assert(error.problems.length > 0);
        outcomes.refused++;
      }
    }),
    { numRuns: 500 },
  );
  assert(outcomes.loaded > 0 && outcomes.refused > 0, JSON.stringify(outcomes));
});
