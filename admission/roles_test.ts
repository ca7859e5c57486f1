import { assertEquals } from "@std/assert";
import { CLOSE } from "../transport/close.ts";
import { closeAll, connect } from "../testing/client.ts";
import { Program } from "../testing/program.ts";
import { ask, frame, OPCODE, RawClient } from "../testing/raw_client.ts";
import { type Changes, startRelay } from "../testing/start.ts";
import { sharedTempFolder } from "../testing/temp.ts";
import { bounded, until } from "../testing/wait.ts";

const { path: directory } = await sharedTempFolder();
const tokens = `${directory}/tokens`;
await Deno.writeTextFile(tokens, "talker\nspeaker talk\nlistener listen\n");

const bearer = (token: string) => ({ Authorization: `Bearer ${token}` });
const headers = (token: string) => ({ headers: bearer(token) });

for (const transport of ["native", "ws"] as const) {
  const start = ({ server, ...rest }: Changes = {}) => {
    return startRelay({ ...rest, server: { transport, auth_tokens_file: tokens, ...server } });
  };

  Deno.test(`relay on ${transport} lets talkers talk, and evicts a listener that sends`, async () => {
    await using relay = await start();
    const alice = await connect(relay, headers("talker"));
    const bob = await connect(relay, headers("speaker"));
    const cathy = await connect(relay, headers("listener"));
    const dave = await connect(relay, headers("listener"));
    alice.send("from alice");
    for (const each of [alice, bob, cathy]) assertEquals(await each.next(), "from alice");
    cathy.send("from cathy");
    assertEquals(await bounded(cathy.closed, "the eviction"), CLOSE.role);
    bob.send("from bob");
    assertEquals(await alice.next(), "from bob");
    assertEquals(await dave.take(2), ["from alice", "from bob"]);
    const { connected, evictions, messages } = relay.stats();
    assertEquals([connected, evictions.role, messages], [3, 1, 2]);
    await closeAll([alice, bob, dave]);
  });

  Deno.test(`relay on ${transport} lets clients without a token listen if configured, and refuses wrong tokens`, async () => {
    await using relay = await start({ server: { without_token: "listen" } });
    await using alice = await connect(relay, headers("talker"));
    const bob = await connect(relay);
    alice.send("to all");
    assertEquals(await bob.next(), "to all");
    bob.send("from bob");
    assertEquals(await bounded(bob.closed, "the eviction"), CLOSE.role);
    const wrong = [
      bearer("nobody"),
      bearer(""),
      bearer("talker talker"),
      { "Sec-WebSocket-Protocol": "relay, bearer.nobody" },
    ];
    const statuses = await Promise.all(wrong.map(async (each) => (await ask(relay, each)).status));
    assertEquals(statuses, [401, 401, 401, 401]);
    assertEquals(relay.stats().rejections.token, 4);
    assertEquals((await ask(relay, { Authorization: "Basic talker" })).status, 101); // No token.
  });

  Deno.test(`relay on ${transport} lets everybody talk if no tokens are configured`, async () => {
    await using relay = await start({ server: { auth_tokens_file: "", without_token: "listen" } });
    await using alice = await connect(relay);
    alice.send("hello");
    assertEquals(await alice.next(), "hello");
  });

  Deno.test(`relay on ${transport} passes on nothing of a listener, not even one of many messages`, async () => {
    await using relay = await start();
    await using alice = await connect(relay, headers("talker"));
    using bob = await RawClient.join(relay, bearer("listener"));
    for (let i = 0; i < 100; i++) bob.send(frame(OPCODE.text, `${i}`));
    await until(() => relay.stats().evictions.role === 1, "the eviction");
    alice.send("the first");
    assertEquals(await alice.next(), "the first");
    assertEquals(relay.stats().messages, 1);
  });
}

Deno.test("relay logs who may join, and names a listener that sends once a minute", async () => {
  const env = { RELAY_SERVER_AUTH_TOKENS_FILE: tokens, RELAY_SERVER_WITHOUT_TOKEN: "listen" };
  await using program = await Program.start({ env });
  assertEquals(program.log.at(-1)!.who, "Clients with a token, and listeners without one,");
  for (let i = 0; i < 3; i++) {
    await using bob = await connect(program);
    bob.send("hello");
    await bounded(bob.closed, "the eviction");
  }
  program.signal("SIGTERM");
  await program.exited();
  const evicted = program.log.filter(({ message }) => message.includes("evicted: role"));
  assertEquals(evicted.length, 1, program.stderr);
});
