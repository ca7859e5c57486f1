import { assertEquals, assertMatch } from "@std/assert";
import { connect } from "./testing/client.ts";
import { Process, Program, RELAY, run } from "./testing/program.ts";
import { scrape } from "./testing/scrape.ts";
import { sharedTempFolder } from "./testing/temp.ts";
import { bounded, until } from "./testing/wait.ts";

const { path: directory } = await sharedTempFolder();

const FREE_PORTS = ["--port", "0", "--metrics-port", "0"];

Deno.test("program treats one Ctrl-C that arrives twice as one", async () => {
  await using program = await Program.start();
  await using alice = await connect(program);
  program.signal("SIGINT");
  program.signal("SIGINT");
  assertEquals(await bounded(alice.closed, "the end"), {
    code: 1001,
    reason: "server shutting down",
  });
  assertEquals(await program.exited(), 0);
});

Deno.test("program ends with 1 when its port is taken, and says so in one line", async () => {
  using taken = Deno.listen({ hostname: "0.0.0.0", port: 0 });
  const { port } = taken.addr as Deno.NetAddr;
  const { code, stdout, stderr } = await run({ args: ["--port", `${port}`] });
  assertEquals([code, stdout, stderr], [
    1,
    "",
    `Cannot listen on 0.0.0.0 port ${port}: the port is taken; set server.port (--port) to another\n`,
  ]);
});

Deno.test("program ends with 2 on a bad configuration and lists every problem without a stack", async () => {
  await Deno.writeTextFile(`${directory}/bad.yaml`, "server: {port: http}\nlimit: 1\n");
  const args = ["--config", "bad.yaml", "--prot", "1"];
  const { code, stdout, stderr } = await run({
    args,
    cwd: directory,
    env: { RELAY_LOG_LEVEL: "x" },
  });
  assertEquals([code, stdout, stderr], [
    2,
    "",
    `Cannot use the configuration: 4 problems
  Unknown flag --prot (did you mean --port?)
  Unknown key limit in bad.yaml (did you mean limits?)
  server.port must be a whole number from 0 to 65535, got "http" (bad.yaml)
  log.level must be one of debug, info, warn, error, got "x" (variable RELAY_LOG_LEVEL)
`,
  ]);
});

Deno.test("program says in its first line where it listens, and in its last line how it ended", async () => {
  await using program = new Process({ command: RELAY, args: FREE_PORTS });
  await until(() => /Relay at .*\n/.test(program.stderr), "the line about its start", 60);
  const line = program.stderr.split("\n").find((each) => each.includes("Relay at"))!;
  const [, url, metricsUrl] = /Relay at (\S+) .* Metrics: (\S+)metrics /.exec(line) ?? [];
  assertEquals(
    line.replace(/^\S+Z /, ""),
    `[INF] relay: Relay at ${url} (native transport, TLS off, bound to 0.0.0.0). ` +
      `Anyone may connect from any web page. Cluster: none. Metrics: ${metricsUrl}metrics (status page at /). ` +
      "Configuration: config.yaml, flag --port, flag --metrics-port.",
  );
  await using alice = await connect({ url });
  assertEquals((await scrape({ metricsUrl })).get("websocket_connected_clients"), 1);
  program.signal("SIGTERM");
  await bounded(alice.closed, "the end");
  assertEquals(await program.exited(), 0);
  const last = program.stderr.trimEnd().split("\n").at(-1)!;
  assertMatch(last, /^\S+Z \[INF\] relay: Stopped: 1 clients closed, 0 terminated$/);
});

Deno.test("program logs JSON lines if asked to, from the first to the last", async () => {
  const env = {
    RELAY_LOG_FORMAT: "json",
    RELAY_LOG_LEVEL: "debug",
    RELAY_LIMITS_MAX_MESSAGE_BYTES: "3",
    RELAY_SERVER_HOSTNAME: "127.0.0.1",
  };
  await using program = await Program.start({ args: FREE_PORTS, env, cwd: directory });
  await using alice = await connect(JSON.parse(program.stderr.split("\n")[0]));
  alice.send("four");
  await bounded(alice.closed, "the eviction");
  program.signal("SIGTERM");
  assertEquals(await program.exited(), 0);
  const lines = program.stderr.trimEnd().split("\n").map((line) => JSON.parse(line));
  assertEquals(lines.map(({ level }) => level), ["INFO", "WARN", "DEBUG", "WARN", "INFO", "INFO"]);
  const [started, , joined, evicted, , stopped] = lines;
  assertEquals([started.transport, started.tls], ["native", "off"]);
  assertMatch(joined.peer, /^127\.0\.0\.1:\d+$/);
  assertEquals([evicted.peer, evicted.cause], [joined.peer, "too_big"]);
  assertEquals([stopped.closed, stopped.terminated], [0, 0]);
});
