import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { connect } from "../testing/client.ts";
import { has } from "../testing/daemon.ts";
import { commandsOf } from "../testing/markdown.ts";
import { NatsServer } from "../testing/nats.ts";
import { Process, Program, ROOT, run } from "../testing/program.ts";
import { startRelay } from "../testing/start.ts";
import { tempFolder } from "../testing/temp.ts";
import { bounded, until } from "../testing/wait.ts";
import { CLOSE } from "../transport/close.ts";

const README: string = await Deno.readTextFile(`${ROOT}README.md`);
const COMMANDS = commandsOf(README);
const FREE_PORTS = ["--port", "0", "--metrics-port", "0"];

/** Finds the one command of the README that begins so; where each is run is said by the tests below. */
function command(start: string): string {
  const found = COMMANDS.filter((line) => line.startsWith(start));
  assertEquals(found.length, 1, `README has ${found.length} commands that begin with "${start}"`);
  tested.add(found[0]);
  return found[0];
}
const tested = new Set<string>();

Deno.test("README's first command relays", async () => {
  await using program = await Program.start({
    command: command("npx -y deno@2.9.6 run").split(" "),
    args: FREE_PORTS,
  });
  await using alice = await connect(program), bob = await connect(program);
  alice.send("hello");
  assertEquals([await alice.next(), await bob.next()], ["hello", "hello"]);
});

Deno.test("README's second command tests", async () => {
  const one = [...command("npx -y deno@2.9.6 test").split(" "), "admission/client_address_test.ts"];
  const { code, stdout } = await run({ command: one });
  assertMatch(stdout, /^ok \| \d+ passed \| 0 failed/m);
  assertEquals(code, 0);
});

Deno.test("README's examples talk", async () => {
  await using relay = await startRelay();
  await using folder = await tempFolder();
  const example = (start: string) => {
    const words = command(start)
      .replace("ws://localhost:8443", relay.url)
      .replace("examples/", `${ROOT}examples/`)
      .split(" ");
    return new Process({
      command: words.with(0, Deno.execPath()),
      stdin: "piped",
      cwd: folder.path,
    });
  };
  const log = await folder.write("server.log", "old\n");
  await using bob = await connect(relay);
  await using alice = example("deno run --allow-net examples/chat.ts");
  await alice.write("hello\n");
  assertEquals(await bob.next(), "alice<br>hello");
  await using tail = example("deno run --allow-net --allow-read examples/tail.ts");
  await until(() => tail.stderr.includes("Lines added"), "the log to be followed");
  await Deno.writeTextFile(log, "new\n", { append: true });
  assertEquals(await bob.next(), "new");
  await using _sensor = example("deno run --allow-net examples/sensor.ts");
  assertEquals(JSON.parse(await bob.next() as string).sensor, "window");
});

Deno.test("README's signed token is one with which a client talks", async () => {
  await using folder = await tempFolder();
  const shell = (line: string, url = "") => {
    const here = line.replaceAll("deno run", `${Deno.execPath()} run`)
      .replaceAll("examples/", `${ROOT}examples/`)
      .replace("ws://localhost:8443", url);
    return { command: ["sh", "-c", here], cwd: folder.path };
  };
  const { code, stdout, stderr } = await run(shell(command("deno run --allow-read")));
  assertEquals(code, 0, stderr);
  assertMatch(stdout, /^[\w-]+\.[\w-]+\.[\w-]+\n$/);
  const [setting, start] = command("RELAY_SERVER_AUTH_KEYS_FILE=").split(" deno run -A ");
  assertEquals(start, "main.ts");
  const [name, value] = setting.split("=");
  const program = { env: { [name]: value }, cwd: folder.path, args: FREE_PORTS };
  await using relay = await Program.start(program);
  const headers = { Authorization: `Bearer ${stdout.trim()}` };
  await using bob = await connect(relay, { headers });
  await using alice = new Process({
    ...shell(command("CHAT_TOKEN="), relay.url),
    stdin: "piped",
  });
  await alice.write("hello\n");
  assertEquals(await bob.next(), "alice<br>hello");
});

Deno.test("README's certificate works with the TLS example", async () => {
  await using folder = await tempFolder();
  const openssl = await run({ command: command("openssl").split(" "), cwd: folder.path });
  assertEquals(openssl.code, 0, openssl.stderr);
  const start = command("deno run -A main.ts --config").split(" ");
  const config = `${ROOT}${start.at(-1)}`;
  await using program = await Program.start({
    args: ["--config", config, ...FREE_PORTS],
    cwd: folder.path,
  });
  assertMatch(program.url, /^wss:/);
  const caCerts = [await Deno.readTextFile(`${folder.path}/cert.pem`)];
  using client = Deno.createHttpClient({ caCerts });
  await using alice = await connect(program, { client });
  alice.send("secret");
  assertEquals(await alice.next(), "secret");
});

Deno.test("README's broadcast lets who has a token talk, and everybody else listen", async () => {
  await using folder = await tempFolder();
  const [, yaml] = /^A broadcast[^]*?```yaml\n([^]*?)```/m.exec(README)!;
  assertEquals(yaml.trim().split("\n").length, 3);
  await folder.write("config.yaml", yaml);
  await folder.write("talkers.txt", "secret\n");
  await using program = await Program.start({ args: FREE_PORTS, cwd: folder.path });
  const headers = { Authorization: "Bearer secret" };
  await using alice = await connect(program, { headers });
  await using bob = await connect(program), cathy = await connect(program);
  alice.send("hello");
  assertEquals([await bob.next(), await cathy.next()], ["hello", "hello"]);
  bob.send("hello");
  assertEquals(await bounded(bob.closed, "the eviction"), CLOSE.role);
  await assertRejects(() => connect(program, { headers: { Authorization: "Bearer secre" } }));
});

Deno.test("README's cluster of two relays is one to their clients", async () => {
  if (!await has("nats-server", "nats-server")) return;
  command("nats-server -js");
  await using nats = await NatsServer.start();
  const relays = COMMANDS.filter((line) => line.startsWith("RELAY_CLUSTER_SERVERS="));
  const join = async (line: string) => {
    tested.add(line);
    const [setting, ...rest] = line.split(" ");
    assertEquals(rest.slice(0, 4), ["deno", "run", "-A", "main.ts"]);
    const [name, url] = setting.split("=");
    assertEquals(url, "nats://127.0.0.1:4222");
    return await Program.start({ env: { [name]: nats.url } });
  };
  assertEquals(relays.length, 2);
  await using first = await join(relays[0]);
  await using second = await join(relays[1]);
  await using alice = await connect(first), bob = await connect(second);
  alice.send("hello");
  assertEquals([await alice.next(), await bob.next()], ["hello", "hello"]);
});

Deno.test("README's curl commands answer", async () => {
  await using relay = await startRelay();
  const curl = async (line: string) => {
    const here = line.replace("http://localhost:9090/", relay.metricsUrl!)
      .replace("http://localhost:8443/", relay.url.replace("ws", "http"));
    return (await run({ command: here.split(" ") })).stdout;
  };
  await using alice = await connect(relay);
  await curl(command("curl -d hello"));
  assertEquals(await alice.next(), "hello");
  assertMatch(await curl(command("curl -s http://localhost:9090/metrics")), /^websocket_/m);
  assertEquals(await curl(command("curl -s http://localhost:9090/readyz")), "ready\n");
});

Deno.test("README's examples that publish by POST are heard", async () => {
  await using relay = await startRelay();
  await using alice = await connect(relay);
  const here = (start: string) =>
    command(start)
      .replace("http://localhost:8443/", relay.url.replace("ws", "http"))
      .replace(" 8000", " 0")
      .replace(/^deno/, Deno.execPath());
  const { code, stderr } = await run({ command: ["sh", "-c", here("echo ")] });
  assertEquals([code, stderr], [0, ""]);
  assertEquals(await alice.next(), "The backup is done.");
  const hook = here("deno run --allow-net examples/webhook.ts").split(" ");
  await using webhook = new Process({ command: hook });
  await until(() => webhook.stderr.includes(" goes to "), "the webhook to listen");
  const [url] = /http:\S+/.exec(webhook.stderr)!;
  const answer = await fetch(url, { method: "POST", body: '{"text": "It is broken"}' });
  await answer.body?.cancel();
  assertEquals(answer.status, 204);
  assertEquals(await alice.next(), "webhook<br>It is broken");
});

Deno.test("README has no command that nothing runs", () => {
  command("deno task ok"); // By .ci/run.
  command("deno task compile"); // By compile_slow_test.ts.
  assertEquals(COMMANDS.filter((line) => !tested.has(line)), []);
});

Deno.test("README's table of threats names only tests that exist", async () => {
  const [, table] = /^## Security\n([^]*?)^## /m.exec(README)!;
  const files = [...table.matchAll(/`([\w/]+_test\.ts)`/g)].map(([, file]) => file);
  assert(files.length > 10, "the table has gone");
  for (const file of new Set(files)) assert((await Deno.stat(`${ROOT}${file}`)).isFile);
});

Deno.test("README's table of deploy/ names each file there, and no other", () => {
  const [, table] = /^\| file in `deploy\/`([^]*?)\n\n/m.exec(README)!;
  const first = table.split("\n").map((row) => row.split("|")[1]).join();
  const named = [...first.matchAll(/\[([\w.@]+)\]|`([\w.@]+)`/g)].map(([, link, code]) =>
    link ?? code
  );
  const files = [...Deno.readDirSync(`${ROOT}deploy`)].map(({ name }) => name)
    .filter((name) => !name.endsWith(".ts"));
  assertEquals(named.toSorted(), files.toSorted());
});
