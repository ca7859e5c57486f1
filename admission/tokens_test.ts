import { assert, assertEquals, assertRejects } from "@std/assert";
import { ConfigError } from "../config.ts";
import { loadTokens } from "./tokens.ts";
import { sharedTempFolder } from "../testing/temp.ts";

const { path: directory } = await sharedTempFolder();
const file = `${directory}/tokens`;

async function load(text: string) {
  await Deno.writeTextFile(file, text);
  return await loadTokens(file);
}

async function problemsOf(text: string): Promise<string[]> {
  const { problems }: ConfigError = await assertRejects(() => load(text), ConfigError);
  return problems.map((problem) => problem.replaceAll(file, "tokens"));
}

Deno.test("loadTokens reads one token per line and ignores comments, spaces and empty lines", async () => {
  const roleOf = (await load("# for alice\nalice-1\r\n\n  bob.2~+_ # since 2026\ncathy"))!;
  for (const token of ["alice-1", "bob.2~+_", "cathy"]) assertEquals(roleOf(token), "talk", token);
  for (const token of ["", "alice", "alice-1 ", "ALICE-1", "#", "# for alice", "since"]) {
    assertEquals(roleOf(token), null, token);
  }
});

Deno.test("loadTokens reads the role after a token, which is talk by default", async () => {
  const roleOf = (await load("a talk\nb\tlisten # bob\nc   listen\r\nd\nd talk\nlisten\n"))!;
  const roles = ["a", "b", "c", "d", "listen", "talk", "b listen"].map(roleOf);
  assertEquals(roles, ["talk", "listen", "listen", "talk", "talk", null, null]);
});

Deno.test("loadTokens demands no token if there is no file", async () => {
  assertEquals(await loadTokens(""), null);
});

Deno.test("loadTokens says what is wrong and where, and never repeats a token", async () => {
  assertEquals(
    await problemsOf("good\nmy secret\nsec=ret\na talk listen\nb Listen\ngood listen\n"),
    [
      "server.auth_tokens_file must be a file with one token per line, got something other than talk or " +
      "listen after the token in line 2 of tokens",
      "server.auth_tokens_file must be a file with one token per line, got characters " +
      "other than A-Z a-z 0-9 . _ ~ + - in line 3 of tokens",
      "server.auth_tokens_file must be a file with one token per line, got something other than talk or " +
      "listen after the token in line 4 of tokens",
      "server.auth_tokens_file must be a file with one token per line, got something other than talk or " +
      "listen after the token in line 5 of tokens",
      "server.auth_tokens_file must be a file with one token per line, got a second role for a " +
      "token in line 6 of tokens",
    ],
  );
  assertEquals(await problemsOf("# none yet\n"), [
    "server.auth_tokens_file must be a file with one token per line, got none in tokens",
  ]);
  await Deno.remove(file);
  const { problems }: ConfigError = await assertRejects(() => loadTokens(file), ConfigError);
  assertEquals(problems, [
    `server.auth_tokens_file must be a file with one token per line, got ${file}: no such file`,
  ]);
});

Deno.test("loadTokens takes the same time for the first token as for an unknown one", async () => {
  // The comparison is over hashes of one length; what a client sends is hashed once, however long.
  const roleOf = (await load(Array.from({ length: 1000 }, (_, i) => `token-${i}`).join("\n")))!;
  const time = (token: string) => {
    const times = Array.from({ length: 61 }, () => {
      const started = performance.now();
      roleOf(token);
      return performance.now() - started;
    });
    return times.sort((a, b) => a - b)[30];
  };
  time("warm-up");
  const first = time("token-0"), none = time("nobody");
  // A comparison that stopped at the first would take about a thousandth.
  assert(first > none / 3 && none > first / 3, `first ${first} ms, none ${none} ms`);
});
