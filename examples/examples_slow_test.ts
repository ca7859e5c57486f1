import { assertEquals, assertMatch } from "@std/assert";
import type { Relay } from "../relay.ts";
import { connect } from "../testing/client.ts";
import { Process, type ProgramOptions, ROOT, run } from "../testing/program.ts";
import { startRelay } from "../testing/start.ts";
import { tempFolder } from "../testing/temp.ts";
import { until } from "../testing/wait.ts";
import { CLOSE } from "../transport/close.ts";

const DENO = [Deno.execPath(), "run", "--cached-only", "--allow-net"];
const chat = (...args: string[]) => [...DENO, `${ROOT}examples/chat.ts`, ...args];

async function says(program: Process, stream: "stdout" | "stderr", text: string): Promise<void> {
  await until(() => program[stream].includes(text), `a program to say ${text}`, 60);
}

async function startChat(url: string, name: string, options?: ProgramOptions): Promise<Process> {
  const program = new Process({ command: chat(url, name), stdin: "piped", ...options });
  await says(program, "stderr", "Connected to ");
  return program;
}

Deno.test("terminal client talks with those in the browser", async () => {
  await using relay = await startRelay();
  await using alice = await startChat(relay.url, "alice");
  await using bob = await connect(relay);
  await alice.write("Hello!\n\n");
  assertEquals(await bob.next(), "alice<br>Hello!");
  for (const message of ["bob<br>1 <br> 2", "no format", "<br>no name", new Uint8Array(12)]) {
    bob.send(message);
  }
  await says(alice, "stdout", "binary");
  assertEquals(alice.stdout.split("\n"), [
    "alice: Hello!",
    "bob: 1 <br> 2",
    "no format",
    "<br>no name",
    "(binary message, 12 bytes)",
    "",
  ]);
});

Deno.test("terminal client shows control characters, and does not pass them to the terminal", async () => {
  await using relay = await startRelay();
  await using alice = await startChat(relay.url, "alice");
  await using bob = await connect(relay);
  bob.send("b\x1b[2Job<br>\x1b]0;title\x07\r\nalice: \x9b31m\u2028\u202eforged\x7f");
  bob.send("\x1b[31mno format");
  await says(alice, "stdout", "no format");
  assertEquals(
    alice.stdout,
    "b␛[2Job: ␛]0;title␇␍␊alice: �31m��forged�\n␛[31mno format\n",
  );
});

Deno.test("terminal client sends all that is piped into it, and leaves", async () => {
  await using relay = await startRelay();
  await using bob = await connect(relay);
  await using alice = await startChat(relay.url, "alice");
  await alice.write(Array.from({ length: 1000 }, (_, line) => `line ${line}\n`).join(""));
  await alice.endInput();
  assertEquals(await alice.exited(), 0);
  const sent = Array.from({ length: 1000 }, (_, line) => `line ${line}`);
  assertEquals(await bob.take(1000), sent.map((line) => `alice<br>${line}`));
  assertEquals(alice.stdout, sent.map((line) => `alice: ${line}\n`).join(""));
});

Deno.test("terminal client says goodbye at Ctrl-C, and exits with 0", async () => {
  await using relay = await startRelay();
  await using alice = await startChat(relay.url, "alice");
  alice.signal("SIGINT");
  assertEquals([await alice.exited(), alice.stdout], [0, ""]);
  assertEquals(alice.stderr, `Connected to ${relay.url} as alice. Ctrl-C leaves.\n`);
  await until(() => relay.stats().connected === 0, "the relay to notice");
  assertEquals(relay.stats().evictions.error, 0, "there was a close frame");
});

Deno.test("terminal client says when and why the relay ends the connection", async () => {
  const relay = await startRelay();
  await using alice = await startChat(relay.url, "alice");
  await relay.stop();
  assertEquals(await alice.exited(), 1);
  assertMatch(
    alice.stderr,
    /\nThe relay has ended the connection \(code 1001 server shutting down\)\.\n$/,
  );
});

Deno.test("terminal client says in one line why it cannot start", async () => {
  await using folder = await tempFolder();
  const tokens = await folder.write("tokens", "right\n");
  await using relay = await startRelay({ server: { auth_tokens_file: tokens } });
  const { url } = relay;
  const usage = "Usage: deno run --allow-net examples/chat.ts URL NAME\n";
  const cases: [command: string[], code: number, stderr: string][] = [
    [chat(), 2, usage],
    [chat(url), 2, usage],
    [chat(url, "alice", "bob"), 2, usage],
    [chat(url, "a<br>b"), 2, "NAME must not contain <br>, got a<br>b\n"],
    [
      chat("localhost:8443", "alice"),
      2,
      "Cannot connect to localhost:8443: Only ws & wss schemes are allowed in a WebSocket URL: received localhost:\n",
    ],
    [
      chat("ws://127.0.0.1:1", "alice"),
      1,
      "Cannot connect to ws://127.0.0.1:1: tcp connect error (is a relay running there?)\n",
    ],
    [
      chat(url, "alice"),
      1,
      `Cannot connect to ${url}: Invalid status code: 401 (it wants a token that is right: CHAT_TOKEN, with --allow-env=CHAT_TOKEN)\n`,
    ],
    [
      chat(url, "alice").filter((word) => word !== "--allow-net"),
      2,
      `Cannot connect to ${url}: Requires net access to "${
        new URL(url).host
      }", run again with the --allow-net flag\n`,
    ],
  ];
  for (const [command, code, stderr] of cases) {
    assertEquals(await run({ command }), { code, stdout: "", stderr });
  }
  const command = chat(url, "alice").toSpliced(2, 0, "--allow-env=CHAT_TOKEN");
  await using alice = await startChat(url, "alice", { command, env: { CHAT_TOKEN: "right" } });
  assertEquals(relay.stats().connected, 1);
  alice.signal("SIGINT");
  assertEquals(await alice.exited(), 0);
});

Deno.test("terminal client uses colours on a terminal, and shows typed lines once", async () => {
  await using relay = await startRelay();
  await using bob = await connect(relay);
  const talk = async (environment: string) => {
    const client = `exec env ${environment} ${chat(relay.url, "alice").join(" ")}`;
    const command = ["script", "--quiet", "--return", "--command", client, "/dev/null"];
    await using alice = new Process({ command, stdin: "piped" });
    await says(alice, "stdout", "Connected to ");
    await alice.write("typed\n");
    assertEquals(await bob.next(), "alice<br>typed");
    bob.send("bob<br>Hello!");
    await bob.next();
    await says(alice, "stdout", "Hello!");
    await alice.write("\x03"); // Ctrl-C, as the terminal sends it.
    assertEquals(await alice.exited(), 0);
    return alice.stdout.replaceAll("\r\n", "\n");
  };
  const connected = `Connected to ${relay.url} as alice. Ctrl-C leaves.`;
  assertEquals(
    await talk("-u NO_COLOR"),
    `\x1b[2m${connected}\x1b[0m\ntyped\n\x1b[1;36mbob:\x1b[0m Hello!\n^C`,
  );
  assertEquals(await talk("NO_COLOR=1"), `${connected}\ntyped\nbob: Hello!\n^C`);
});

Deno.test("sensor publishes JSON, and comes back when the relay does", async () => {
  const before = await startRelay();
  await using sensor = new Process({
    command: [...DENO, `${ROOT}examples/sensor.ts`, before.url, "window"],
  });
  const measurement = async (relay: { url: string }) => {
    await using bob = await connect(relay);
    const { sensor, at, celsius } = JSON.parse(await bob.next() as string);
    assertEquals([sensor, typeof celsius, new Date(at).toISOString()], ["window", "number", at]);
  };
  await measurement(before);
  await before.stop();
  await says(sensor, "stderr", "(code 1001 server shutting down), trying again");
  await using after = await startRelay({ server: { port: Number(new URL(before.url).port) } });
  await measurement(after);
});

Deno.test("tail sends the lines that are added to a file, also after it was cut or replaced", async () => {
  await using relay = await startRelay();
  await using bob = await connect(relay);
  await using folder = await tempFolder();
  const path = `${folder.path}/log`;
  const append = (text: string) => Deno.writeTextFile(path, text, { append: true });
  await append("old\n");
  await using tail = new Process({
    command: [...DENO, "--allow-read", `${ROOT}examples/tail.ts`, relay.url, path],
  });
  await says(tail, "stderr", "Lines added to ");
  await append("one\n\ntw");
  assertEquals(await bob.take(2), ["one", ""]);
  await append("o\n");
  assertEquals(await bob.next(), "two");
  await Deno.writeTextFile(path, "3\n");
  assertEquals(await bob.next(), "3");
  for (let rotation = 0; rotation < 3; rotation++) {
    await append("half a ");
    await Deno.rename(path, `${path}.${rotation}`);
    await append(""); // As logrotate does before the writer is told.
    await Deno.writeTextFile(`${path}.${rotation}`, "line\n", { append: true });
    await append("new\nlonger than what was in the old file\n");
    const lines = ["half a line", "new", "longer than what was in the old file"];
    assertEquals(await bob.take(3), lines);
  }
  await append("unfinished");
  await Deno.truncate(path);
  await append("cut\n");
  assertEquals(await bob.next(), "cut");
  await Deno.remove(path);
  await append("back\n");
  assertEquals(await bob.next(), "back");
  await relay.stop();
  assertEquals(await tail.exited(), 1);
});

Deno.test("reconnecting client comes back after a restart and a loss, and not after its own fault", async () => {
  const before = await startRelay();
  const port = Number(new URL(before.url).port);
  await using client = new Process({
    command: [...DENO, `${ROOT}examples/reconnect.ts`, before.url],
  });
  const hears = async (relay: Relay, text: string) => {
    await until(() => relay.stats().connected === 1, "the client to come");
    await using bob = await connect(relay);
    bob.send(text);
    await says(client, "stdout", text);
  };
  await hears(before, "before");
  await before.stop();
  await says(client, "stderr", "(code 1001 server shutting down)");
  const after = await startRelay({ server: { port } });
  await hears(after, "after");
  await after.stop();
  let joined = 0;
  await using server = Deno.serve(
    { hostname: "127.0.0.1", port, onListen: () => {} },
    (request) => {
      const { socket, response } = Deno.upgradeWebSocket(request);
      const [code, reason] = joined++ === 0
        ? [CLOSE.gap.code, CLOSE.gap.reason]
        : [CLOSE.expired.code, CLOSE.expired.reason];
      socket.onopen = () => socket.close(code, reason);
      return response;
    },
  );
  assertEquals(await client.exited(), 1);
  assertEquals(joined, 2);
  assertMatch(client.stderr, /1012 messages were lost[^]*1008 token expired\)\n$/);
  await server.shutdown();
});
