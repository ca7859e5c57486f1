import { assert, assertEquals, assertRejects } from "@std/assert";
import { ConfigError } from "../config.ts";
import { connect } from "../testing/client.ts";
import { handshake, RawClient } from "../testing/raw_client.ts";
import { startRelay } from "../testing/start.ts";
import { sharedTempFolder, tempFolder } from "../testing/temp.ts";
import { bounded } from "../testing/wait.ts";
import { CLOSE } from "./close.ts";

const { path: directory } = await sharedTempFolder();

for (const transport of ["native", "ws"] as const) {
  Deno.test(`relay on ${transport} shares its port only with relays that allow it`, async () => {
    await using one = await startRelay({ server: { transport, reuse_port: true } });
    const port = Number(new URL(one.url).port);
    const server = { transport, port };
    const { message } = await assertRejects(() => startRelay({ server }), Error);
    assertEquals(
      message,
      `Cannot listen on 127.0.0.1 port ${port}: the port is taken; set server.port (--port) to another`,
    );
    await using other = await startRelay({ server: { ...server, reuse_port: true } });
    await using clients = new AsyncDisposableStack();
    for (let i = 0; one.stats().connected === 0 || other.stats().connected === 0; i++) {
      assert(i < 100, "one of the two gets no connection");
      clients.use(await connect(one));
    }
  });

  Deno.test(`relay on ${transport} listens on a Unix socket, which is gone when it has stopped`, async () => {
    await using folder = await tempFolder();
    const unix_socket = `${folder.path}/relay.sock`;
    const relay = await startRelay({ server: { transport, unix_socket } });
    assertEquals(relay.url, `ws+unix:${unix_socket}:/`);
    await using alice = await connect(relay);
    await using bob = await connect(relay);
    alice.send("hello");
    assertEquals([await alice.next(), await bob.next()], ["hello", "hello"]);
    assertEquals(await relay.stop(), { closed: 2, terminated: 0 });
    assertEquals(await bounded(alice.closed, "the end"), CLOSE.shutdown);
    assertEquals([...Deno.readDirSync(folder.path)], []);
  });

  Deno.test(`relay on ${transport} takes over a Unix socket if no process listens on it`, async () => {
    await using folder = await tempFolder();
    const unix_socket = `${folder.path}/relay.sock`;
    const abandoned = Deno.listen({ transport: "unix", path: `${folder.path}/before` });
    await Deno.rename(`${folder.path}/before`, unix_socket); // So that nobody removes it.
    abandoned.close();
    assert(Deno.statSync(unix_socket).isSocket);
    await using relay = await startRelay({ server: { transport, unix_socket } });
    await using alice = await connect(relay);
    alice.send("hello");
    assertEquals(await alice.next(), "hello");
  });

  Deno.test(`relay on ${transport} leaves a Unix socket alone if another process listens on it`, async () => {
    await using folder = await tempFolder();
    const unix_socket = `${folder.path}/relay.sock`;
    await using relay = await startRelay({ server: { transport, unix_socket } });
    const second = await assertRejects(() => startRelay({ server: { transport, unix_socket } }));
    assertEquals(
      (second as Error).message,
      `Cannot listen on ${unix_socket}: another process listens there; set server.unix_socket to another path`,
    );
    await using alice = await connect(relay);
    alice.send("still here");
    assertEquals(await alice.next(), "still here");
  });

  Deno.test(`relay on ${transport} tells clients behind a Unix socket apart only if it is trusted`, async () => {
    const limits = { max_connections_per_ip: 1 };
    const join = async (trusted_proxies: string[]) => {
      await using folder = await tempFolder();
      const unix_socket = `${folder.path}/relay.sock`;
      const server = { transport, unix_socket, trusted_proxies };
      await using relay = await startRelay({ server, limits });
      const status = async (address: string) => {
        const client = await RawClient.open(relay);
        stack.use(client);
        return (await client.ask(handshake({ "X-Forwarded-For": address }))).split(" ")[1];
      };
      using stack = new DisposableStack();
      return [
        await status("203.0.113.5"),
        await status("203.0.113.5"),
        await status("203.0.113.6"),
      ];
    };
    assertEquals(await join(["unix"]), ["101", "429", "101"]);
    assertEquals(await join([]), ["101", "429", "429"]);
  });
}

const PATHS: [what: string, path: string, obstacle: string][] = [
  ["a file", `${directory}/file`, "something that is not a socket"],
  ["a folder", directory, "something that is not a socket"],
  ["a symbolic link", `${directory}/link`, "something that is not a socket"],
  ["a path without its folder", `${directory}/none/relay.sock`, "its folder does not exist"],
  ["a path that is too long", `/tmp/${"x".repeat(103)}`, "longer than 107 bytes"],
];
await Deno.writeTextFile(`${directory}/file`, "precious");
await Deno.symlink(`${directory}/file`, `${directory}/link`);

for (const [what, path, obstacle] of PATHS) {
  Deno.test(`start refuses ${what} for its Unix socket, and touches nothing`, async () => {
    const { problems } = await assertRejects(
      () => startRelay({ server: { unix_socket: path } }),
      ConfigError,
    );
    assertEquals(problems, [
      `server.unix_socket must be a path where a socket can be created, got ${path}: ${obstacle}`,
    ]);
    assertEquals(await Deno.readTextFile(`${directory}/link`), "precious");
  });
}

Deno.test("relay names a Unix socket by its whole path, and accepts the longest one", async () => {
  const folder = await Deno.makeTempDir({ dir: "/tmp" });
  const unix_socket = `${folder}/`.padEnd(107, "x");
  {
    await using relay = await startRelay({ server: { unix_socket } });
    await using alice = await connect(relay);
    alice.send("far");
    assertEquals(await alice.next(), "far");
  }
  const relative = `zz-${crypto.randomUUID()}.sock`;
  {
    await using relay = await startRelay({ server: { unix_socket: relative } });
    assertEquals(relay.url, `ws+unix:${Deno.cwd()}/${relative}:/`);
  }
  await Deno.remove(folder);
});
