import { assertEquals, assertMatch } from "@std/assert";
import { DEFAULT_CONFIG } from "../config.ts";
import { makeCertificate } from "../testing/certificate.ts";
import { connect } from "../testing/client.ts";
import { freePort, has } from "../testing/daemon.ts";
import { NatsServer } from "../testing/nats.ts";
import { Process, Program, run } from "../testing/program.ts";
import { tempFolder } from "../testing/temp.ts";
import { until } from "../testing/wait.ts";

const here = await has("nats-server", "nats-server");

/** Registers a test that needs a real server. */
function test(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, ignore: !here, fn });
}

/** The most bytes of a NATS message besides a client's message: headers, and the form of batches. */
const HEADROOM_BYTES = 488;

const FREE_PORTS = ["--port", "0", "--metrics-port", "0"];

/** The environment of a relay in a cluster. */
function envOf(servers: string, more: Record<string, string> = {}): Record<string, string> {
  return { RELAY_CLUSTER_SERVERS: servers, RELAY_CLUSTER_PATIENCE_SECONDS: "1", ...more };
}

/** Asserts that the program fails with one line and an exit code, both when started and with --check. */
async function assertFails(env: Record<string, string>, why: string, code = 1): Promise<void> {
  for (const args of [["--check"], FREE_PORTS]) {
    assertEquals(await run({ args, env }), { code, stdout: "", stderr: `${why}\n` });
  }
}

/** Asserts the same of a problem that may pass. A relay that starts says that it waits. */
async function assertWaitsAndFails(env: Record<string, string>, why: string): Promise<void> {
  const failed = { code: 1, stdout: "", stderr: `${why}\n` };
  assertEquals(await run({ args: ["--check"], env }), failed);
  const { stderr, ...ended } = await run({ args: FREE_PORTS, env });
  const waits = `[WRN] relay: ${why}; trying for 1 s\n`;
  assertEquals({ ...ended, stderr: stderr.replace(/^\S+ /, "") }, {
    ...failed,
    stderr: waits + failed.stderr,
  });
}

test("program without a NATS server, or with one without JetStream, says so and exits with 1", async () => {
  const refused = `nats://127.0.0.1:${freePort()}`;
  await assertWaitsAndFails(
    envOf(refused),
    `Cannot use NATS at ${refused}: connection refused; see cluster.servers`,
  );
  await assertWaitsAndFails(
    envOf("nats://alice:secret@nowhere.invalid"),
    "Cannot use NATS at nats://nowhere.invalid: there is no such host; see cluster.servers",
  );
  await using nats = await NatsServer.start({ jetStream: null });
  await assertFails(
    envOf(nats.url),
    `Cannot use NATS at ${nats.url}: JetStream is not enabled on cluster.servers; ` +
      "nats-server enables it with -js",
  );
});

test("program that waits for NATS survives SIGHUP", async () => {
  await using program = new Process({
    args: FREE_PORTS,
    env: envOf(`nats://127.0.0.1:${freePort()}`),
  });
  await until(() => program.stderr.includes("trying for 1 s"), "the relay to wait");
  program.signal("SIGHUP");
  assertEquals(await program.exited(), 1);
});

test("program that NATS does not admit, or that does not trust NATS, says so and exits with 1", async () => {
  await using folder = await tempFolder();
  const { cert_file, key_file } = await makeCertificate(folder.path, "nats");
  const config = 'authorization { user: alice, password: "secret" }\n' +
    `tls { cert_file: "${cert_file}", key_file: "${key_file}" }`;
  await using nats = await NatsServer.start({ config });
  const at = `tls://127.0.0.1:${nats.port}`;
  await assertFails(
    envOf(`tls://alice:secret@127.0.0.1:${nats.port}`),
    `Cannot use NATS at ${at}: its certificate is not trusted: self-signed certificate; ` +
      "see cluster.tls_ca_file",
  );
  const trusting = { RELAY_CLUSTER_TLS_CA_FILE: cert_file };
  await assertFails(
    envOf(`tls://alice:wrong@127.0.0.1:${nats.port}`, trusting),
    `Cannot use NATS at ${at}: it does not accept the user and password in cluster.servers, ` +
      "or cluster.credentials_file",
  );
  assertEquals(
    await run({
      args: ["--check"],
      env: envOf(`tls://alice:secret@127.0.0.1:${nats.port}`, trusting),
    }),
    { code: 0, stdout: "ok\n", stderr: "" },
  );
});

test("program that cannot use a file of its cluster names the file and exits with 2", async () => {
  await using folder = await tempFolder();
  const broken = await folder.write("relay.creds", "secret\n");
  const cases: [key: string, file: string, problem: string][] = [
    [
      "CREDENTIALS_FILE",
      "/nowhere",
      "Cannot read /nowhere of cluster.credentials_file: there is no such file",
    ],
    [
      "CREDENTIALS_FILE",
      broken,
      `Cannot use ${broken} of cluster.credentials_file: it must be a .creds file of NATS`,
    ],
    [
      "TLS_CA_FILE",
      "/nowhere",
      "Cannot read /nowhere of cluster.tls_ca_file: there is no such file",
    ],
  ];
  for (const [key, file, problem] of cases) {
    await assertFails(
      envOf("tls://127.0.0.1:1", { [`RELAY_CLUSTER_${key}`]: file }),
      `Cannot use the configuration: 1 problem\n  ${problem}`,
      2,
    );
  }
});

test("program checks a cluster without leaving anything in it", async () => {
  await using nats = await NatsServer.start();
  const ok = { code: 0, stdout: "ok\n", stderr: "" };
  assertEquals(await run({ args: ["--check"], env: envOf(nats.url) }), ok);
  await using program = await Program.start({ env: envOf(nats.url) });
  await using alice = await connect(program);
  assertEquals(await run({ args: ["--check"], env: envOf(nats.url) }), ok);
  await assertFails(
    envOf(nats.url, { RELAY_CLUSTER_RETENTION_SECONDS: "60" }), // Unlike the stream.
    `Cannot use NATS at ${nats.url}: stream relay is there with other settings: ` +
      "cluster.retention_seconds must be 120 as in the stream, got 60 " +
      "(or delete it: nats stream rm relay)",
  );
  alice.send("hello");
  assertEquals(await alice.next(), "hello");
});

test("program reports its cluster and how large messages may be in it", async () => {
  await using nats = await NatsServer.start({ config: "max_payload: 20000" });
  const fits = 20_000 - HEADROOM_BYTES;
  {
    await using program = await Program.start({ env: envOf(nats.url) });
    const line = program.log.find(({ url }) => url !== undefined)!;
    assertEquals(
      line.cluster,
      `relay at ${nats.url}, whose max_payload has room for messages of ${fits} bytes`,
    );
    assertMatch(
      line.message,
      /web page\. Cluster: relay at nats:\/\/127\.0\.0\.1:\d+, whose .* bytes\. /,
    );
    await using alice = await connect(program);
    alice.send("x".repeat(fits));
    assertEquals(await alice.next(), "x".repeat(fits));
    alice.send("x".repeat(fits + 1));
    assertEquals(await alice.closed, { code: 1009, reason: "message too big" });
  }
  const set = (bytes: number) => envOf(nats.url, { RELAY_LIMITS_MAX_MESSAGE_BYTES: `${bytes}` });
  {
    await using program = await Program.start({ env: set(fits) });
    assertEquals(program.log.find(({ url }) => url)!.cluster, `relay at ${nats.url}`);
  }
  for (const bytes of [fits + 1, DEFAULT_CONFIG.limits.max_message_bytes]) {
    await assertFails(
      set(bytes),
      "Cannot use the configuration: 1 problem\n" +
        `  limits.max_message_bytes must be at most ${fits}, since messages have to fit into ` +
        `max_payload of the NATS server at ${nats.url}, got ${bytes}`,
      2,
    );
  }
});

/** What the user may not do, the NATS settings that forbid it, and the program's message. */
const FORBIDDEN: [what: string, permissions: string, why: string][] = [
  ["publish", 'publish: { deny: "relay" }', "publish to relay"],
  [
    "read the stream",
    'publish: { deny: "$JS.API.CONSUMER.>" }',
    "publish to $JS.API.CONSUMER.CREATE.relay",
  ],
  ["find the stream", 'publish: { deny: "$JS.API.>" }', "publish to $JS.API.STREAM.INFO.relay"],
  ["answer flow control", 'publish: { deny: "$JS.FC.>" }', "publish to $JS.FC.relay.check"],
  ["hear answers", 'subscribe: { deny: "_INBOX.>" }', "subscribe to _INBOX.>"],
];

/** Returns settings with a user `admin` without restrictions and a user `relay` with some. */
function restricted(permissions: string): string {
  return `authorization { users: [ { user: admin, password: pw },
    { user: relay, password: pw, permissions: { ${permissions} } } ] }`;
}

test("program whose user lacks a permission names it and exits with 1", async () => {
  for (const [, permissions, why] of FORBIDDEN) {
    await using nats = await NatsServer.start({ config: restricted(permissions) });
    await using _ = await Program.start({
      env: envOf(`nats://admin:pw@127.0.0.1:${nats.port}`),
    }); // Creates the stream.
    await assertFails(
      envOf(`nats://relay:pw@127.0.0.1:${nats.port}`),
      `Cannot use NATS at ${nats.url}: its user may not ${why}; ` +
        "see cluster.servers or cluster.credentials_file",
    );
  }
});

test("program that loses the permission to publish says so once and loses its cluster", async () => {
  await using nats = await NatsServer.start({ config: restricted("") });
  await using program = await Program.start({
    env: envOf(`nats://relay:pw@127.0.0.1:${nats.port}`),
  });
  await using alice = await connect(program);
  alice.send("hello");
  assertEquals(await alice.next(), "hello");
  await nats.reconfigure(restricted('publish: { deny: "relay" }'));
  alice.send("not any more");
  assertEquals(await alice.closed, { code: 1013, reason: "try again later" });
  const complaint = `Cannot use NATS at ${nats.url}: its user may not publish to relay; ` +
    "see cluster.servers or cluster.credentials_file; trying again";
  assertEquals(program.log.filter(({ message }) => message === complaint).length, 1);
  assertEquals(program.logged("Connected again to the cluster"), false);
  await nats.reconfigure(restricted(""));
  await until(() => program.logged("Connected again to the cluster"), "the relay to recover");
});
