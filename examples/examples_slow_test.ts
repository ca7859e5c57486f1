import { assert, assertEquals, assertMatch } from "@std/assert";
import { connect, roomOf } from "../testing/client.ts";
import { Process, ROOT } from "../testing/program.ts";
import { ScriptedRelay } from "../testing/scripted_relay.ts";
import { startRelay } from "../testing/start.ts";
import { tempFolder } from "../testing/temp.ts";
import { until } from "../testing/wait.ts";
import { CLOSE } from "../transport/close.ts";

const DENO = [Deno.execPath(), "run", "--cached-only", "--allow-net"];

async function says(program: Process, stream: "stdout" | "stderr", text: string): Promise<void> {
  await until(() => program[stream].includes(text), `a program to say ${text}`, 60);
}

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

Deno.test("reconnecting client comes back without a gap, but not after its own fault", async () => {
  await using relay = new ScriptedRelay();
  await using client = new Process({
    command: [...DENO, `${ROOT}examples/reconnect.ts`, relay.url],
  });
  const heard = (text: string) => until(() => client.stdout === text, `the client to hear ${text}`);
  await until(() => relay.connected === 1, "the client");
  relay.say("one");
  await heard("one\n");
  for (const { code, reason } of [CLOSE.gap, CLOSE.slow]) {
    relay.end(code, reason);
    relay.say(reason);
    await heard(`one\n${CLOSE.gap.reason}\n${reason === CLOSE.slow.reason ? `${reason}\n` : ""}`);
  }
  await until(() => relay.connected === 1, "the client again");
  relay.end(CLOSE.expired.code, CLOSE.expired.reason);
  assertEquals(await client.exited(), 1);
  assertMatch(client.stderr, /1012 messages were lost[^]*1008 slow[^]*1008 token expired\)\n$/);
  assert(!client.stderr.includes("missing"), client.stderr);
});

Deno.test("shell script says each line, whatever stands in it", async () => {
  await using folder = await tempFolder();
  const tokens = await folder.write("tokens", "right\n");
  await using relay = await startRelay({
    server: { auth_tokens_file: tokens, without_token: "listen" },
    relay: { rooms: true },
  });
  await using bob = await connect(roomOf(relay, "/log"));
  const lines = [
    "@/etc/passwd",
    "a\tb  c\\n 'd' \"e\" $HOME %s",
    "",
    "é&=+",
    "the end, unfinished",
  ];
  const post = async (env: Record<string, string>) => {
    const url = relay.url.replace("ws:", "http:");
    await using script = new Process({
      command: ["sh", `${ROOT}examples/post.sh`, `${url}log`],
      stdin: "piped",
      env,
    });
    await script.write(lines.join("\n"));
    await script.endInput();
    return [await script.exited(), script.stderr];
  };
  assertEquals(await post({ RELAY_TOKEN: "right" }), [0, ""]);
  assertEquals(await bob.take(lines.length), lines);
  assertEquals(await post({}), [22, "curl: (22) The requested URL returned error: 403\n"]);
});

Deno.test("webhook says what it is sent, and passes on that the relay is away", async () => {
  const relay = await startRelay();
  const bob = await connect(relay);
  await using hook = new Process({
    command: [...DENO, `${ROOT}examples/webhook.ts`, relay.url.replace("ws:", "http:"), "0"],
  });
  await says(hook, "stderr", "What is sent to http://127.0.0.1:");
  const [url] = /http:\S+/.exec(hook.stderr)!;
  const send = async (body: string) => {
    const answer = await fetch(url, { method: "POST", body });
    await answer.body?.cancel();
    return answer.status;
  };
  assertEquals(await send('{"text": "The build is broken"}'), 204);
  assertEquals(await send('{"status": "firing"}'), 204);
  assertEquals(await send("[1]"), 204);
  assertEquals(await bob.take(3), [
    "webhook<br>The build is broken",
    'webhook<br>{"status":"firing"}',
    "webhook<br>[1]",
  ]);
  assertEquals([await send("no JSON"), await send("null")], [400, 400]);
  await bob.close();
  await relay.stop();
  assertEquals(await send('{"text": "late"}'), 502);
});
