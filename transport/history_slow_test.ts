import { assert, assertEquals } from "@std/assert";
import { Buffer } from "node:buffer";
import { Hub } from "../hub.ts";
import { FakeConnection } from "../testing/fake_connection.ts";
import { collectOwnGarbage } from "../testing/garbage.ts";
import { endOfTurn } from "../testing/wait.ts";
import { native } from "./native.ts";
import type { Transport } from "./transport.ts";
import { ws } from "./ws/ws.ts";

/** Ignores what is written to it. */
class DeafConnection extends FakeConnection<never> {
  override write(): void {}
}

function hubOn<Message, Data>(
  { encode }: Transport<Message, Data>,
  options: { echo: boolean; historyBytes: number },
) {
  const { echo, historyBytes: bytes } = options;
  return new Hub<Message, Data>({
    encode,
    echo,
    maxMessageBytes: 1000,
    maxBacklogBytes: 1e6,
    history: { bytes, milliseconds: 1e9 },
  });
}

const HISTORY_BYTES = 8 * 1024 * 1024;

async function measure<Message, Data>(
  transport: Transport<Message, Data>,
  message: () => Message,
): Promise<number> {
  const inUse = () => {
    collectOwnGarbage();
    const { heapUsed, external } = Deno.memoryUsage();
    return heapUsed + external;
  };
  const hub = hubOn(transport, { echo: true, historyBytes: HISTORY_BYTES });
  const member = hub.join(new DeafConnection("someone"));
  const before = inUse();
  for (let i = 0; i < 60_000; i++) {
    hub.publish(member, message(), 1);
    await endOfTurn();
  }
  const used = inUse() - before;
  assertEquals(hub.stats().queuedMessages, 0);
  return used;
}

Deno.test("Hub keeps a history in the memory that it may take, also if messages came one by one", async () => {
  const used = {
    native: await measure(native, () => "x"),
    ws: await measure(ws, () => ({ payload: Buffer.from("x"), binary: false })),
  };
  for (const [transport, bytes] of Object.entries(used)) {
    assert(bytes < 1.5 * HISTORY_BYTES, `${bytes} bytes on ${transport}`);
  }
});

Deno.test("Hub without echo keeps no connection of those who have left for its history", async () => {
  const hub = hubOn(native, { echo: false, historyBytes: HISTORY_BYTES });
  const connections: WeakRef<DeafConnection>[] = [];
  for (let i = 0; i < 100; i++) {
    const connection = new DeafConnection("someone");
    const member = hub.join(connection);
    hub.publish(member, "hello", 5);
    await endOfTurn();
    hub.leave(member, "closed");
    connections.push(new WeakRef(connection));
  }
  await endOfTurn(); // Until then nothing that a WeakRef was made of is collected.
  collectOwnGarbage();
  assert(hub.stats().historyBytes > 0);
  const kept = connections.filter((each) => each.deref()).length;
  assert(kept <= 1, `${kept} connections`); // The last one may still be in a register.
});
