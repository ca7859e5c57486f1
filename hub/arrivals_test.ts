import { assert, assertEquals } from "@std/assert";
import { Arrivals, type Piece } from "./arrivals.ts";
import { MESSAGE_BYTES } from "./queue.ts";

/** Makes a piece with messages of one byte in frames of three bytes, each containing the given number. */
function piece(number: number, messages: number, origins: Piece["origins"] = null): Piece {
  return {
    frames: new Uint8Array(3 * messages).fill(number),
    ends: Array.from({ length: messages }, (_, i) => 3 * (i + 1)),
    payloadBytes: messages,
    origins,
    time: 0,
  };
}

const EVERYTHING = { bytes: Infinity, messages: Infinity };

Deno.test("Arrivals joins pieces in the order in which they arrived", () => {
  const arrivals = new Arrivals();
  arrivals.push(piece(1, 2));
  arrivals.push(piece(2, 1));
  assertEquals([arrivals.messages, arrivals.bytes], [3, 3 + 3 * MESSAGE_BYTES]);
  assertEquals(arrivals.take(EVERYTHING), {
    frames: new Uint8Array([1, 1, 1, 1, 1, 1, 2, 2, 2]),
    ends: [3, 6, 9],
    payloadBytes: 3,
    origins: null,
    time: 0,
  });
  assertEquals([arrivals.messages, arrivals.bytes], [0, 0]);
});

Deno.test("Arrivals does not copy a single piece", () => {
  const arrivals = new Arrivals();
  const only = piece(1, 2);
  arrivals.push(only);
  assert(arrivals.take(EVERYTHING) === only);
});

Deno.test("Arrivals takes as many pieces as the bounds allow, but at least one", () => {
  const arrivals = new Arrivals();
  for (const number of [1, 2, 3, 4]) arrivals.push(piece(number, 2));
  const cost = 2 * (1 + MESSAGE_BYTES);
  assertEquals(arrivals.take({ bytes: Infinity, messages: 5 }).ends.length, 4);
  assertEquals(arrivals.take({ bytes: 2 * cost - 1, messages: Infinity }).ends.length, 2);
  assertEquals(arrivals.take({ bytes: 1, messages: 1 }).frames[0], 4);
});

Deno.test("Arrivals keeps the origins of the relay's own messages among those of others", () => {
  const arrivals = new Arrivals();
  const own = { sender: "alice", bytes: 1 };
  arrivals.push(piece(1, 2));
  arrivals.push(piece(2, 1, [own]));
  const { origins } = arrivals.take(EVERYTHING);
  assertEquals(origins!.map(({ sender }) => sender), [null, null, "alice"]);
});

Deno.test("Arrivals wait for more messages for a quarter of a delivery's duration, and only once", () => {
  const arrivals = new Arrivals();
  arrivals.deliveryMilliseconds = 8;
  arrivals.push(piece(1, 1));
  assert(arrivals.mayWait(100) && arrivals.mayWait(101.9));
  arrivals.push(piece(2, 1));
  assert(!arrivals.mayWait(102));
  arrivals.take({ bytes: 1, messages: 1 });
  assert(!arrivals.mayWait(103));
  arrivals.take(EVERYTHING);
  arrivals.push(piece(3, 1));
  assert(arrivals.mayWait(104));
  arrivals.deliveryMilliseconds = 1000;
  assert(arrivals.mayWait(113.9) && !arrivals.mayWait(114));
});
