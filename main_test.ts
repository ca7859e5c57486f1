import { assert, assertEquals, assertMatch } from "@std/assert";
import { connect } from "./testing/client.ts";
import { makeCertificate } from "./testing/certificate.ts";
import { Process, Program, RELAY, ROOT, run } from "./testing/program.ts";
import { RawClient } from "./testing/raw_client.ts";
import { scrape } from "./testing/scrape.ts";
import { sharedTempFolder } from "./testing/temp.ts";
import { bounded, until } from "./testing/wait.ts";
import { VERSION } from "./lib/version.ts";

const { path: directory } = await sharedTempFolder();

const FREE_PORTS = ["--port", "0", "--metrics-port", "0"];

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  Deno.test(`program ends with 0 after ${signal}, its last line counts the clients`, async () => {
    await using program = await Program.start();
    await using alice = await connect(program);
    alice.send("hello");
    assertEquals(await alice.next(), "hello");
    program.signal(signal);
    assertEquals(await bounded(alice.closed, "the end"), {
      code: 1001,
      reason: "server shutting down",
    });
    assertEquals(await program.exited(), 0);
    assertEquals(program.log.at(-1)!.message, "Stopped: 1 clients closed, 0 terminated");
  });
}

Deno.test("program takes one Ctrl-C that arrives twice as one", async () => {
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

Deno.test("program says which permission it lacks, without a stack", async () => {
  const command = [Deno.execPath(), "run", "--no-prompt", "--quiet", `${ROOT}main.ts`];
  const { code, stdout, stderr } = await run({ command });
  assertEquals([code, stdout], [1, ""]);
  assertEquals(stderr, "Requires env access, run again with the --allow-env flag\n");
});

Deno.test("program warns of a certificate that has expired", async () => {
  const { cert_file, key_file } = await makeCertificate(directory, "short", 1);
  const env = {
    RELAY_SERVER_TLS_ENABLED: "true",
    RELAY_SERVER_TLS_CERT_FILE: cert_file,
    RELAY_SERVER_TLS_KEY_FILE: key_file,
  };
  const later = `Date.now = () => ${Date.now() + 2 * 86_400_000};`;
  const preload = `${directory}/later.js`;
  await Deno.writeTextFile(preload, later); // A clock is the one thing that cannot be had for real.
  const command = [Deno.execPath(), "run", "-A", "--quiet", "--preload", preload, `${ROOT}main.ts`];
  const check = await run({ command, args: ["--check"], env });
  assertMatch(
    check.stdout,
    /^ok, but the certificate of server\.tls\.cert_file, .*short\.pem, expired on 20\d\d-/,
  );
  await using program = await Program.start({ command, args: FREE_PORTS, env });
  const warning = program.log.find(({ message }) =>
    /^The certificate of server\.tls\.cert_file, .*short\.pem, expired on 20\d\d-/.test(message)
  );
  assertEquals(warning?.level, "WARN");
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
  --prot is not a known flag, the nearest is --port (command line)
  limit is not a known key, the nearest is limits (bad.yaml)
  server.port must be a whole number from 0 to 65535, got "http" (bad.yaml)
  log.level must be one of debug, info, warn, error, got "x" (variable RELAY_LOG_LEVEL)
`,
  ]);
});

Deno.test("program takes the environment over the file and flags over the environment", async () => {
  const yaml = "server: {port: 1, hostname: 127.0.0.1}\nmetrics: {port: 2, hostname: 127.0.0.1}\n";
  await Deno.writeTextFile(`${directory}/config.yaml`, yaml);
  const { code, stdout } = await run({
    args: ["--print-config", "--port", "5"],
    env: { RELAY_SERVER_PORT: "3", RELAY_METRICS_PORT: "4" },
    cwd: directory,
  });
  assertEquals(code, 0);
  assertMatch(stdout, /^server:\n {2}hostname: 127\.0\.0\.1\n {2}port: 5\n/);
  assertMatch(stdout, /^metrics:\n {2}enabled: true\n {2}hostname: 127\.0\.0\.1\n {2}port: 4\n/m);
});

Deno.test("program checks configuration and certificate without starting anything", async () => {
  const good = await makeCertificate(directory, "good"),
    other = await makeCertificate(directory, "other");
  const env = {
    RELAY_SERVER_TLS_ENABLED: "true",
    RELAY_SERVER_TLS_CERT_FILE: "good.pem",
    RELAY_SERVER_TLS_KEY_FILE: "good.key",
  };
  const check = (env: Record<string, string>) => run({ args: ["--check"], env, cwd: directory });
  assertEquals(await check(env), { code: 0, stdout: "ok\n", stderr: "" });
  assertEquals(await check({ ...env, RELAY_SERVER_TLS_KEY_FILE: "other.key" }), {
    code: 2,
    stdout: "",
    stderr: "Cannot use the configuration: 1 problem\n" +
      "  server.tls.key_file must be the key of good.pem, got the key of another certificate: other.key\n",
  });
  assert(good.cert_file !== other.cert_file);
});

Deno.test("program prints its help, its version and its schema", async () => {
  const help = await run({ args: ["--help"] });
  assertEquals([help.code, help.stderr], [0, ""]);
  assertMatch(help.stdout, /^A WebSocket relay: .*\n\nUsage: relay \[flags\]\n/);
  const { deno } = Deno.version;
  assertEquals(await run({ args: ["--version"] }), {
    code: 0,
    stdout: `relay ${VERSION} (deno ${deno})\n`,
    stderr: "",
  });
  const schema = await run({ args: ["--print-schema"] });
  assertEquals(JSON.parse(schema.stdout).properties.server.properties.port.default, 8443);
});

Deno.test("program says in one line of text where it is, and in its last how it ended", async () => {
  await using program = new Process({ command: RELAY, args: FREE_PORTS });
  await until(() => /Relay at .*\n/.test(program.stderr), "the line about its start", 60);
  const line = program.stderr.split("\n").find((each) => each.includes("Relay at"))!;
  const [, url, metricsUrl] = /Relay at (\S+) .* metrics at (\S+)metrics /.exec(line) ?? [];
  assertEquals(
    line.replace(/^\S+Z /, ""),
    `[INF] relay: Relay at ${url} (native transport, TLS off, bound to 0.0.0.0); ` +
      `anyone may connect from any web page; metrics at ${metricsUrl}metrics (status page at /); ` +
      "configuration: config.yaml, flag --port, flag --metrics-port",
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

Deno.test("program reports when it was started", async () => {
  await using program = await Program.start();
  const started = (await scrape(program)).get("process_start_time_seconds")!;
  const { stdout } = await run({ command: ["ps", "-o", "etimes=", "-p", `${program.pid}`] });
  const want = Date.now() / 1000 - Number(stdout);
  assert(Math.abs(started - want) < 3, `it says ${started}, the system ${want}`);
});

Deno.test("program warns of too few descriptors beforehand, and goes on when it runs out of them", async () => {
  const relay = `exec ${Deno.execPath()} run -A --quiet ${ROOT}main.ts "$@"`;
  const command = ["sh", "-c", `ulimit -n 100; ${relay}`, "relay"];
  await using program = await Program.start({ command, args: FREE_PORTS });
  const warning = "limits.max_connections is 10000, but this process may open only 100 files; " +
    "raise the limit (ulimit -n) or lower the key";
  assert(program.log.some(({ message }) => message === warning), program.stderr);
  const raw = await Promise.allSettled(
    Array.from({ length: 120 }, () => RawClient.open(program)),
  );
  const lack = `File descriptors ran out on port ${new URL(program.url).port}; ` +
    "members are kept, newcomers wait until some are free";
  await until(() => program.log.some(({ message }) => message === lack), "the log line");
  for (const result of raw) if (result.status === "fulfilled") result.value.reset();
  await until(async () => {
    const alice = await connect(program).catch(() => null);
    await alice?.close();
    return alice !== null;
  }, "a newcomer to be admitted");
});

Deno.test("program on native says that it is for trusted networks, but not on loopback or on ws", async () => {
  const warning =
    "server.transport native is meant for trusted networks and for proxies in front " +
    "of it; set it to ws where strangers can reach the port";
  const warns = async (transport: string, hostname: string) => {
    const env = { RELAY_SERVER_TRANSPORT: transport, RELAY_SERVER_HOSTNAME: hostname };
    await using program = await Program.start({ args: FREE_PORTS, env });
    return program.log.filter(({ message }) => message === warning).length;
  };
  assertEquals(await warns("native", "0.0.0.0"), 1);
  assertEquals(await warns("native", "127.0.0.1"), 0);
  assertEquals(await warns("ws", "0.0.0.0"), 0);
});

Deno.test("deno task start runs the relay with only the permissions it needs", async () => {
  const command = [Deno.execPath(), "task", "--quiet", "start"];
  await using program = await Program.start({ command, args: FREE_PORTS });
  await using alice = await connect(program);
  alice.send("hello");
  assertEquals(await alice.next(), "hello");
  const metrics = await scrape(program);
  assert(metrics.get("process_resident_memory_bytes")! > 1e6);
  assert(!metrics.has("process_open_fds"), "it can count descriptors, so it has all permissions");
});
