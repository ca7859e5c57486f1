import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import { connect } from "../testing/client.ts";
import { has } from "../testing/daemon.ts";
import { Commands } from "../testing/markdown.ts";
import { NatsServer } from "../testing/nats.ts";
import { Process, Program, ROOT, run } from "../testing/program.ts";
import { startRelay } from "../testing/start.ts";
import { tempFolder } from "../testing/temp.ts";
import { bounded, until } from "../testing/wait.ts";
import { CLOSE } from "../transport/close.ts";

const README: string = await Deno.readTextFile(`${ROOT}README.md`);
const COMMANDS = new Commands(README);
const FREE_PORTS = ["--port", "0", "--metrics-port", "0"];

for (
  const line of [
    "deno run -A main.ts",
    "npx -y deno@2.9.6 run -A main.ts",
    "deno run -A main.ts --demo",
  ]
) {
  Deno.test(`README's ${line} starts a relay`, async () => {
    const [program, ...args] = COMMANDS.take(line).split(" ");
    const command = [program === "deno" ? Deno.execPath() : program, ...args];
    await using relay = await Program.start({ command, args: FREE_PORTS });
    await using alice = await connect(relay), bob = await connect(relay);
    alice.send("hello");
    assertEquals([await alice.next(), await bob.next()], ["hello", "hello"]);
  });
}

Deno.test("README's three lines of client code talk to other clients", async () => {
  await using relay = await startRelay();
  await using folder = await tempFolder();
  const [, code] = /```js ignore\n([^]*?)```/.exec(README)!;
  assertEquals(code.trimEnd().split("\n").length, 3);
  const here = code.replace("ws://localhost:8443", relay.url);
  assertMatch(here, /127\.0\.0\.1/);
  await using bob = await connect(relay);
  const file = await folder.write("client.js", here);
  await using client = new Process({ command: [Deno.execPath(), "run", "--allow-net", file] });
  assertEquals(await bob.next(), "hello");
  await until(() => client.stdout === "hello\n", "the client to hear itself");
});

Deno.test("README's curl command sends a message", async () => {
  await using relay = await startRelay();
  await using bob = await connect(relay);
  const here = relay.url.replace("ws:", "http:");
  const command = COMMANDS.take("curl -d hello").replace("http://localhost:8443/", here).split(" ");
  assertEquals((await run({ command })).code, 0);
  assertEquals(await bob.next(), "hello");
});

Deno.test("README's command for the tests runs tests", async () => {
  const file = "admission/client_address_test.ts";
  const one = [...COMMANDS.take("npx -y deno@2.9.6 test").split(" "), file];
  const { code, stdout } = await run({ command: one });
  assertMatch(stdout, /^ok \| \d+ passed \| 0 failed/m);
  assertEquals(code, 0);
});

Deno.test("README's examples talk", async () => {
  await using relay = await startRelay();
  await using folder = await tempFolder();
  const example = (start: string) => {
    const words = COMMANDS.take(start)
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

Deno.test("README's broadcast lets clients with a token talk, and everybody else listen", async () => {
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
  COMMANDS.take("nats-server -js");
  await using nats = await NatsServer.start();
  const relays = COMMANDS.takeAll("RELAY_CLUSTER_SERVERS=");
  const join = async (line: string) => {
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

Deno.test("README has no command that nothing runs", () => {
  COMMANDS.take("deno task ok"); // By .ci/run.
  assertEquals([...COMMANDS.left], []);
});
