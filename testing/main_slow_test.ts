import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { VERSION } from "../lib/version.ts";
import { makeCertificate } from "./certificate.ts";
import { connect } from "./client.ts";
import { Program, ROOT, run } from "./program.ts";
import { frame, OPCODE, RawClient } from "./raw_client.ts";
import { scrape } from "./scrape.ts";
import { sharedTempFolder } from "./temp.ts";
import { bounded, sleep, until } from "./wait.ts";

const { path: directory } = await sharedTempFolder();

const FREE_PORTS = ["--port", "0", "--metrics-port", "0"];

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  Deno.test(`program exits with 0 after ${signal}, and its last line counts the clients`, async () => {
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

Deno.test("program names a permission that it lacks, without a stack trace", async () => {
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
  await Deno.writeTextFile(preload, later); // The clock is the only part that must be faked.
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

Deno.test("program prefers the environment to the file and flags to the environment", async () => {
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

for (const transport of ["native", "ws"]) {
  Deno.test(`program on ${transport} shares its port with another relay in any working directory`, async () => {
    const env = {
      RELAY_SERVER_TRANSPORT: transport,
      RELAY_SERVER_HOSTNAME: "127.0.0.1",
      RELAY_SERVER_REUSE_PORT: "true",
    };
    await using one = await Program.start({ args: FREE_PORTS, env, cwd: directory });
    const { port } = new URL(one.url);
    const args = ["--port", port, "--metrics-port", "0"];
    await using other = await Program.start({ args, env });
    const connected = async (program: Program) =>
      (await scrape(program)).get("websocket_connected_clients")!;
    await using clients = new AsyncDisposableStack();
    while (await connected(one) === 0 || await connected(other) === 0) {
      assert(await connected(one) + await connected(other) < 100, "one gets no connection");
      clients.use(await connect(one));
    }
  });
}

Deno.test("program checks the path of a Unix socket, listens on it, and removes it", async () => {
  const path = `${directory}/relay.sock`;
  const env = { RELAY_SERVER_UNIX_SOCKET: path };
  assertEquals(await run({ args: ["--check"], env }), { code: 0, stdout: "ok\n", stderr: "" });
  await Deno.writeTextFile(path, "precious");
  for (const args of [["--check"], FREE_PORTS]) {
    assertEquals(await run({ args, env }), {
      code: 2,
      stdout: "",
      stderr: "Cannot use the configuration: 1 problem\n" +
        `  server.unix_socket must be a path where a socket can be created, got ${path}: something that is not a socket\n`,
    });
  }
  await Deno.remove(path);
  await using crashed = await Program.start({ env });
  crashed.signal("SIGKILL");
  await crashed.exited();
  assert(Deno.statSync(path).isSocket);
  await using program = await Program.start({ env });
  assertEquals([program.url, program.log[0].hostname], [`ws+unix:${path}:/`, path]);
  assertEquals(await run({ args: FREE_PORTS, env }), {
    code: 1,
    stdout: "",
    stderr:
      `Cannot listen on ${path}: another process listens there; set server.unix_socket to another path\n`,
  });
  await using alice = await connect(program);
  alice.send("hello");
  assertEquals(await alice.next(), "hello");
  program.signal("SIGTERM");
  await bounded(alice.closed, "the end");
  assertEquals(await program.exited(), 0);
  await assertRejects(() => Deno.lstat(path), Deno.errors.NotFound);
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

Deno.test("program reports when it was started", async () => {
  await using program = await Program.start();
  const started = (await scrape(program)).get("process_start_time_seconds")!;
  const { stdout } = await run({ command: ["ps", "-o", "etimes=", "-p", `${program.pid}`] });
  const want = Date.now() / 1000 - Number(stdout);
  assert(Math.abs(started - want) < 3, `it says ${started}, the system ${want}`);
});

Deno.test("program warns of too few descriptors, and continues when it runs out of them", async () => {
  const relay = `exec ${Deno.execPath()} run -A --quiet ${ROOT}main.ts "$@"`;
  const command = ["sh", "-c", `ulimit -n 100; ${relay}`, "relay"];
  await using program = await Program.start({ command, args: FREE_PORTS });
  const warning = "limits.max_connections is 10000, but this process may open only 100 files; " +
    "raise the limit (ulimit -n) or lower the setting";
  assert(program.log.some(({ message }) => message === warning), program.stderr);
  const raw = await Promise.allSettled(
    Array.from({ length: 120 }, () => RawClient.open(program)),
  );
  const lack = `File descriptors ran out on port ${new URL(program.url).port}; ` +
    "clients stay connected, and new ones wait until some are free";
  await until(() => program.log.some(({ message }) => message === lack), "the log line");
  for (const result of raw) if (result.status === "fulfilled") result.value.reset();
  await until(async () => {
    const alice = await connect(program).catch(() => null);
    await alice?.close();
    return alice !== null;
  }, "a newcomer to be admitted");
});

Deno.test("program warns that native is for trusted networks, but not on loopback or on ws", async () => {
  const warning =
    "server.transport native is meant for trusted networks, or for use behind a proxy; " +
    "set it to ws if strangers can reach the port";
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

Deno.test("program exits with 0 and counts a client that never reads as terminated", async () => {
  const env = {
    RELAY_SHUTDOWN_TIMEOUT_SECONDS: "1",
    RELAY_LIMITS_MAX_BACKLOG_BYTES: `${1024 ** 3}`, // The client is never slow.
  };
  await using program = await Program.start({ args: FREE_PORTS, env });
  await using alice = await connect(program);
  using stuck = await RawClient.join(program);
  stuck.pause();
  const backlog = async () => (await scrape(program)).get("websocket_backlog_bytes_max")!;
  for (let i = 0; await backlog() === 0; i++) {
    assert(i < 500, "the kernel takes everything");
    alice.send("x".repeat(1_000_000));
    await alice.next();
  }
  program.signal("SIGTERM");
  assertEquals(await program.exited(), 0);
  assertEquals(program.log.at(-1)!.message, "Stopped: 1 clients closed, 1 terminated");
});

for (const [signal, code] of [["SIGINT", 130], ["SIGTERM", 143]] as const) {
  Deno.test(`program exits at once with ${code} after a second signal, ${signal}`, async () => {
    const env = { RELAY_SHUTDOWN_DELAY_SECONDS: "60" };
    await using program = await Program.start({ args: FREE_PORTS, env });
    program.signal("SIGTERM");
    await until(() => program.logged("SIGTERM: shutting down"), "the first signal");
    await sleep(0.4); // The program ignores a second signal that follows sooner.
    program.signal(signal);
    assertEquals(await program.exited(), code);
  });
}

Deno.test("program and other clients survive a fragmented message of 600 MiB", async () => {
  const env = { RELAY_SERVER_IDLE_TIMEOUT_SECONDS: "60" };
  await using program = await Program.start({ args: FREE_PORTS, env });
  await using bob = await connect(program);
  using mallory = await RawClient.join(program);
  const piece = new Uint8Array(8 * 1024 * 1024).fill(97), pieces = 75;
  for (let i = 0; i < pieces; i++) {
    const opcode = i === 0 ? OPCODE.text : OPCODE.continuation;
    await mallory.sent(frame(opcode, piece, { fin: i === pieces - 1 }));
  }
  await until(() => program.logged("Unhandled rejection"), "the platform to give up", 60);
  assertMatch(program.log.at(-1)!.message, /carrying on: TypeError: failed to allocate string/);
  bob.send("still here");
  assertEquals(await bob.next(), "still here");
  program.signal("SIGTERM");
  assertEquals(await program.exited(), 0);
});

Deno.test("program does not keep the largest message in memory for every client", async () => {
  await using program = await Program.start();
  const raw = await Promise.all(Array.from({ length: 100 }, () => RawClient.join(program)));
  const memory = async () => (await scrape(program)).get("process_resident_memory_bytes")!;
  const before = await memory(), size = 1024 * 1024;
  raw[0].send(frame(OPCODE.binary, new Uint8Array(size)));
  for (const client of raw) assertEquals((await client.next()).payload.length, size);
  // Pinned buffers would stay and take 100 times the size of the message. Other garbage is collected in time.
  await until(async () => await memory() - before < 50 * size, "memory to be free again");
  for (const client of raw) client.reset();
});
