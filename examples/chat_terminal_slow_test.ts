import { assert, assertEquals, assertMatch } from "@std/assert";
import { connect, roomOf } from "../testing/client.ts";
import { Wire } from "../testing/nats.ts";
import { Process, type ProgramOptions, ROOT, run } from "../testing/program.ts";
import { ScriptedRelay } from "../testing/scripted_relay.ts";
import { startRelay } from "../testing/start.ts";
import { tempFolder } from "../testing/temp.ts";
import { until } from "../testing/wait.ts";

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

Deno.test("terminal client shows what would steer the terminal, and does not pass it on", async () => {
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

Deno.test("terminal client on a terminal has colours, and shows once what is typed", async () => {
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

Deno.test("terminal client talks in the room that its URL names", async () => {
  await using relay = await startRelay({ relay: { rooms: true } });
  await using bob = await connect(roomOf(relay, "/caf%C3%A9%201"));
  await using alice = await startChat(`${relay.url}caf\u00e9 1`, "alice");
  await using cathy = await startChat(`${relay.url}caf%C3%A9%201?some=thing`, "cathy");
  await alice.write("Hello!\n");
  assertEquals(await bob.next(), "alice<br>Hello!");
  await says(cathy, "stdout", "alice: Hello!\n");
});

Deno.test("terminal client shows what was said before, as much as it is asked for", async () => {
  await using relay = await startRelay({ relay: { history_seconds: 60 } });
  await using bob = await connect(relay);
  for (let count = 1; count <= 60; count++) bob.send(`message ${count}`);
  await bob.take(60);
  await using alice = await startChat(relay.url, "alice");
  await using cathy = await startChat(`${relay.url}?last=2`, "cathy");
  for (const program of [alice, cathy]) await says(program, "stdout", "message 60\n");
  assert(alice.stdout.startsWith("message 11\n"));
  assertEquals(cathy.stdout, "message 59\nmessage 60\n");
});

Deno.test("terminal client comes back, misses nothing and repeats nothing", async () => {
  await using relay = await startRelay({ relay: { history_seconds: 60 } });
  await using wire = new Wire(Number(new URL(relay.url).port));
  await using bob = await connect(relay);
  await using alice = await startChat(wire.url.replace("nats:", "ws:"), "alice");
  const sent: string[] = [];
  const say = async (...messages: string[]) => {
    for (const message of messages) {
      bob.send(message);
      sent.push(`${await bob.next()}\n`);
    }
  };
  await say("yes", "no", "yes");
  await says(alice, "stdout", "no\nyes\n");
  wire.cut();
  await say("yes", "yes", "no");
  await says(alice, "stderr", "Trying again in");
  await alice.write("typed meanwhile\n");
  wire.mend();
  await says(alice, "stderr", "Connected again to");
  await says(alice, "stdout", "alice: typed meanwhile\n");
  assertEquals(alice.stdout, `${sent.join("")}alice: typed meanwhile\n`);
  assert(!alice.stderr.includes("missing"), alice.stderr);
});

Deno.test("terminal client says that messages may be missing where the relay keeps none", async () => {
  const before = await startRelay();
  await using alice = await startChat(before.url, "alice");
  await alice.write("one\n");
  await says(alice, "stdout", "alice: one\n");
  await before.stop();
  await says(alice, "stderr", "(code 1001 server shutting down). Trying again in 1 s.\n");
  await using _after = await startRelay({ server: { port: Number(new URL(before.url).port) } });
  await says(alice, "stderr", "Connected again to");
  await says(alice, "stderr", "Messages may be missing here.\n");
  await alice.endInput();
  assertEquals(await alice.exited(), 0);
});

Deno.test("terminal client says which ends are for good, and leaves", async () => {
  await using relay = new ScriptedRelay();
  for (
    const [code, reason, words] of [
      [1008, "token expired", "(code 1008 token expired). Get a new token.\n"],
      [1008, "", "(code 1008).\n"],
      [1002, "", "(code 1002).\n"],
      [1007, "", "(code 1007).\n"],
    ] as const
  ) {
    await using alice = await startChat(relay.url, "alice");
    relay.end(code, reason);
    assertEquals(await alice.exited(), 1);
    assert(alice.stderr.endsWith(`The relay has ended the connection ${words}`), alice.stderr);
  }
});

Deno.test("terminal client comes back after all other ends", async () => {
  await using relay = new ScriptedRelay();
  await using _alice = await startChat(relay.url, "alice");
  const ends = [[1001, "server shutting down"], [1012, "messages were lost"], [1011, ""], [
    1013,
    "try again later",
  ]] as const;
  for (const [count, [code, reason]] of ends.entries()) {
    relay.end(code, reason);
    await until(() => relay.asked.length === count + 2, "it to come back");
    await until(() => relay.connected === 1, "it to be connected");
  }
});

Deno.test("terminal client leaves when its lines may not be sent, or a part was not", async () => {
  await using folder = await tempFolder();
  const tokens = await folder.write("tokens", "right\n");
  await using relay = await startRelay({
    server: { auth_tokens_file: tokens, without_token: "listen" },
    limits: { max_message_bytes: 30 },
  });
  await using alice = await startChat(relay.url, "alice");
  await alice.write("May I?\n");
  assertEquals(await alice.exited(), 1);
  assertMatch(alice.stderr, /not allowed to send\)\. You may listen here, but not talk\.\n$/);
  const command = chat(relay.url, "bob").toSpliced(2, 0, "--allow-env=CHAT_TOKEN");
  await using bob = await startChat(relay.url, "bob", { command, env: { CHAT_TOKEN: "right" } });
  await bob.write(`${"long ".repeat(10)}\n`);
  await says(bob, "stderr", "What was sent last was too long, and was not passed on.");
  await bob.write("short\n");
  await says(bob, "stdout", "bob: short\n");
  await bob.endInput();
  assertEquals(await bob.exited(), 1);
  assertMatch(bob.stderr, /\nLines that may not have been passed on: 1\.\n$/);
});
