import { assertEquals } from "@std/assert";
import { connect } from "../testing/client.ts";
import { freePort } from "../testing/daemon.ts";
import { Program, ROOT, run } from "../testing/program.ts";
import { tempFolder } from "../testing/temp.ts";

/** The instructions of the Dockerfile in order, continued lines joined. */
const INSTRUCTIONS: [name: string, rest: string][] =
  (await Deno.readTextFile(`${ROOT}deploy/Dockerfile`))
    .replaceAll(/^#.*\n/gm, "").replaceAll(/\\\n\s*/g, "").trim().split(/\n+/)
    .map((line) => [line.split(" ")[0], line.slice(line.indexOf(" ") + 1)]);

/** What follows an instruction that is there only once. */
function only(name: string): string {
  const found = INSTRUCTIONS.filter(([each]) => each === name);
  assertEquals(found.length, 1, name);
  return found[0][1];
}

/** Reads a command in the form that needs no shell. */
function exec(text: string): string[] {
  const [deno, ...args] = JSON.parse(text.slice(text.indexOf("[")));
  assertEquals(deno, "deno");
  return [Deno.execPath(), ...args];
}

Deno.test("the image's program can be built from the copied files, is healthy, and ends on SIGTERM", async () => {
  await using folder = await tempFolder();
  const src = `${folder.path}/src/`;
  await Deno.mkdir(src);
  for (const [, paths] of INSTRUCTIONS.filter(([name]) => name === "COPY")) {
    if (paths.startsWith("--from=build")) continue;
    const [, from, to] = /^(.+) (\S+)$/.exec(paths)!;
    if (to.endsWith("/")) await Deno.mkdir(src + to, { recursive: true });
    const command = ["sh", "-c", `cp -r ${from}${from.endsWith("/") ? "." : ""} ${src}${to}`];
    assertEquals(await run({ command }), { code: 0, stdout: "", stderr: "" });
  }
  const built = await run({ command: exec(only("RUN")), cwd: src });
  assertEquals(built.code, 0, built.stderr);

  const app = `${folder.path}/app`;
  await Deno.mkdir(app);
  await Deno.rename(`${src}relay.js`, `${app}/relay.js`);
  const port = freePort();
  const env = { DENO_DIR: "/nonexistent", HOME: "/nonexistent" }; // Nothing can be written there.
  const args = ["--port", "0", "--metrics-port", `${port}`];
  const check = exec(only("HEALTHCHECK")).map((text) => text.replace("9090", `${port}`));
  const health = async () => (await run({ command: check, env })).code;

  await using program = await Program.start({
    command: exec(only("ENTRYPOINT")),
    args,
    env,
    cwd: app,
  });
  await using alice = await connect(program);
  alice.send("hello");
  assertEquals(await alice.next(), "hello");
  assertEquals(await health(), 0);
  program.signal("SIGTERM");
  assertEquals(await program.exited(), 0);
  assertEquals(await health(), 1);
});

Deno.test("files that the image copies are not ignored", async () => {
  const lines = (await Deno.readTextFile(`${ROOT}deploy/Dockerfile.dockerignore`)).split("\n");
  const copied = INSTRUCTIONS.filter(([name, rest]) => name === "COPY" && !rest.startsWith("--"))
    .flatMap(([, rest]) => rest.split(" ").slice(0, -1));
  const sent = lines.filter((line) => line.startsWith("!")).map((line) => line.slice(1));
  assertEquals(copied.map((path) => path.replace(/\/$/, "")).toSorted(), sent.toSorted());
});
