import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import type { Batch } from "../hub.ts";
import { framesOf } from "../testing/batches.ts";
import { type Envelope, OVERHEAD_BYTES, randomOrigin, read, VERSION, write } from "./wire.ts";

const payload = fc.uint8Array({ maxLength: 300, size: "max" });
const message = fc.oneof(fc.string(), payload);
const section = fc.record({ room: fc.string(), messages: fc.array(message, { maxLength: 5 }) });
const number = fc.nat({ max: 2 ** 48 - 1 });
const envelope: fc.Arbitrary<Envelope> = fc.record({
  origin: number,
  number,
  batch: fc.array(section, { maxLength: 3 })
    .map((all) => all.map(({ room, messages }) => ({ room, ...framesOf(messages) }))),
});

/** Converts batches to a form that can be compared: a view of a buffer is not equal to a copy of it. */
const plain = (batch: Batch) => batch.map((each) => ({ ...each, frames: [...each.frames] }));

function readBatch(bytes: Uint8Array): Envelope {
  const reading = read(bytes);
  if (reading.kind !== "batch") throw new Error(`it is ${reading.kind}`);
  return reading;
}

Deno.test("read decodes what write has encoded without copying frames", () => {
  fc.assert(fc.property(envelope, (sent) => {
    const bytes = write(sent), reading = readBatch(bytes);
    assertEquals([reading.origin, reading.number], [sent.origin, sent.number]);
    assertEquals(plain(reading.batch), plain(sent.batch));
    for (const { frames } of reading.batch) assert(frames.buffer === bytes.buffer);
  }));
});

Deno.test("read decodes messages of every kind of length that frames have", () => {
  const messages = [0, 125, 126, 65535, 65536].map((length) => new Uint8Array(length));
  const batch = [{ room: "/", ...framesOf(messages) }];
  const reading = readBatch(write({ origin: 1, number: 1, batch }));
  assertEquals(reading.batch[0].ends, batch[0].ends);
});

Deno.test("read accepts any bytes, and every batch that it returns can be sent to clients", () => {
  const random = fc.uint8Array({ maxLength: 100 });
  const versioned = random.map((rest) => new Uint8Array([VERSION, ...rest]));
  const mutated = fc.tuple(envelope, fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 3 }))
    .map(([sent, changes]) => {
      const bytes = write(sent);
      for (const [at, value] of changes) bytes[at % bytes.length] = value;
      return bytes;
    });
  const cut = fc.tuple(envelope, fc.nat()).map(([sent, length]) => {
    const bytes = write(sent);
    return bytes.subarray(0, length % bytes.length);
  });
  const kinds = new Set<string>();
  fc.assert(
    fc.property(fc.oneof(random, versioned, mutated, cut), (bytes) => {
      const reading = read(bytes);
      kinds.add(reading.kind);
      if (reading.kind === "batch") { for (const each of reading.batch) assertSendable(each); }
    }),
    { numRuns: 5000 },
  );
  assertEquals([...kinds].sort(), ["batch", "unknown version", "unreadable"]);
});

/** Reads frames like a client (RFC 6455 §5.2), and compares the ends. */
function assertSendable({ frames, ends }: Batch[number]): void {
  let at = 0;
  for (const end of ends) {
    assert(frames[at] === 0x81 || frames[at] === 0x82);
    const view = new DataView(frames.buffer, frames.byteOffset + at, end - at);
    const short = view.getUint8(1);
    const [head, length] = short < 126
      ? [2, short]
      : short === 126
      ? [4, view.getUint16(2)]
      : [10, Number(view.getBigUint64(2))];
    assertEquals(at + head + length, end);
    at = end;
  }
  assertEquals(at, frames.length);
}

const whole = write({ origin: 1, number: 1, batch: [{ room: "/", ...framesOf(["hello"]) }] });
const frameAt = whole.length - 7;

const WRONG: Record<string, [why: string, bytes: Uint8Array]> = {
  "nothing": ["it is empty", new Uint8Array()],
  "half a header": ["its header is cut off", whole.subarray(0, 12)],
  "half a section": ["a section is cut off", whole.subarray(0, 15)],
  "half a frame": ["a section is longer than the rest", whole.subarray(0, -1)],
  "a room that is not UTF-8": ["the name of a room is not UTF-8", changed(frameAt - 1, 0xff)],
  "a ping": ["frames are not whole messages of a server", changed(frameAt, 0x89)],
  "a continuation": ["frames are not whole messages of a server", changed(frameAt, 0x80)],
  "a fragment": ["frames are not whole messages of a server", changed(frameAt, 0x01)],
  "a compressed message": ["frames are not whole messages of a server", changed(frameAt, 0xc1)],
  "a masked frame": ["frames are not whole messages of a server", changed(frameAt + 1, 0x85)],
  "a frame that is too long": [
    "frames are not whole messages of a server",
    changed(frameAt + 1, 6),
  ],
  "a frame that is too short": [
    "frames are not whole messages of a server",
    changed(frameAt + 1, 4),
  ],
  "a message more than there is": [
    "frames are not whole messages of a server",
    changed(frameAt - 6, 2),
  ],
};
for (const [what, [why, bytes]] of Object.entries(WRONG)) {
  Deno.test(`read does not mistake ${what} for a batch`, () => {
    assertEquals(read(bytes), { kind: "unreadable", why });
  });
}

function changed(at: number, value: number): Uint8Array {
  const bytes = whole.slice();
  bytes[at] = value;
  return bytes;
}

Deno.test("read distinguishes an unknown version from garbage", () => {
  assertEquals(read(changed(0, 2)), { kind: "unknown version", version: 2 });
  assertEquals(read(new Uint8Array([255])), { kind: "unknown version", version: 255 });
});

Deno.test("a batch with one section is no longer than its frames and the overhead", () => {
  const { frames, ends } = framesOf(["hello"]);
  const bytes = write({ origin: 1, number: 1, batch: [{ room: "x".repeat(200), frames, ends }] });
  assertEquals(bytes.length, frames.length + OVERHEAD_BYTES);
});

Deno.test("randomOrigin generates different integers of 48 bits", () => {
  const all = Array.from({ length: 1000 }, randomOrigin);
  assertEquals(new Set(all).size, all.length);
  assert(all.every((each) => Number.isInteger(each) && each >= 0 && each < 2 ** 48));
});
