import { assertEquals, assertStringIncludes } from "@std/assert";
import { connect } from "../testing/client.ts";
import { has } from "../testing/daemon.ts";
import { Issuer } from "../testing/issuer.ts";
import { NatsServer } from "../testing/nats.ts";
import { Program, ROOT, run } from "../testing/program.ts";
import { tempFolder } from "../testing/temp.ts";

const FREE_PORTS = ["--port", "0", "--metrics-port", "0"];

async function relaysOneMessage(command: string[]): Promise<void> {
  await checksSignedTokens(command);
  for (const transport of ["native", "ws"]) {
    const env = { RELAY_SERVER_TRANSPORT: transport };
    await using program = await Program.start({ command, args: FREE_PORTS, env });
    await using alice = await connect(program);
    alice.send("from one file");
    assertEquals(await alice.next(), "from one file");
    const statusPage = await (await fetch(program.metricsUrl)).text();
    assertStringIncludes(statusPage, "<title>Relay status</title>");
  }
  if (!await has("nats-server", "nats-server")) return;
  await using nats = await NatsServer.start();
  const env = { RELAY_CLUSTER_SERVERS: nats.url };
  await using program = await Program.start({ command, args: FREE_PORTS, env });
  await using alice = await connect(program);
  alice.send("through NATS");
  assertEquals(await alice.next(), "through NATS");
}

async function checksSignedTokens(command: string[]): Promise<void> {
  await using folder = await tempFolder();
  const issuer = await Issuer.make("EdDSA");
  const keys = await folder.write("keys", JSON.stringify({ keys: [issuer.jwk] }));
  const env = { RELAY_SERVER_AUTH_KEYS_FILE: keys };
  await using program = await Program.start({ command, args: FREE_PORTS, env });
  const headers = { Authorization: `Bearer ${await issuer.token()}` };
  await using alice = await connect(program, { headers });
  alice.send("with a token");
  assertEquals(await alice.next(), "with a token");
}

Deno.test("deno task compile makes one executable that relays", async () => {
  const compile = (env: Record<string, string>) => {
    return run({ command: [Deno.execPath(), "task", "compile"], env }, 120);
  };
  const built = await compile({});
  try {
    if (built.code === 0) return await relaysOneMessage([`${ROOT}relay`]);
    assertStringIncludes(built.stderr, "denort");
    const standIn = await compile({ DENORT_BIN: await Deno.realPath(Deno.execPath()) });
    assertEquals(standIn.code, 0, standIn.stderr);
    console.warn(
      "SKIPPED: the compile runtime cannot be downloaded here. The executable was built around " +
        "another runtime and NOT run; instead the program that it holds was bundled and run.",
    );
  } finally {
    await Deno.remove(`${ROOT}relay`).catch(() => {});
  }
  await using folder = await tempFolder();
  const bundle = `${folder.path}/relay.js`;
  const bundled = await run({ command: [Deno.execPath(), "bundle", "-o", bundle, "main.ts"] });
  assertEquals(bundled.code, 0, bundled.stderr);
  await relaysOneMessage([Deno.execPath(), "run", "-A", "--no-config", bundle]);
});
