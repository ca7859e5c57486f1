import { assert, assertEquals, assertMatch } from "@std/assert";
import { CLOSE } from "../transport/close.ts";
import { closeAll, connect, connectAll } from "../testing/client.ts";
import { Program, run } from "../testing/program.ts";
import { ask, frame, OPCODE, RawClient } from "../testing/raw_client.ts";
import { type Changes, startRelay } from "../testing/start.ts";
import { sharedTempFolder } from "../testing/temp.ts";
import { bounded, sleep, until } from "../testing/wait.ts";

const { path: directory } = await sharedTempFolder();
const tokens = `${directory}/tokens`;

const decoder = new TextDecoder();

for (const transport of ["native", "ws"] as const) {
  const start = ({ server, ...rest }: Changes = {}) => {
    return startRelay({ ...rest, server: { transport, ...server } });
  };

  Deno.test(`relay on ${transport} admits pages of allowed origins, and clients other than browsers`, async () => {
    const allowed_origins = [
      "https://good.example",
      "http://localhost:8000",
      "chrome-extension://abcdefgh",
      "capacitor://localhost",
      "file://",
    ];
    await using relay = await start({ server: { allowed_origins } });
    for (const Origin of allowed_origins) assertEquals((await ask(relay, { Origin })).status, 101);
    assertEquals((await ask(relay, {})).status, 101);
    const foreign = [
      "http://good.example",
      "https://good.example:444",
      "https://good.example.evil",
      "https://sub.good.example",
      "http://localhost",
      "chrome-extension://abcdefg",
      "chrome-extension://ABCDEFGH",
      "capacitor://localhost/",
      "ionic://localhost",
      "null",
      "*",
      "",
    ];
    for (const Origin of foreign) assertEquals((await ask(relay, { Origin })).status, 403, Origin);
    assertEquals(relay.stats().rejections.origin, foreign.length);
  });

  Deno.test(`relay on ${transport} demands a token if it has a file of them, and never sends one back`, async () => {
    await Deno.writeTextFile(tokens, "secret-1\nsecret-2 # bob\n");
    await using relay = await start({ server: { auth_tokens_file: tokens } });
    const bearer = await ask(relay, { Authorization: "Bearer secret-2" });
    assertEquals(bearer.status, 101);
    assert(!bearer.head.includes("sec-websocket-protocol"), bearer.head);
    for (const offered of ["relay, bearer.secret-1", "bearer.secret-1,relay"]) {
      const { status, head } = await ask(relay, { "Sec-WebSocket-Protocol": offered });
      assertEquals(status, 101, offered);
      assertMatch(head, /\r\nsec-websocket-protocol: relay(\r\n|$)/);
      assert(!head.includes("secret"), head);
    }
    const refused: [headers: Record<string, string>, requestLine?: string][] = [
      [{}],
      [{ Authorization: "Bearer secret-3" }],
      [{ Authorization: "Basic secret-1" }],
      [{ "Sec-WebSocket-Protocol": "relay, secret-1" }],
      [{ "Sec-WebSocket-Protocol": "relay, bearer." }],
      [{}, "GET /?token=secret-1 HTTP/1.1"],
      [{}, "GET /?access_token=secret-1 HTTP/1.1"],
    ];
    for (const [headers, requestLine] of refused) {
      const { status, head } = await ask(relay, headers, requestLine);
      assertEquals(status, 401, JSON.stringify(headers));
      assertMatch(head, /\r\nwww-authenticate: bearer(\r\n|$)/);
    }
    assertEquals(relay.stats().rejections.token, refused.length);
  });

  Deno.test(`relay on ${transport} answers the first subprotocol that it knows`, async () => {
    await Deno.writeTextFile(tokens, "secret-1\n");
    const subprotocols = ["chat.v1", "mqtt"];
    await using relay = await start({ server: { subprotocols, auth_tokens_file: tokens } });
    const answers = {
      "mqtt,bearer.secret-1": "mqtt",
      "bearer.secret-1, chat, chat.v1, relay": "chat.v1",
      "relay, mqtt, bearer.secret-1": "relay",
    };
    for (const [offered, answer] of Object.entries(answers)) {
      const { status, head } = await ask(relay, { "Sec-WebSocket-Protocol": offered });
      assertEquals(status, 101, offered);
      assert(`${head}\r\n`.includes(`\r\nsec-websocket-protocol: ${answer}\r\n`), head);
    }
    const chat = { "Sec-WebSocket-Protocol": "chat", "Authorization": "Bearer secret-1" };
    const { status, head } = await ask(relay, chat);
    assertEquals(status, 101);
    assert(!head.includes("sec-websocket-protocol"), head);
    for (const offered of ["bearer.secret-1", "bearer.secret-1, chat"]) {
      assertEquals((await ask(relay, { "Sec-WebSocket-Protocol": offered })).status, 400, offered);
    }
    assertEquals(relay.stats().rejections.bad_request, 2);
  });

  Deno.test(`relay on ${transport} takes a token from a browser's WebSocket`, async () => {
    await Deno.writeTextFile(tokens, "secret-1\n");
    await using relay = await start({ server: { auth_tokens_file: tokens } });
    const socket = new WebSocket(relay.url, ["relay", "bearer.secret-1"]);
    const opened = new Promise((resolve) => socket.onopen = resolve);
    const closed = new Promise((resolve) => socket.onclose = resolve);
    await bounded(opened, "the connection");
    assertEquals(socket.protocol, "relay");
    socket.close();
    await bounded(closed, "the end");
  });

  Deno.test(`relay on ${transport} limits the connections of one address, and gives seats back`, async () => {
    await using relay = await start({ limits: { max_connections_per_ip: 2 } });
    const [alice, bob] = await connectAll(relay, 2);
    const { status, head } = await ask(relay, {});
    assertEquals(status, 429);
    assert(head.includes("\r\nretry-after: 10"), head);
    assertEquals(relay.stats().rejections.per_ip, 1);
    await alice.close();
    await until(() => relay.stats().connected === 1, "alice to leave");
    await closeAll([await connect(relay), bob]);
  });

  Deno.test(`relay on ${transport} tells clients behind a trusted proxy apart, and trusts no other proxy`, async () => {
    const limits = { max_connections_per_ip: 1 };
    await using trusting = await start({ limits, server: { trusted_proxies: ["127.0.0.0/8"] } });
    const from = (address: string) => ({ "X-Forwarded-For": address });
    using alice = await RawClient.join(trusting, from("203.0.113.5"));
    assertMatch(alice.head, / 101 /);
    assertEquals((await ask(trusting, from("203.0.113.5"))).status, 429);
    assertEquals((await ask(trusting, from("203.0.113.6, 203.0.113.5"))).status, 429);
    assertEquals((await ask(trusting, from("::ffff:203.0.113.5"))).status, 429);
    assertEquals((await ask(trusting, from("203.0.113.5, 2001:db8::7"))).status, 101);

    await using wary = await start({ limits });
    using bob = await RawClient.join(wary, from("203.0.113.5"));
    assertMatch(bob.head, / 101 /);
    assertEquals((await ask(wary, from("203.0.113.6"))).status, 429);
  });

  Deno.test(`relay on ${transport} evicts a client that sends more messages than it may`, async () => {
    await using relay = await start({ limits: { max_messages_per_second: 5 } });
    await using bob = await connect(relay);
    await using alice = await connect(relay);
    for (let i = 0; i < 20; i++) alice.send(`${i}`);
    assertEquals(await bounded(alice.closed, "the eviction"), CLOSE.rate);
    assertEquals(await bob.take(5), ["0", "1", "2", "3", "4"]);
    bob.send("calm");
    assertEquals(await bob.next(), "calm");
    const { evictions, messages } = relay.stats();
    assertEquals([evictions.rate, messages], [1, 6]);
  });

  Deno.test(`relay on ${transport} with slow_client drop skips messages for a client that does not read, until it does`, async () => {
    const limits = { slow_client: "drop", max_backlog_bytes: 64 * 1024 } as const;
    await using relay = await start({ limits });
    using alice = await RawClient.join(relay);
    using cathy = await RawClient.join(relay);
    await until(() => relay.stats().connected === 2, "both to join");
    const heard: number[] = [];
    cathy.consume(({ payload }) => heard.push(parseInt(decoder.decode(payload.subarray(0, 9)))));
    cathy.pause();
    let sent = 0;
    const say = async () => {
      alice.send(frame(OPCODE.text, `${sent}`.padEnd(32 * 1024)));
      const { payload } = await alice.next();
      assertEquals(parseInt(decoder.decode(payload.subarray(0, 9))), sent++);
    };
    while (relay.stats().droppedMessages < 10) {
      assert(sent < 2000, "the kernel takes everything");
      await say();
    }
    cathy.resume();
    const dropped = sent - 1;
    while (!heard.some((message) => message > dropped)) {
      assert(sent < 4000, "cathy never hears anything again");
      await say();
      await sleep(0.005);
    }
    await until(() => heard.at(-1) === sent - 1, "the last message");
    const { connected, evictions, droppedMessages } = relay.stats();
    assertEquals([connected, evictions.slow, droppedMessages], [2, 0, sent - heard.length]);
    assertEquals(heard, heard.toSorted((a, b) => a - b));
    assertEquals(new Set(heard).size, heard.length);
  });

  Deno.test(`relay on ${transport} without echo leaves out the sender, and changes nothing else`, async () => {
    await using relay = await start({ relay: { echo: false } });
    const clients = await connectAll(relay, 3);
    const [alice, bob, cathy] = clients;
    for (const message of ["a1", "a2", "a3"]) alice.send(message);
    assertEquals(await bob.take(3), ["a1", "a2", "a3"]);
    bob.send("b1");
    assertEquals(await alice.next(), "b1");
    assertEquals(await cathy.take(4), ["a1", "a2", "a3", "b1"]);
    await closeAll(clients);
    assertEquals([alice.waiting, bob.waiting], [0, 0]);
    assertEquals(relay.stats().deliveries, 8);
  });
}

Deno.test("relay uses the tokens of the last reload, even if an earlier one takes longer", async () => {
  const fifo = `${tokens}.fifo`, fresh = `${tokens}.fresh`, file = `${tokens}.slow`;
  await Deno.writeTextFile(file, "first\n");
  await using relay = await startRelay({ server: { auth_tokens_file: file } });
  assertEquals((await run({ command: ["mkfifo", fifo] })).code, 0);
  await Deno.rename(fifo, file);
  const slow = relay.reload();
  using writer = await Deno.open(file, { write: true }); // Waits until it is being read.
  await Deno.writeTextFile(fresh, "fresh\n");
  await Deno.rename(fresh, file);
  const last = relay.reload();
  await writer.write(new TextEncoder().encode("revoked\n"));
  writer.close();
  await bounded(Promise.all([slow, last]), "both files to be read");
  assertEquals((await ask(relay, { Authorization: "Bearer fresh" })).status, 101);
  assertEquals((await ask(relay, { Authorization: "Bearer revoked" })).status, 401);
  await Deno.remove(file);
  await relay.reload();
  assertEquals((await ask(relay, { Authorization: "Bearer fresh" })).status, 101);
});

Deno.test("relay logs a refused origin once, with the key to change", async () => {
  const env = { RELAY_SERVER_ALLOWED_ORIGINS: "https://good.example" };
  await using program = await Program.start({ env });
  for (let i = 0; i < 5; i++) await ask(program, { Origin: "https://evil.example" });
  await ask(program, { Origin: `https://${"x".repeat(1000)}\t"` });
  await until(() => program.logged("xxx"), "the second warning");
  const warnings = program.log.map(({ message }) => message).filter((it) => it.includes("Refused"));
  assertEquals(warnings.length, 2, program.stderr);
  assertMatch(
    warnings[0],
    /page of origin "https:\/\/evil\.example", which is not in server\.allowed_origins/,
  );
  assert(warnings[1].length < 400, warnings[1]);
});
