import { assertEquals, assertMatch } from "@std/assert";
import { connect } from "../testing/client.ts";
import { Commands } from "../testing/markdown.ts";
import { Process, Program, ROOT, run } from "../testing/program.ts";
import { tempFolder } from "../testing/temp.ts";

const COMMANDS = new Commands(await Deno.readTextFile(`${ROOT}docs/configuration.md`));
const FREE_PORTS = ["--port", "0", "--metrics-port", "0"];

Deno.test("configuration.md's signed token lets a client talk", async () => {
  await using folder = await tempFolder();
  const shell = (line: string, url = "") => {
    const here = line.replaceAll("deno run", `${Deno.execPath()} run`)
      .replaceAll("examples/", `${ROOT}examples/`)
      .replace("ws://localhost:8443", url);
    return { command: ["sh", "-c", here], cwd: folder.path };
  };
  const { code, stdout, stderr } = await run(shell(COMMANDS.take("deno run --allow-read")));
  assertEquals(code, 0, stderr);
  assertMatch(stdout, /^[\w-]+\.[\w-]+\.[\w-]+\n$/);
  const [setting, start] = COMMANDS.take("RELAY_SERVER_AUTH_KEYS_FILE=").split(" deno run -A ");
  assertEquals(start, "main.ts");
  const [name, value] = setting.split("=");
  const program = { env: { [name]: value }, cwd: folder.path, args: FREE_PORTS };
  await using relay = await Program.start(program);
  const headers = { Authorization: `Bearer ${stdout.trim()}` };
  await using bob = await connect(relay, { headers });
  await using alice = new Process({
    ...shell(COMMANDS.take("CHAT_TOKEN="), relay.url),
    stdin: "piped",
  });
  await alice.write("hello\n");
  assertEquals(await bob.next(), "alice<br>hello");
});

Deno.test("configuration.md's certificate works with the TLS example", async () => {
  await using folder = await tempFolder();
  const openssl = await run({ command: COMMANDS.take("openssl").split(" "), cwd: folder.path });
  assertEquals(openssl.code, 0, openssl.stderr);
  const start = COMMANDS.take("deno run -A main.ts --config").split(" ");
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

Deno.test("configuration.md has no command that nothing runs", () => {
  assertEquals([...COMMANDS.left], []);
});
