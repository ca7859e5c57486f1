import { assert, assertEquals, assertMatch } from "@std/assert";
import { Program } from "../testing/program.ts";
import { ask, frame, handshake, OPCODE, RawClient } from "../testing/raw_client.ts";
import { sharedTempFolder } from "../testing/temp.ts";
import { until } from "../testing/wait.ts";

const { path: directory } = await sharedTempFolder();
const tokens = `${directory}/tokens`;

for (const transport of ["native", "ws"] as const) {
  Deno.test(`relay on ${transport} frees the seat of a handshake that fails`, async () => {
    // A process of its own, since on `native` the platform never lets go of a client that vanishes.
    const env = { RELAY_SERVER_TRANSPORT: transport, RELAY_LIMITS_MAX_CONNECTIONS: "3" };
    await using program = await Program.start({ env });
    for (let i = 0; i < 5; i++) {
      using client = await RawClient.open(program);
      client.send(handshake());
      client.reset(); // Before the relay has answered.
      await client.ended;
    }
    const clients: RawClient[] = [];
    await until(async () => {
      clients.push(await RawClient.join(program));
      return clients.filter(({ head }) => head.includes(" 101 ")).length === 3;
    }, "three free seats");
    for (const client of clients) client.reset();
  });

  Deno.test(`relay on ${transport} takes a token from the configured parameter, and never logs it`, async () => {
    await Deno.writeTextFile(tokens, "secret-1+x\n");
    const env = {
      RELAY_SERVER_TRANSPORT: transport,
      RELAY_SERVER_AUTH_TOKENS_FILE: tokens,
      RELAY_SERVER_AUTH_TOKEN_PARAMETER: "access_token",
      RELAY_LOG_LEVEL: "debug",
    };
    await using program = await Program.start({ env });
    const status = async (query: string, headers = {}) =>
      (await ask(program, headers, `GET /?${query} HTTP/1.1`)).status;
    assertEquals(await status("access_token=secret-1+x"), 101);
    assertEquals(await status("a=b&access_token=secret-1%2Bx"), 101);
    assertEquals(await status("access_token=secret-2"), 401);
    assertEquals(await status("token=secret-1+x"), 401);
    assertEquals(await status("access_token=secret-1+x", { Host: "a/b", Upgrade: "no" }), 426);
    program.signal("SIGTERM");
    await program.exited();
    assert(program.stderr.includes(" joined"), program.stderr);
    assert(!program.stderr.includes("secret"), program.stderr);
  });

  Deno.test(`relay on ${transport} reads its tokens again on SIGHUP, keeps its clients, and logs no token`, async () => {
    await Deno.writeTextFile(tokens, "old-secret\n");
    const env = {
      RELAY_SERVER_TRANSPORT: transport,
      RELAY_SERVER_AUTH_TOKENS_FILE: tokens,
      RELAY_LOG_LEVEL: "debug",
    };
    await using program = await Program.start({ env });
    const old = { Authorization: "Bearer old-secret" },
      young = { Authorization: "Bearer new-secret" };
    using alice = await RawClient.join(program, old);
    assertEquals((await ask(program, young)).status, 401);

    await Deno.writeTextFile(tokens, "new-secret\n");
    program.signal("SIGHUP");
    await until(() => program.logged("Tokens reloaded from"), "the new tokens");
    assertEquals((await ask(program, young)).status, 101);
    assertEquals((await ask(program, old)).status, 401);
    alice.send(frame(OPCODE.text, "still here"));
    assertEquals(new TextDecoder().decode((await alice.next()).payload), "still here");

    await Deno.writeTextFile(tokens, "broken secret\n");
    program.signal("SIGHUP");
    await until(() => program.logged("Tokens not replaced: "), "the complaint");
    assertEquals((await ask(program, young)).status, 101);
    assert(!program.stderr.includes("-secret"), program.stderr);
    assert(!program.stderr.includes("broken"), program.stderr);
  });
}

Deno.test("program says at the start who may connect, and warns if anyone may from any page", async () => {
  await using open = await Program.start();
  assertMatch(open.stderr, /Anyone may connect from any web page/);
  const warning = "server.allowed_origins and server.auth_tokens_file restrict that";
  await until(() => open.logged(warning), "the warning");
  await Deno.writeTextFile(tokens, "secret-1\n");
  const env = {
    RELAY_SERVER_ALLOWED_ORIGINS: "https://good.example",
    RELAY_SERVER_AUTH_TOKENS_FILE: tokens,
  };
  await using closed = await Program.start({ env });
  assertMatch(
    closed.stderr,
    /Clients with a token may connect from web pages of https:\/\/good\.example/,
  );
  closed.signal("SIGTERM");
  await closed.exited();
  assert(!closed.stderr.includes("Anyone may connect"), closed.stderr);
});
