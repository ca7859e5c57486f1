import { assert, assertEquals, assertMatch } from "@std/assert";
import { CLOSE } from "../close.ts";
import { closeAll, connect, connectAll, roomOf } from "../../testing/client.ts";
import { RawClient } from "../../testing/raw_client.ts";
import { type Changes, startRelay } from "../../testing/start.ts";
import { sharedTempFolder, tempFolder } from "../../testing/temp.ts";
import { makeCertificate } from "../../testing/certificate.ts";
import { bounded, sleep, until } from "../../testing/wait.ts";

const folder = await sharedTempFolder();
const directory = folder.path;
const tokens = `${directory}/tokens`;
await Deno.writeTextFile(tokens, "talker\nlistener listen\n");

const httpOf = ({ url }: { url: string }, path = "/") =>
  new URL(path, url.replace("ws", "http")).href;

/** Sends a POST, and returns the status and the text of the response. */
async function post(
  relay: { url: string },
  body: BodyInit | null,
  headers: Record<string, string> = {},
  path?: string,
): Promise<[status: number, text: string]> {
  const response = await fetch(httpOf(relay, path), { method: "POST", body, headers });
  return [response.status, await response.text()];
}

/** Runs curl, and returns its output. */
async function curl(...args: string[]): Promise<string> {
  const { stdout } = await new Deno.Command("curl", { args: ["-s", ...args] }).output();
  return new TextDecoder().decode(stdout);
}

const OCTETS = { "Content-Type": "Application/Octet-Stream; x=y" };

for (const transport of ["native", "ws"] as const) {
  const start = ({ server, ...rest }: Changes = {}) => {
    return startRelay({ ...rest, server: { transport, ...server } });
  };

  Deno.test(`relay on ${transport} publishes the body of a POST as a message, text or binary`, async () => {
    await using relay = await start();
    const clients = await connectAll(relay, 2);
    const bytes = new Uint8Array([0, 255, 128]);
    assertEquals(await post(relay, "hello €"), [204, ""]);
    assertEquals(await post(relay, null), [204, ""]);
    assertEquals(await post(relay, bytes, OCTETS), [204, ""]);
    assertEquals(await curl("-d", "from curl", "-w", "%{http_code}", httpOf(relay)), "204");
    for (const client of clients) {
      assertEquals(await client.take(4), ["hello €", "", bytes, "from curl"]);
    }
    const { messages, postedMessages, receivedBytes, connections } = relay.stats();
    assertEquals([messages, postedMessages, receivedBytes, connections], [4, 4, 21, 2]);
    await closeAll(clients);
  });

  Deno.test(`relay on ${transport} publishes to the room of the path, even if the room is empty`, async () => {
    await using relay = await start({ relay: { rooms: true, history_seconds: 60 } });
    await using alice = await connect(roomOf(relay, "/a"));
    assertEquals(await post(relay, "to b", {}, "/b"), [204, ""]);
    assertEquals(await post(relay, "to a", {}, "/a?x=y"), [204, ""]);
    assertEquals(await alice.next(), "to a");
    await using bob = await connect(roomOf(relay, "/b?last=9"));
    assertEquals([await bob.next(), alice.waiting], ["to b", 0]);
    assertEquals((await post(relay, "", {}, "/%ff"))[0], 400);
    assertEquals((await post(relay, "", {}, `/${"x".repeat(200)}`))[0], 414);
  });

  Deno.test(`relay on ${transport} accepts a message of the largest size, and no larger one`, async () => {
    await using relay = await start({ limits: { max_message_bytes: 100_000 } });
    await using alice = await connect(relay);
    const most = "x".repeat(100_000);
    const streamed = (text: string) => new Blob([text.slice(0, 1000), text.slice(1000)]).stream();
    assertEquals(await post(relay, most), [204, ""]);
    assertEquals(await post(relay, streamed(most)), [204, ""]);
    assertEquals(await alice.take(2), [most, most]);
    const refusal = [413, "a message must have at most 100000 bytes\n"];
    assertEquals(await post(relay, `${most}x`), refusal);
    assertEquals(await post(relay, streamed(`${most}x`)), refusal);
    assertEquals([relay.stats().messages, relay.stats().rejections.bad_request], [2, 2]);
  });

  Deno.test(`relay on ${transport} refuses a body that is far too large while it arrives`, async () => {
    await using relay = await start({ limits: { max_message_bytes: 1000 } });
    const file = `${directory}/${transport}`;
    await Deno.writeFile(file, new Uint8Array(20_000_000));
    for (const header of ["Expect:", "Transfer-Encoding: chunked"]) {
      const data = ["-H", header, "--data-binary", `@${file}`];
      const args = [...data, "-w", " %{http_code} %{size_upload}"];
      const [, status, uploaded] = /^[^]* (\d+) (\d+)$/.exec(await curl(...args, httpOf(relay)))!;
      assertEquals(status, "413", header);
      assert(Number(uploaded) < 20_000_000, `all was uploaded with ${header}`);
    }
  });

  Deno.test(`relay on ${transport} sends 100 to a client that waits before it sends the body`, async () => {
    await using relay = await start({ limits: { max_message_bytes: 1000 } });
    const head = (length: number) =>
      `POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: ${length}\r\n\r\n`;
    await using alice = await connect(relay);
    using bob = await RawClient.open(relay);
    assertMatch(await bob.ask(head(5)), /^HTTP\/1.1 100 /i);
    bob.send("hello");
    assertEquals(await alice.next(), "hello");
    if (transport === "native") return; // Deno sends the 100 by itself, before the 413.
    using cathy = await RawClient.open(relay);
    assertMatch(await cathy.ask(head(1001)), /^HTTP\/1.1 413 /i);
  });

  Deno.test(`relay on ${transport} publishes a POST with half of a request for an upgrade, whatever its query`, async () => {
    await using relay = await start({ relay: { history_seconds: 60 } });
    await using alice = await connect(relay);
    for (const query of ["", "?last=x", "?since=1&last=2", "?last=1"]) {
      const args = ["-d", `post ${query}`, "-w", "%{http_code}", httpOf(relay, `/${query}`)];
      for (const half of ["Upgrade: websocket", "Connection: upgrade"]) {
        assertEquals(await curl("-H", half, ...args), "204");
        assertEquals(await alice.next(), `post ${query}`);
      }
    }
    assertEquals(relay.stats().connected, 1);
  });

  Deno.test(`relay on ${transport} publishes nothing of a body that breaks off or is not UTF-8`, async () => {
    await using relay = await start();
    using client = await RawClient.open(relay);
    const head =
      "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 100\r\n\r\n";
    assertMatch(await client.ask(head), /^HTTP\/1.1 100 /i); // So the relay is reading the body.
    client.send("half");
    client.reset();
    const latin1 = new Uint8Array([0x63, 0x61, 0x66, 0xe9]);
    const [status, text] = await post(relay, latin1);
    assertEquals([status, text.split(";")[0]], [400, "text must be UTF-8"]);
    await using alice = await connect(relay);
    assertEquals(await post(relay, latin1, OCTETS), [204, ""]);
    assertEquals(await alice.next(), latin1);
    assertEquals(relay.stats().messages, 1);
  });

  Deno.test(`relay on ${transport} admits a POST by the same rules as a handshake`, async () => {
    await using relay = await start({
      server: {
        auth_tokens_file: tokens,
        allowed_origins: ["https://good.example"],
        without_token: "listen",
      },
    });
    await using alice = await connect(relay, { headers: { Authorization: "Bearer listener" } });
    const bearer = (token: string) => ({ Authorization: `Bearer ${token}` });
    assertEquals(await post(relay, "in", bearer("talker")), [204, ""]);
    assertEquals(await alice.next(), "in");
    assertEquals(await post(relay, "x", bearer("listener")), [403, "not allowed to send\n"]);
    assertEquals(await post(relay, "x"), [403, "not allowed to send\n"]);
    assertEquals(await post(relay, "x", bearer("nobody")), [401, "the token is wrong\n"]);
    const evil = { ...bearer("talker"), Origin: "https://evil.example" };
    assertEquals((await post(relay, "x", evil))[0], 403);
    assertEquals((await post(relay, "x", bearer("talker"), "/other"))[0], 404);
    const { role, token, origin, bad_request } = relay.stats().rejections;
    assertEquals([role, token, origin, bad_request], [2, 1, 1, 1]);
  });

  Deno.test(`relay on ${transport} limits the rate of POSTs per address, separately from members`, async () => {
    await using relay = await start({ limits: { max_messages_per_second: 3 } });
    await using alice = await connect(relay);
    const statuses = [];
    for (let i = 0; i < 5; i++) statuses.push((await post(relay, `${i}`))[0]);
    assertEquals(statuses.slice(0, 4), [204, 204, 204, 429]);
    const response = await fetch(httpOf(relay), { method: "POST", body: "again" });
    await response.body?.cancel();
    if (response.status === 429) assertEquals(response.headers.get("retry-after"), "1");
    alice.send("a member");
    await until(() => alice.waiting >= 4, "the message of the member");
    assert(relay.stats().rejections.per_ip >= 1);
  });

  Deno.test(`relay on ${transport} frees the seat of a POST after its answer`, async () => {
    await using relay = await start({ limits: { max_connections: 2, max_connections_per_ip: 2 } });
    await using alice = await connect(relay);
    for (let i = 0; i < 5; i++) assertEquals(await post(relay, `${i}`), [204, ""]);
    assertEquals(await alice.take(5), ["0", "1", "2", "3", "4"]);
    using client = await RawClient.open(relay);
    client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n");
    await until(async () => (await post(relay, "x"))[0] === 503, "the seat to be taken");
    client.reset();
    await until(async () => (await post(relay, "y"))[0] === 204, "the seat to be free");
  });

  Deno.test(`relay on ${transport} keeps the order in which one address posts`, async () => {
    await using relay = await start();
    await using alice = await connect(relay);
    for (let i = 0; i < 50; i++) await post(relay, `${i}`);
    assertEquals(await alice.take(50), Array.from({ length: 50 }, (_, i) => `${i}`));
  });

  Deno.test(`relay on ${transport} refuses a POST that requests an upgrade, and other methods`, async () => {
    await using relay = await start();
    for (const method of ["PUT", "DELETE", "OPTIONS"]) {
      const response = await fetch(httpOf(relay), { method });
      await response.body?.cancel();
      assertEquals([response.status, response.headers.get("allow")], [405, "GET, POST"]);
    }
    using client = await RawClient.open(relay);
    const upgrade = "POST / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
      "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    assertMatch(await client.ask(upgrade), /^HTTP\/1.1 405 /i);
  });

  Deno.test(`relay on ${transport} publishes messages from before a shutdown and refuses later ones`, async () => {
    const relay = await start({ shutdown: { delay_seconds: 0.3 } });
    const alice = await connect(relay);
    assertEquals(await post(relay, "in time"), [204, ""]);
    const stopped = relay.stop();
    const [status, text] = await post(relay, "too late");
    assertEquals([status, text], [503, "the relay is shutting down\n"]);
    assertEquals(await alice.next(), "in time");
    assertEquals(await bounded(alice.closed, "the end"), CLOSE.shutdown);
    await stopped;
  });

  Deno.test(`relay on ${transport} accepts a POST over TLS, whatever version of HTTP the client prefers`, async () => {
    await using folder = await tempFolder();
    const files = await makeCertificate(folder.path, "own");
    await using relay = await start({
      server: { tls: { enabled: true, ...files } },
      limits: { max_message_bytes: 100_000 },
    });
    const caCerts = [await Deno.readTextFile(files.cert_file)];
    using client = Deno.createHttpClient({ caCerts });
    await using alice = await connect(relay, { client });
    const url = relay.url.replace("wss:", "https:");
    const large = await folder.write("large", "x".repeat(1_000_000));
    for (const version of ["--http1.1", "--http2"]) {
      const common = [version, "--cacert", files.cert_file, "-w", "%{http_code}", url];
      assertEquals(await curl("-d", version, ...common), "204");
      assertEquals(await alice.next(), version);
      if (version === "--http2") continue; // The platform may end the stream before the answer is read.
      assertMatch(await curl("--data-binary", `@${large}`, ...common), /413$/);
    }
  });
}

Deno.test("relay on ws counts a POST that it refuses once, whoever finds the fault", async () => {
  await using relay = await startRelay({ server: { transport: "ws" } });
  const chunked = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
  const requests = [
    `${chunked}x\r\n`,
    `${chunked}1\r\na\r\nx\r\n`,
    "POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\na",
  ];
  for (const request of requests) {
    using client = await RawClient.open(relay);
    client.send(request);
    await bounded(client.ended, "the end of the connection");
  }
  await until(() => relay.stats().rejections.bad_request >= requests.length, "all to be counted");
  await sleep(0.1);
  assertEquals(relay.stats().rejections.bad_request, requests.length);
});
