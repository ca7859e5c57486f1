import { assert, assertEquals, assertMatch } from "@std/assert";
import { collectOwnGarbage } from "../../testing/garbage.ts";
import { RawClient } from "../../testing/raw_client.ts";
import { startRelay } from "../../testing/start.ts";
import { bounded, endOfTurn } from "../../testing/wait.ts";
import { type Seat } from "../../admission/admission.ts";
import { Publisher } from "./publish.ts";

const SEAT = { room: "/", address: "192.0.2.7" } as Seat;
const HEAD = { type: null, length: null };

const publisherFor = (maxMessageBytes: number) =>
  new Publisher<Uint8Array>({
    members: { post: () => Promise.resolve("placed") },
    maxMessageBytes,
    countRejection: () => {},
    message: (payload) => payload,
  });

for (const transport of ["native", "ws"] as const) {
  Deno.test(`relay on ${transport} answers 408 to a body that does not end in time`, async () => {
    await using relay = await startRelay({
      server: { transport },
      limits: { max_message_bytes: 1000 },
    });
    using client = await RawClient.open(relay);
    const head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n123456789";
    assertMatch(await client.ask(head), /^HTTP\/1.1 408 /i);
    assertEquals(relay.stats().messages, 0);
  });
}

Deno.test("Publisher accepts messages after bodies that continued when they were given up", async () => {
  const publisher = publisherFor(1000);
  const { promise, resolve } = Promise.withResolvers<void>();
  async function* late() {
    await promise;
    yield new Uint8Array(40 * 1024 * 1024);
  }
  const all = [1, 2].map(() => publisher.publish(SEAT, HEAD, late()));
  const statuses = (await bounded(Promise.all(all), "the answers")).map(({ status }) => status);
  assertEquals(statuses, [408, 408]);
  resolve();
  await endOfTurn();
  async function* next() {
    yield new Uint8Array(1);
  }
  assertEquals((await publisher.publish(SEAT, HEAD, next())).status, 204);
});

Deno.test("Publisher needs little more memory than the size of a body, however small its chunks are", async () => {
  const chunks = 300_000;
  const publisher = publisherFor(chunks);
  const arrived = Promise.withResolvers<void>(), goOn = Promise.withResolvers<void>();
  async function* body() {
    for (let i = 0; i < chunks; i++) yield new Uint8Array([0x78]);
    arrived.resolve();
    await goOn.promise;
  }
  const inUse = () => {
    collectOwnGarbage();
    const { heapUsed, external } = Deno.memoryUsage();
    return heapUsed + external;
  };
  const before = inUse();
  const answer = publisher.publish(SEAT, HEAD, body());
  await bounded(arrived.promise, "the chunks");
  const used = inUse() - before;
  goOn.resolve();
  assertEquals((await answer).status, 204);
  assert(used < 10 * chunks, `${used} bytes for ${chunks}`);
});
