import { assert, assertEquals, assertRejects } from "@std/assert";
import { ConfigError, DEFAULT_CONFIG } from "../config.ts";
import { CLOSE } from "../transport/close.ts";
import { closeAll, connect } from "../testing/client.ts";
import { forge, fromNow, Issuer } from "../testing/issuer.ts";
import { Program } from "../testing/program.ts";
import { ask, frame, handshake, OPCODE, RawClient } from "../testing/raw_client.ts";
import { type Changes, startRelay } from "../testing/start.ts";
import { sharedTempFolder } from "../testing/temp.ts";
import { bounded, until } from "../testing/wait.ts";
import { loadAccess } from "./access.ts";

const { path: directory } = await sharedTempFolder();
const tokens = `${directory}/tokens`;
await Deno.writeTextFile(tokens, "simple\n");
const issuer = await Issuer.make("EdDSA", "first"),
  successor = await Issuer.make("ES256", "second");
const stranger = await Issuer.make("EdDSA", "first");

/** Writes a file of keys, and returns its path. */
async function keysOf(...issuers: Issuer[]): Promise<string> {
  const path = `${directory}/${crypto.randomUUID()}`;
  await write(path, ...issuers);
  return path;
}

async function write(path: string, ...issuers: Issuer[]): Promise<void> {
  await Deno.writeTextFile(path, JSON.stringify({ keys: issuers.map(({ jwk }) => jwk) }));
}

const bearer = (token: string) => ({ Authorization: `Bearer ${token}` });

for (const transport of ["native", "ws"] as const) {
  const start = async ({ server, ...rest }: Changes = {}) => {
    const auth_keys_file = await keysOf(issuer);
    return await startRelay({ ...rest, server: { transport, auth_keys_file, ...server } });
  };

  Deno.test(`relay on ${transport} accepts signed tokens next to those of the file, each with its role`, async () => {
    await using relay = await start({ server: { auth_tokens_file: tokens } });
    const join = (token: string) => connect(relay, { headers: bearer(token) });
    const alice = await join(await issuer.token({ role: "talk" }));
    const bob = await join(await issuer.token({ role: "listen" }));
    const cathy = await join("simple");
    alice.send("from alice");
    cathy.send("from cathy");
    for (const each of [alice, bob, cathy]) {
      assertEquals((await each.take(2)).toSorted(), ["from alice", "from cathy"]);
    }
    bob.send("from bob");
    assertEquals(await bounded(bob.closed, "the eviction"), CLOSE.role);
    await closeAll([alice, cathy]);
  });

  Deno.test(`relay on ${transport} finds a signed token in every place for tokens`, async () => {
    await using relay = await start({ server: { auth_token_parameter: "token" } });
    const token = await issuer.token();
    const offered = { "Sec-WebSocket-Protocol": `relay, bearer.${token}` };
    const answers = [
      await ask(relay, bearer(token)),
      await ask(relay, offered),
      await ask(relay, {}, `GET /?token=${token} HTTP/1.1`),
    ];
    for (const { status, head } of answers) {
      assertEquals(status, 101);
      assert(!head.includes(token), head);
    }
  });

  Deno.test(`relay on ${transport} gives every wrong token the same answer`, async () => {
    await using relay = await start({ server: { without_token: "listen" } });
    const wrong = [
      forge({ alg: "none" }, { exp: fromNow(60) }, ""),
      await issuer.token({ exp: fromNow(-1) }),
      await issuer.token({ nbf: fromNow(1e9) }),
      await issuer.token({ role: "admin" }),
      await issuer.token({ pad: "x".repeat(9000) }),
      await successor.token(),
      "garbage",
    ];
    const url = relay.url.replace("ws", "http");
    for (const token of wrong) {
      const headers = {
        ...bearer(token),
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
      };
      assertEquals((await ask(relay, bearer(token))).status, 401);
      const curl = [
        "-s",
        "--http1.1",
        ...Object.entries(headers).flatMap(([name, value]) => [
          "-H",
          `${name}: ${value}`,
        ]),
        url,
      ];
      const { stdout } = await new Deno.Command("curl", { args: curl }).output();
      assertEquals(new TextDecoder().decode(stdout), "the token is wrong\n");
    }
    assertEquals(relay.stats().rejections.token, 2 * wrong.length);
    assertEquals((await ask(relay, {})).status, 101);
  });

  Deno.test(`relay on ${transport} refuses a client with a token for other rooms`, async () => {
    await using relay = await start();
    const status = async (rooms: string[]) =>
      (await ask(relay, bearer(await issuer.token({ rooms })))).status;
    for (const rooms of [["/"], ["/*"], ["/team", "/"]]) assertEquals(await status(rooms), 101);
    const others = [[], ["/team"], ["/team/../*"], ["/%2e%2e/*"], ["//*"], ["/%2F*"], ["/team/*"]];
    for (const rooms of others) assertEquals(await status(rooms), 403, rooms.join());
    assertEquals(relay.stats().rejections.role, others.length);
  });

  Deno.test(`relay on ${transport} closes a connection when its token expires, and no other`, async () => {
    await using relay = await start();
    const exp = fromNow(2);
    const alice = await connect(relay, { headers: bearer(await issuer.token()) });
    const bob = await connect(relay, { headers: bearer(await issuer.token({ exp })) });
    bob.send("while I may");
    assertEquals(await alice.next(), "while I may");
    assertEquals(await bounded(bob.closed, "the end of the token"), CLOSE.expired);
    assert(Date.now() >= exp * 1000, "too early");
    const { connected, evictions } = relay.stats();
    assertEquals([connected, evictions.expired], [1, 1]);
    await alice.close();
  });

  Deno.test(`relay on ${transport} uses the new keys, and keeps clients that joined with earlier ones`, async () => {
    const auth_keys_file = await keysOf(issuer);
    await using relay = await start({ server: { auth_keys_file } });
    const statuses = async () => [
      (await ask(relay, bearer(await issuer.token()))).status,
      (await ask(relay, bearer(await successor.token()))).status,
    ];
    const alice = await connect(relay, { headers: bearer(await issuer.token()) });
    assertEquals(await statuses(), [101, 401]);
    await write(auth_keys_file, issuer, successor);
    await relay.reload();
    assertEquals(await statuses(), [101, 101]);
    await write(auth_keys_file, successor);
    await relay.reload();
    assertEquals(await statuses(), [401, 101]);
    await Deno.writeTextFile(auth_keys_file, "broken");
    await relay.reload();
    assertEquals(await statuses(), [401, 101]);
    alice.send("still here");
    assertEquals(await alice.next(), "still here");
    await alice.close();
  });

  Deno.test(`relay on ${transport} never takes too many seats, even if tokens are checked at once`, async () => {
    await using relay = await start({ limits: { max_connections: 3 } });
    const token = await issuer.token();
    const clients = await Promise.allSettled(
      Array.from({ length: 20 }, () => connect(relay, { headers: bearer(token) })),
    );
    const joined = clients.flatMap((each) => each.status === "fulfilled" ? [each.value] : []);
    assertEquals([joined.length, relay.stats().rejections.full], [3, 17]);
    await closeAll(joined);
    await until(() => relay.stats().connected === 0, "all to leave");
    assertEquals((await ask(relay, bearer(token))).status, 101);
  });
}

Deno.test("relay logs why it refused a token once a minute per address, and never the token", async () => {
  const env = {
    RELAY_SERVER_AUTH_KEYS_FILE: await keysOf(issuer),
    RELAY_SERVER_AUTH_TOKENS_FILE: tokens,
    RELAY_SERVER_TRUSTED_PROXIES: "127.0.0.1/32",
    RELAY_LOG_LEVEL: "debug",
  };
  await using program = await Program.start({ env });
  const wrong: [address: string, token: string, why: string][] = [
    ["192.0.2.1", await issuer.token({ exp: fromNow(-1) }), "it has expired"],
    ["192.0.2.2", await stranger.token(), "its signature is wrong"],
    ["192.0.2.3", await issuer.token({ rooms: ["/team"] }), "it is for other rooms"],
    ["192.0.2.3", await issuer.token({ rooms: ["/team"] }), "it is for other rooms"],
    ["192.0.2.1", "simpl", "it is not a signed token, and not in the token file"],
  ];
  for (const [address, token] of wrong) {
    await ask(program, { ...bearer(token), "X-Forwarded-For": address });
  }
  await ask(program, { "X-Forwarded-For": "192.0.2.4" });
  const lines = () => program.log.filter(({ message }) => message.startsWith("Refused"));
  await until(() => lines().length === 6, "all lines");
  assertEquals(
    lines().map(({ level, peer, why }) => [level, (peer as string).split(" ")[0], why]),
    [
      ["WARN", "192.0.2.1", "it has expired"],
      ["WARN", "192.0.2.2", "its signature is wrong"],
      ["WARN", "192.0.2.3", "it is for other rooms"],
      ["DEBUG", "192.0.2.3", "it is for other rooms"],
      ["DEBUG", "192.0.2.1", "it is not a signed token, and not in the token file"],
      ["WARN", "192.0.2.4", "it sent none"],
    ],
  );
  for (const [, token] of wrong) {
    for (const part of token.split(".")) assert(!program.stderr.includes(part), part);
  }
});

Deno.test("loadAccess reports the problems of both files at once", async () => {
  const auth_tokens_file = `${directory}/no-tokens`, auth_keys_file = `${directory}/no-keys`;
  const { problems }: ConfigError = await assertRejects(
    () => loadAccess({ ...DEFAULT_CONFIG.server, auth_tokens_file, auth_keys_file }),
    ConfigError,
  );
  assertEquals(problems, [
    `server.auth_tokens_file must be a file with one token per line, got ${auth_tokens_file}: no such file`,
    `server.auth_keys_file must be a file of keys (JWKS), got ${auth_keys_file}: no such file`,
  ]);
});

Deno.test("loadAccess judges tokens at once if no signature has to be checked", async () => {
  const { server } = DEFAULT_CONFIG;
  const open = await loadAccess(server);
  assertEquals(open("anything"), { mayTalk: true, rooms: ["/*"], expires: Infinity });
  const auth_keys_file = await keysOf(issuer);
  const both = await loadAccess({ ...server, auth_tokens_file: tokens, auth_keys_file });
  assertEquals(both("simple"), open(null));
  assertEquals(both(null), { denied: "it sent none" });
  assertEquals(both("x".repeat(9000)), { denied: "it has more than 8192 bytes" });
  const judged = both(await issuer.token());
  assert(judged instanceof Promise);
  await judged;
});

Deno.test("relay on ws publishes what a client sends and ends with while its signed token is checked", async () => {
  await using relay = await startRelay({
    server: { transport: "ws", auth_keys_file: await keysOf(issuer), auth_tokens_file: tokens },
  });
  await using alice = await connect(relay, { headers: bearer("simple") });
  const head = new TextEncoder().encode(handshake(bearer(await issuer.token())));
  for (let i = 0; i < 10; i++) {
    using client = await RawClient.open(relay);
    client.send(new Uint8Array([...head, ...frame(OPCODE.text, `${i}`)]));
    client.fin();
    assertEquals(await alice.next(), `${i}`);
  }
  await until(() => relay.stats().connected === 1, "them to leave");
});
