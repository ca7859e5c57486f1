import { assertEquals, assertMatch } from "@std/assert";
import { closeAll, connect, roomOf } from "../testing/client.ts";
import { ask } from "../testing/raw_client.ts";
import { type Changes, startRelay } from "../testing/start.ts";
import { until } from "../testing/wait.ts";

for (const transport of ["native", "ws"] as const) {
  const start = ({ relay, ...rest }: Changes = {}) => {
    const changes = { server: { transport }, relay: { history_seconds: 60, ...relay } };
    return startRelay({ ...rest, ...changes });
  };

  Deno.test(`relay on ${transport} gives a new client the history that it asks for, and then everything that follows`, async () => {
    await using relay = await start();
    const alice = await connect(relay);
    const texts = ["one", "two €", "", "four"];
    for (const text of texts) alice.send(text);
    alice.send(new Uint8Array([1, 2, 3]));
    await alice.take(5);
    const bob = await connect(roomOf(relay, "/?last=2"));
    const cathy = await connect(roomOf(relay, "/?x=1&since=50"));
    const dave = await connect(roomOf(relay, "/?last=0"));
    alice.send("now");
    assertEquals(await bob.take(3), ["four", new Uint8Array([1, 2, 3]), "now"]);
    assertEquals(await cathy.take(6), [...texts, new Uint8Array([1, 2, 3]), "now"]);
    assertEquals(await dave.next(), "now");
    assertEquals(relay.stats().replayedMessages, 7);
    await closeAll([alice, bob, cathy, dave]);
  });

  Deno.test(`relay on ${transport} keeps the history of a room after all clients have left it`, async () => {
    await using relay = await start({ relay: { rooms: true, history_seconds: 60 } });
    const alice = await connect(roomOf(relay, "/team"));
    alice.send("for those who come later");
    await alice.next();
    await alice.close();
    await until(() => relay.stats().connected === 0, "the room to be empty");
    await using elsewhere = await connect(roomOf(relay, "/?last=9"));
    await using bob = await connect(roomOf(relay, "/team?last=9"));
    assertEquals([await bob.next(), elsewhere.waiting], ["for those who come later", 0]);
  });

  Deno.test(`relay on ${transport} forgets messages that are older than its history`, async () => {
    await using relay = await start({ relay: { history_seconds: 0.1 } });
    await using alice = await connect(relay);
    alice.send("soon forgotten");
    await alice.next();
    await until(() => relay.stats().historyBytes === 0, "the end of the history");
    await using bob = await connect(roomOf(relay, "/?last=9"));
    alice.send("now");
    assertEquals(await bob.next(), "now");
  });

  Deno.test(`relay on ${transport} replays messages of every size unchanged`, async () => {
    await using relay = await start();
    const sizes = [0, 125, 126, 65_535, 65_536, 300_000];
    const alice = await connect(relay);
    for (const size of sizes) alice.send("x".repeat(size));
    await alice.take(sizes.length);
    for (const last of [1, 3, 6]) {
      await using bob = await connect(roomOf(relay, `/?last=${last}`));
      const heard = await bob.take(last);
      assertEquals(heard.map(({ length }) => length), sizes.slice(-last));
    }
    await alice.close();
  });

  Deno.test(`relay on ${transport} refuses a wrong last or since`, async () => {
    for (const relay of [{}, { history_seconds: 0 }]) {
      await using server = await start({ relay });
      const wrong = [
        "last=",
        "last=-1",
        "last=1.5",
        "last=+1",
        "last=x",
        "last=1&last=1",
        "last=1&since=1",
        "since=1e3",
        "since=1234567890",
      ];
      for (const query of wrong) {
        const { status } = await ask(server, {}, `GET /?${query} HTTP/1.1`);
        assertEquals(status, 400, query);
      }
      for (const query of ["last=999999999", "since=0", "Last=x", "#last=x"]) {
        assertEquals((await ask(server, {}, `GET /?${query} HTTP/1.1`)).status, 101, query);
      }
    }
  });
}

Deno.test("relay says in one line what is wrong with last or since", async () => {
  await using relay = await startRelay({ server: { transport: "ws" } });
  const bodyOf = async (query: string) => {
    const headers = {
      "Connection": "Upgrade",
      "Upgrade": "websocket",
      "Sec-WebSocket-Version": "13",
      "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    };
    const args = Object.entries(headers).flatMap(([name, value]) => ["-H", `${name}: ${value}`]);
    const url = `${relay.url.replace("ws", "http")}?${query}`;
    const { stdout } = await new Deno.Command("curl", { args: ["-s", "--http1.1", ...args, url] })
      .output();
    return new TextDecoder().decode(stdout);
  };
  assertMatch(await bodyOf("since=x"), /^since must be a whole number of at most nine digits\n$/);
  assertMatch(await bodyOf("last=1&since=1"), /^the query must have only one of last and since/);
});
