import { assert, assertEquals, assertRejects } from "@std/assert";
import { Buffer } from "node:buffer";
import { ConfigError } from "./config.ts";
import type { Eviction } from "./hub.ts";
import { CLOSE } from "./transport/close.ts";
import { closeAll, connect, connectAll } from "./testing/client.ts";
import { expectOneLeave } from "./testing/leave.ts";
import { frame, handshake, OPCODE, RawClient } from "./testing/raw_client.ts";
import { type Changes, startRelay } from "./testing/start.ts";
import { tempFolder } from "./testing/temp.ts";
import { bounded, until } from "./testing/wait.ts";

const ENDINGS: [
  what: string,
  end: (client: RawClient) => void,
  eviction: Eviction | null,
][] = [
  ["a close frame", (client) => client.send(frame(OPCODE.close, new Uint8Array([3, 232]))), null],
  ["a close frame without a code", (client) => client.send(frame(OPCODE.close)), null],
  ["FIN", (client) => client.fin(), "error"],
  ["RST", (client) => client.reset(), "error"],
  ["a reserved opcode", (client) => client.send(frame(3)), "error"],
  ["a reserved bit", (client) => client.send(frame(OPCODE.text, "x", { reserved: 4 })), "error"],
  [
    "text that is not UTF-8",
    (client) => client.send(frame(OPCODE.text, new Uint8Array([0xff]))),
    "error",
  ],
];

const LAST_WORDS: [what: string, end: Uint8Array][] = [
  ["a close frame", frame(OPCODE.close, new Uint8Array([3, 232]))],
  ["a message that is too big", frame(OPCODE.text, "seven77")],
  ["a breach of the protocol", frame(3)],
];

const REFUSALS: [what: string, request: string, status: string, header: string | null][] = [
  ["a plain GET", handshake({ Upgrade: null, Connection: null }), "426", "upgrade: websocket"],
  [
    "another version",
    handshake({ "Sec-WebSocket-Version": "8" }),
    "426",
    "sec-websocket-version: 13",
  ],
  ["another method", handshake({}, "PUT / HTTP/1.1"), "405", "allow: get"],
  ["another path", handshake({}, "GET /chat HTTP/1.1"), "404", null],
  ["a path that only looks like /", handshake({}, "GET //x HTTP/1.1"), "404", null],
  ["a key that is none", handshake({ "Sec-WebSocket-Key": "x" }), "400", null],
];

for (const transport of ["native", "ws"] as const) {
  const start = ({ server, ...rest }: Changes = {}) => {
    return startRelay({ ...rest, server: { transport, ...server } });
  };

  Deno.test(`relay on ${transport} sends every message to every client, the sender included`, async () => {
    await using relay = await start();
    await using alice = await connect(relay);
    await using bob = await connect(relay);
    alice.send("hello");
    assertEquals([await alice.next(), await bob.next()], ["hello", "hello"]);
    bob.send("hi");
    assertEquals([await alice.next(), await bob.next()], ["hi", "hi"]);
  });

  Deno.test(`relay on ${transport} keeps text text and binary binary, whatever their content and size`, async () => {
    await using relay = await start();
    await using alice = await connect(relay);
    await using bob = await connect(relay);
    const messages = [
      "",
      new Uint8Array(0),
      "\u0000 ä € 😀 \u200d \ufeff \u2028 e\u0301 <script>",
      new Uint8Array([0, 255, 10, 13]),
      "x".repeat(1024 * 1024),
      new Uint8Array(1024 * 1024).fill(7),
      "😀".repeat(256 * 1024),
    ];
    for (const message of messages) alice.send(message);
    assertEquals(await bob.take(messages.length), messages);
    assertEquals(await alice.take(messages.length), messages);
  });

  Deno.test(`relay on ${transport} reassembles a fragmented message and sends it as one`, async () => {
    await using relay = await start();
    await using bob = await connect(relay);
    using alice = await RawClient.join(relay);
    alice.send(frame(OPCODE.text, "one ", { fin: false }));
    alice.send(frame(OPCODE.ping, "still there?"));
    alice.send(frame(OPCODE.continuation, "message"));
    assertEquals(await bob.next(), "one message");
    assertEquals((await alice.next()).opcode, OPCODE.pong);
  });

  Deno.test(`relay on ${transport} shows twenty clients the messages of five senders in one order`, async () => {
    await using relay = await start();
    const clients = await connectAll(relay, 20);
    const each = 200;
    for (let i = 0; i < each; i++) {
      clients.slice(0, 5).forEach((client, sender) => client.send(`${sender}:${i}`));
      if (i % 20 === 0) await clients[i % 5].next(); // Lets the others interleave.
    }
    const first = await clients[10].take(5 * each);
    assertEquals(new Set(first).size, 5 * each);
    for (let sender = 0; sender < 5; sender++) {
      const own = first.filter((message) => `${message}`.startsWith(`${sender}:`));
      assertEquals(own, Array.from({ length: each }, (_, i) => `${sender}:${i}`));
    }
    for (const client of clients.slice(11)) assertEquals(await client.take(5 * each), first);
    await closeAll(clients);
  });

  for (const [what, end, eviction] of ENDINGS) {
    Deno.test(`relay on ${transport} counts a client that ends with ${what} exactly once`, async () => {
      await using relay = await start();
      await expectOneLeave(relay, end, eviction);
    });
  }

  Deno.test(`relay on ${transport} counts a message's size in UTF-8 and evicts the sender of one that is too big`, async () => {
    await using relay = await start({ limits: { max_message_bytes: 6 } });
    await using bob = await connect(relay);
    for (const [fits, tooBig] of [["€€", "€€e"], ["sixsix", "seven77"]]) {
      await using alice = await connect(relay);
      alice.send(fits);
      alice.send(tooBig);
      assertEquals(await bob.next(), fits);
      assertEquals(await bounded(alice.closed, "the eviction"), CLOSE.too_big);
    }
    await using cathy = await connect(relay);
    cathy.send(new Uint8Array(7));
    assertEquals(await bounded(cathy.closed, "the eviction"), CLOSE.too_big);
    bob.send("end");
    assertEquals(await bob.next(), "end");
    const { evictions, messages } = relay.stats();
    assertEquals([evictions.too_big, messages], [3, 3]);
  });

  for (const [what, end] of LAST_WORDS) {
    Deno.test(`relay on ${transport} passes on a message that came in one packet with ${what}, but not to its sender`, async () => {
      await using relay = await start({ limits: { max_message_bytes: 6 } });
      await using bob = await connect(relay);
      using alice = await RawClient.join(relay);
      const heard: number[] = [];
      alice.consume(({ opcode }) => heard.push(opcode));
      alice.send(Buffer.concat([frame(OPCODE.text, "last"), end, frame(OPCODE.text, "late")]));
      assertEquals(await bob.next(), "last");
      await until(() => relay.stats().connected === 1, "alice to leave");
      bob.send("end");
      assertEquals(await bob.next(), "end");
      assertEquals(heard.filter((opcode) => opcode !== OPCODE.close), []);
    });
  }

  Deno.test(`relay on ${transport} that is full answers 503 and admits again when a client leaves`, async () => {
    await using relay = await start({ limits: { max_connections: 2 } });
    const [alice, bob] = await connectAll(relay, 2);
    using cathy = await RawClient.open(relay);
    const answer = await cathy.ask(handshake());
    assert(answer.startsWith("HTTP/1.1 503 "), answer);
    assert(answer.toLowerCase().includes("\r\nretry-after: 10"), answer);
    assertEquals(relay.stats().rejections.full, 1);
    await alice.close();
    await until(() => relay.stats().connected === 1, "alice to leave");
    await using dave = await connect(relay);
    dave.send("in");
    assertEquals(await bob.next(), "in");
    await bob.close();
  });

  Deno.test(`relay on ${transport} never has more than max_connections, however many clients ask at once`, async () => {
    await using relay = await start({ limits: { max_connections: 10 } });
    const raw = await Promise.all(Array.from({ length: 40 }, () => RawClient.open(relay)));
    const answers = await Promise.all(raw.map((client) => client.ask(handshake())));
    const admitted = answers.filter((answer) => answer.startsWith("HTTP/1.1 101")).length;
    await until(() => relay.stats().connected === 10, "ten to join");
    assertEquals([admitted, relay.stats().rejections.full], [10, 30]);
    for (const client of raw) client.reset();
    await until(() => relay.stats().connected === 0, "all to leave");
  });

  for (const [what, request, status, header] of REFUSALS) {
    Deno.test(`relay on ${transport} refuses ${what} and counts it`, async () => {
      await using relay = await start();
      using client = await RawClient.open(relay);
      const answer = (await client.ask(request)).toLowerCase();
      assert(answer.startsWith(`http/1.1 ${status} `), answer);
      assert(header === null || answer.includes(`\r\n${header}`), answer);
      const counted = Object.entries(relay.stats().rejections).filter(([, count]) => count > 0);
      assertEquals(counted, [["bad_request", 1]]);
    });
  }

  Deno.test(`relay on ${transport} answers health checks on its own port, with or without tokens`, async () => {
    await using folder = await tempFolder();
    const tokens = `${folder.path}/tokens`;
    await Deno.writeTextFile(tokens, "a-good-token\n");
    const server = { auth_tokens_file: tokens, allowed_origins: [] };
    await using relay = await start({ server });
    const ask = async (path: string, method: string) => {
      const url = `${relay.url.replace("ws:", "http:")}${path}`;
      const response = await fetch(url, { method, headers: { origin: "https://elsewhere.test" } });
      return [response.status, await response.text()];
    };
    assertEquals(await ask("healthz", "GET"), [200, "ok\n"]);
    assertEquals(await ask("readyz", "GET"), [200, "ready\n"]);
    assertEquals(await ask("readyz", "HEAD"), [200, ""]);
    assertEquals(await ask("readyz", "POST"), [405, "use GET\n"]);
    assert(Object.values(relay.stats().rejections).every((count) => count === 0));
  });

  Deno.test(`relay on ${transport} lets alice and bob talk at full speed while cathy has stopped reading`, async () => {
    const limit = 256 * 1024, size = 64 * 1024, count = 250;
    await using relay = await start({ limits: { max_backlog_bytes: limit } });
    using alice = await RawClient.join(relay);
    using bob = await RawClient.join(relay);
    using cathy = await RawClient.join(relay);
    await until(() => relay.stats().connected === 3, "all to join");
    let largest = 0;

    /** Lets alice send one message after the other to bob, and returns how long the median one took. */
    async function talk(): Promise<number> {
      const times: number[] = [];
      for (let i = 0; i < count; i++) {
        const started = performance.now();
        alice.send(frame(OPCODE.text, `${i} `.padEnd(size, "x")));
        const { payload } = await bob.next();
        times.push(performance.now() - started);
        assertEquals(new TextDecoder().decode(payload.subarray(0, 5)), `${i} `.padEnd(5, "x"));
        await alice.next();
        largest = Math.max(largest, relay.stats().backlogBytesMax);
      }
      return times.sort((a, b) => a - b)[count / 2];
    }
    const before = await talk();
    assertEquals(largest, 0);
    cathy.pause();
    const after = await talk();

    const { connected, evictions, messages } = relay.stats();
    assertEquals([connected, evictions.slow, messages], [2, 1, 2 * count]);
    assert(largest > 0, "cathy read after all");
    assert(largest <= limit + size, `the relay held ${largest} bytes for cathy`);
    assert(after < 5 * before, `a message took ${after} ms, and ${before} ms before cathy froze`);
  });

  Deno.test(`relay on ${transport} tells 50 clients that it shuts down, after it has sent everything queued`, async () => {
    const relay = await start();
    const clients = await connectAll(relay, 50);
    for (const client of clients) client.send("last words");
    await until(() => relay.stats().messages === 50, "all that was sent");
    const farewell = await relay.stop();
    assertEquals(farewell, { closed: 50, terminated: 0 });
    for (const client of clients) {
      assertEquals(await client.take(50), Array(50).fill("last words"));
      assertEquals(await bounded(client.closed, "the end"), CLOSE.shutdown);
    }
    await assertRejects(() => connect(relay));
  });

  Deno.test(`relay.stop on ${transport} may be called twice`, async () => {
    const relay = await start();
    assertEquals(await Promise.all([relay.stop(), relay.stop()]), [
      { closed: 0, terminated: 0 },
      { closed: 0, terminated: 0 },
    ]);
  });

  Deno.test(`start on ${transport} says which port is taken, and leaves nothing behind`, async () => {
    await using relay = await start();
    const port = Number(new URL(relay.url).port);
    const { message } = await assertRejects(() => start({ server: { port } }), Error);
    assertEquals(
      message,
      `Cannot listen on 127.0.0.1 port ${port}: the port is taken; set server.port (--port) to another`,
    );
    const second = await assertRejects(() => start({ metrics: { port } }), Error);
    assertEquals(
      second.message,
      `Cannot listen on 127.0.0.1 port ${port}: the port is taken; set metrics.port (--metrics-port) to another`,
    );
  });

  Deno.test(`start on ${transport} says so when the address is not one of this machine`, async () => {
    for (const section of ["server", "metrics"]) {
      for (const hostname of ["192.0.2.1", "2001:db8::1", "a b"]) {
        const { problems } = await assertRejects(
          () => start({ [section]: { hostname } }),
          ConfigError,
        );
        assertEquals(problems, [
          `${section}.hostname must be an address of this machine, got "${hostname}"`,
        ]);
      }
    }
  });

  for (const hostname of ["::1", "[::1]"]) {
    Deno.test(`relay on ${transport} listens on IPv6, written ${hostname}`, async () => {
      await using relay = await start({ server: { hostname }, metrics: { hostname } });
      assert(/^ws:\/\/\[::1\]:\d+\/$/.test(relay.url), relay.url);
      await using alice = await connect(relay);
      alice.send("six");
      assertEquals(await alice.next(), "six");
      assertEquals(
        (await fetch(`${relay.metricsUrl}readyz`).then((it) => it.text())).trim(),
        "ready",
      );
    });
  }

  Deno.test(`relay on ${transport} logs an address at which it answers`, async () => {
    await using four = await start({ server: { hostname: "0.0.0.0" } });
    assertEquals(new URL(four.url).hostname, "127.0.0.1");
    await using both = await start({ server: { hostname: "::" } });
    assertEquals(new URL(both.url).hostname, "localhost");
    const { port } = new URL(both.url);
    for (const url of [both.url, `ws://127.0.0.1:${port}/`, `ws://[::1]:${port}/`]) {
      await using alice = await connect({ url });
      alice.send(url);
      assertEquals(await alice.next(), url);
    }
  });
}
