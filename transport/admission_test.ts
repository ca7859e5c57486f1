import { assertEquals } from "@std/assert";
import type { Seat } from "../admission/admission.ts";
import { Hub } from "../hub.ts";
import { frame, handshake, OPCODE, RawClient } from "../testing/raw_client.ts";
import { bounded, sleep, until } from "../testing/wait.ts";
import { native } from "./native.ts";
import type { Transport } from "./transport.ts";
import { ws } from "./ws/ws.ts";

/** Listens without a relay around it, and lets the test decide when who is admitted. */
async function listen<Message, Data>(transport: Transport<Message, Data>) {
  const hub = new Hub({ encode: transport.encode, maxMessageBytes: 1e6, maxBacklogBytes: 1e6 });
  const waiting: ((admitted: Seat | { status: number; headers: object; body: string }) => void)[] =
    [];
  let taken = 0, released = 0;
  const listener = await transport.listen({
    // deno-lint-ignore no-explicit-any -- a refusal of any status.
    admit: () => new Promise<any>((resolve) => waiting.push(resolve)),
    countRejection: () => {},
    members: hub,
    address: { hostname: "127.0.0.1", port: 0 },
    certificate: null,
    idleTimeoutSeconds: 60,
    handshakeTimeoutSeconds: 60,
    maxMessageBytes: 1e6,
    maxDescriptors: null,
  });
  return {
    url: `ws://127.0.0.1:${listener.port}/`,
    hub,
    seats: () => ({ taken, released }),
    async asked() {
      await until(() => waiting.length > 0, "a request");
    },
    admit() {
      taken++;
      let free = false;
      const release = () => {
        if (!free) released++;
        free = true;
      };
      waiting.shift()!({
        peer: "someone",
        address: "test",
        room: "/",
        replay: null,
        subprotocol: null,
        mayTalk: true,
        expires: Infinity,
        release,
      });
    },
    refuse() {
      waiting.shift()!({ status: 401, headers: {}, body: "no" });
    },
    async [Symbol.asyncDispose]() {
      await bounded(hub.close(), "all to leave");
      await listener.stop(1);
    },
  };
}

const TRANSPORTS = { native: () => listen(native), ws: () => listen(ws) };

for (const [transport, listen] of Object.entries(TRANSPORTS)) {
  Deno.test(`${transport} loses nothing that a client sends while its token is checked`, async () => {
    await using server = await listen();
    using client = await RawClient.open(server);
    const whole = frame(OPCODE.text, "with the handshake");
    client.send(handshake());
    client.send(whole.subarray(0, 5));
    await server.asked();
    client.send(whole.subarray(5));
    client.send(frame(OPCODE.text, "x".repeat(300_000)));
    await sleep(0.05); // Time for it to arrive, which is not to be seen from here.
    client.send(frame(OPCODE.text, "last"));
    server.admit();
    const texts = [await client.next(), await client.next(), await client.next()]
      .map(({ payload }) => new TextDecoder().decode(payload));
    assertEquals(texts.map((text) => text.slice(0, 18)), [
      "with the handshake",
      "x".repeat(18),
      "last",
    ]);
    client.reset();
    await until(() => server.seats().released === 1, "the seat");
  });

  for (
    const [how, leave] of Object.entries({
      "resets the connection": (client: RawClient) => client.reset(),
      "ends the connection": (client: RawClient) => client.fin(),
    })
  ) {
    Deno.test(`${transport} frees the seat of a client that ${how} while its token is checked`, async () => {
      await using server = await listen();
      using client = await RawClient.open(server);
      client.send(handshake());
      await server.asked();
      leave(client);
      await sleep(0.05); // The same.
      server.admit();
      await until(() => server.seats().released === 1, "the seat");
      assertEquals(server.hub.stats().connected, 0);
    });
  }

  Deno.test(`${transport} refuses a client after checking its token, or notices that it has gone`, async () => {
    await using server = await listen();
    using alice = await RawClient.open(server);
    const answered = alice.ask(handshake());
    await server.asked();
    server.refuse();
    assertEquals((await answered).slice(0, 12), "HTTP/1.1 401");
    using bob = await RawClient.open(server);
    bob.send(handshake());
    await server.asked();
    bob.reset();
    await sleep(0.05); // The same.
    server.refuse();
    using cathy = await RawClient.open(server);
    const joined = cathy.ask(handshake());
    await server.asked();
    server.admit();
    assertEquals((await joined).slice(0, 12), "HTTP/1.1 101");
    cathy.reset();
    await until(() => server.seats().released === 1, "the seat");
  });
}
