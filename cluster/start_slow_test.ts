import { assert, assertEquals, assertRejects } from "@std/assert";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { clusterSettings, Speaker } from "../testing/bus.ts";
import { makeCertificate } from "../testing/certificate.ts";
import { freePort, has } from "../testing/daemon.ts";
import { NatsServer } from "../testing/nats.ts";
import { Operator } from "../testing/nats_operator.ts";
import { tempFolder } from "../testing/temp.ts";
import { until } from "../testing/wait.ts";
import { type ClusterSettings, connectBus } from "./nats.ts";

const here = await has("nats-server", "nats-server");

/** Registers a test that needs a real server. */
function test(name: string, run: () => Promise<void>): void {
  Deno.test({ name, ignore: !here, fn: run });
}

/** Connects, expects that to fail soon after the patience at the latest, and returns the error message. */
async function failure(changes: Partial<ClusterSettings>): Promise<string> {
  const settings = clusterSettings({ patience_seconds: 1, ...changes });
  const { message } = await assertRejects(() => connectBus(settings, 0), Error);
  assert(!message.includes("\n") && !message.includes("secret"), message);
  return message;
}

test("a bus without a server says which one refused or which host does not exist", async () => {
  const refused = `nats://127.0.0.1:${freePort()}`;
  assertEquals(
    await failure({ servers: [refused] }),
    `Cannot use NATS at ${refused}: connection refused; see cluster.servers`,
  );
  assertEquals(
    await failure({ servers: ["nats://alice:secret@nowhere.invalid"] }),
    "Cannot use NATS at nats://nowhere.invalid: there is no such host; see cluster.servers",
  );
});

test("a bus whose server does not answer says so", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const url = `nats://127.0.0.1:${listener.addr.port}`;
  assertEquals(
    await failure({ servers: [url] }),
    `Cannot use NATS at ${url}: no answer; see cluster.servers`,
  );
});

test("a bus waits for a server that comes up within its patience", async () => {
  await using server = await NatsServer.start();
  await server.stop();
  const bus = connectBus(clusterSettings({ servers: [server.url] }), 0);
  await server.restart();
  await (await bus).stop();
});

test("a bus uses the next server if the first is unreachable", async () => {
  await using server = await NatsServer.start();
  const servers = [`nats://127.0.0.1:${freePort()}`, server.url];
  await using alice = await Speaker.start("a", { servers });
  assertEquals(alice.bus.engine, servers.join(", "));
  await alice.say("hello");
});

test("a bus without JetStream says how to enable it", async () => {
  await using server = await NatsServer.start({ jetStream: null });
  assertEquals(
    await failure({ servers: [server.url] }),
    `Cannot use NATS at ${server.url}: JetStream is not enabled on cluster.servers; ` +
      "nats-server enables it with -js",
  );
});

test("a bus sends user and password and says when they are wrong", async () => {
  const config = 'authorization { user: "al@ce", password: "sec/ret" }';
  await using server = await NatsServer.start({ config });
  const at = `127.0.0.1:${server.port}`;
  await using alice = await Speaker.start("a", { servers: [`nats://al%40ce:sec%2Fret@${at}`] });
  await alice.say("hello");
  assertEquals(alice.bus.engine, `nats://${at}`);
  const why = "it does not accept the user and password in cluster.servers, " +
    "or cluster.credentials_file";
  for (const servers of [[`nats://al%40ce:secret@${at}`], [`nats://${at}`]]) {
    assertEquals(await failure({ servers }), `Cannot use NATS at nats://${at}: ${why}`);
  }
});

test("a bus sends a token that stands alone before the @", async () => {
  await using server = await NatsServer.start({ config: 'authorization { token: "s3cr3t" }' });
  await using alice = await Speaker.start("a", {
    servers: [`nats://s3cr3t@127.0.0.1:${server.port}`],
  });
  await alice.say("hello");
});

test("a bus sends credentials from a file and says when they are wrong", async () => {
  const operator = new Operator(), other = new Operator();
  await using server = await NatsServer.start({ config: operator.config });
  await using folder = await tempFolder();
  const file = await folder.write("relay.creds", operator.makeCredentials());
  await using alice = await Speaker.start("a", { servers: [server.url], credentials_file: file });
  await alice.say("hello");
  const foreign = await folder.write("foreign.creds", other.makeCredentials());
  const why = `Cannot use NATS at ${server.url}: it does not accept the user and password in ` +
    "cluster.servers, or cluster.credentials_file";
  for (const credentials_file of [foreign, ""]) {
    assertEquals(await failure({ servers: [server.url], credentials_file }), why);
  }
});

test("a bus trusts the configured CA and says when a certificate is not trusted", async () => {
  await using folder = await tempFolder();
  const { cert_file, key_file } = await makeCertificate(folder.path, "nats");
  const config = `tls { cert_file: "${cert_file}", key_file: "${key_file}" }`;
  await using server = await NatsServer.start({ config });
  const servers = [`tls://127.0.0.1:${server.port}`];
  await using alice = await Speaker.start("a", { servers, tls_ca_file: cert_file });
  await alice.say("hello");
  assertEquals(
    await failure({ servers }),
    `Cannot use NATS at ${servers}: its certificate is not trusted: self-signed certificate; see cluster.tls_ca_file`,
  );
  assertEquals(
    await failure({ servers: [server.url] }),
    `Cannot use NATS at ${server.url}: its certificate is not trusted: self-signed certificate; see cluster.tls_ca_file`,
  );
});

test("a bus that requires TLS says when the server has none", async () => {
  await using server = await NatsServer.start();
  const url = `tls://127.0.0.1:${server.port}`;
  assertEquals(
    await failure({ servers: [url] }),
    `Cannot use NATS at ${url}: it has no TLS; cluster.servers must begin with nats://`,
  );
});

test("a bus names a file that it cannot read", async () => {
  const servers = ["tls://127.0.0.1:1"];
  assertEquals(
    await failure({ servers, credentials_file: "/nowhere/relay.creds" }),
    "Cannot read /nowhere/relay.creds of cluster.credentials_file: there is no such file",
  );
  assertEquals(
    await failure({ servers, tls_ca_file: "/tmp" }),
    "Cannot read /tmp of cluster.tls_ca_file: Is a directory (os error 21)",
  );
  await using folder = await tempFolder();
  const file = await folder.write("relay.creds", "secret\n");
  assertEquals(
    await failure({ servers, credentials_file: file }),
    `Cannot use ${file} of cluster.credentials_file: it must be a .creds file of NATS`,
  );
});

test("a bus names every setting in which a stream differs and accepts one without differences", async () => {
  await using server = await NatsServer.start();
  const servers = [server.url];
  await using alice = await Speaker.start("a", { servers });
  await using bob = await Speaker.start("b", { servers });
  await alice.say("hello");
  await bob.hears("hello");
  assertEquals(
    await failure({ servers, storage: "memory", retention_seconds: 60, max_bytes: 1048576 }),
    `Cannot use NATS at ${server.url}: stream relay is there with other settings: ` +
      "cluster.storage must be file as in the stream, got memory; " +
      "cluster.retention_seconds must be 120 as in the stream, got 60; " +
      "cluster.max_bytes must be 268435456 as in the stream, got 1048576 " +
      "(or delete it: nats stream rm relay)",
  );
});

test("a bus says when it cannot create its stream", async () => {
  await using server = await NatsServer.start({ jetStream: "max_file: 1GB, max_mem: 1GB" });
  const servers = [server.url], at = `Cannot use NATS at ${server.url}: `;
  assertEquals(
    await failure({ servers, replicas: 3 }),
    at + "cluster.replicas is 3, but there are fewer servers with JetStream",
  );
  assertEquals(
    await failure({ servers, max_bytes: 2 ** 40 }),
    at + "there is no room for cluster.max_bytes, 1099511627776, in cluster.storage, file",
  );
  const connection = await connect({ port: server.port });
  const manager = await jetstreamManager(connection);
  await manager.streams.add({ name: "all", subjects: ["*"] });
  await connection.close();
  assertEquals(
    await failure({ servers }),
    at + "another stream takes the subject relay already; give cluster.name another value",
  );
});

test("many buses that start at once share one stream", async () => {
  await using server = await NatsServer.start();
  const names = [..."abcdefgh"];
  const all = await Promise.all(
    names.map((name) => Speaker.start(name, { servers: [server.url] })),
  );
  await Promise.all(all.map((each) => each.say()));
  for (const speaker of all) {
    await until(() => speaker.heard.length === names.length, "all to hear all");
  }
  for (const speaker of all) assertEquals(speaker.heard, all[0].heard);
  await Promise.all(all.map(({ bus }) => bus.stop()));
});
