import { assert } from "@std/assert";
import { Hub } from "../hub.ts";
import { encodeTexts } from "../testing/encoded.ts";
import { FakeConnection } from "../testing/fake_connection.ts";
import { collectOwnGarbage } from "../testing/garbage.ts";
import { endOfTurn } from "../testing/wait.ts";

const ROOMS = 100_000;

/** Returns the memory in use, in bytes. */
function heapInUse(): number {
  collectOwnGarbage();
  return Deno.memoryUsage().heapUsed;
}

Deno.test("Hub releases the memory of 100,000 rooms, with or without messages in them", async () => {
  const hub = new Hub<string, string>({
    encode: encodeTexts,
    maxMessageBytes: 100,
    maxBacklogBytes: 1000,
    history: { bytes: 1e9, milliseconds: 50 },
    now: () => now,
  });
  let now = 0;
  const before = heapInUse();
  let alive = 0;
  for (let round = 0; round < 2; round++) {
    const members = Array.from(
      { length: ROOMS },
      (_, i) => hub.join(new FakeConnection("someone", `/${round}/${i}`)),
    );
    for (const member of members) hub.publish(member, "hello", 5);
    await endOfTurn();
    alive = heapInUse();
    for (const member of members.splice(0)) hub.leave(member, "closed");
    assert(hub.stats().rooms === ROOMS, "their history is gone already");
    now += 100;
    hub.expire(0);
    assert(hub.stats().rooms === 0, "there are rooms left");
  }
  const after = heapInUse();
  const room = (alive - before) / ROOMS;
  console.log(`a room with a member, a message and its history: ${Math.round(room)} bytes of heap`);
  assert(
    after - before < (alive - before) / 10,
    `of ${alive - before} bytes ${after - before} stayed`,
  );
});
