import { assert, assertEquals } from "@std/assert";
import { Buffer } from "node:buffer";
import { type Finding, readByTheLetter } from "../../testing/reader_model.ts";
import { FrameReader } from "./reader.ts";

/** How many streams are read; the seed of the first can be given to see one again. */
const RUNS = Number(Deno.env.get("FUZZ_RUNS") ?? 100_000);
const SEED = Number(Deno.env.get("FUZZ_SEED") ?? Math.floor(Math.random() * 1e9));

const LIMIT = 300, SPARE_FRAGMENTS = 16 * 1024;

/** Numbers that look random, the same for the same seed (mulberry32). */
function randomOf(seed: number): (below: number) => number {
  return (below) => {
    seed = seed + 0x6d2b79f5 | 0;
    let t = Math.imul(seed ^ seed >>> 15, 1 | seed);
    t = t + Math.imul(t ^ t >>> 7, 61 | t) ^ t;
    return Math.floor(((t ^ t >>> 14) >>> 0) / 2 ** 32 * below);
  };
}

type Random = ReturnType<typeof randomOf>;

const pick = <T>(random: Random, items: readonly T[]) => items[random(items.length)];

/** A frame, mostly as it should be, masked with anything. */
function frameOf(random: Random, opcode: number, fin: boolean, body: Uint8Array): Buffer {
  const odd = random(60);
  const { length } = body;
  const size = odd === 1 ? 8 : length > 0xffff || odd === 2 ? 8 : length > 125 || odd === 3 ? 2 : 0;
  const head = Buffer.alloc(2 + size);
  head[0] = (fin ? 0x80 : 0) | (odd === 4 ? 1 << 4 + random(3) : 0) | opcode;
  head[1] = (odd === 5 ? 0 : 0x80) | (size === 0 ? length : size === 2 ? 126 : 127);
  if (size === 2) head.writeUInt16BE(length, 2);
  if (size === 8) {
    head.writeBigUInt64BE(BigInt(length) + (odd === 1 ? 1n << 31n + BigInt(random(33)) : 0n), 2);
  }
  const mask = Buffer.from([random(256), random(256), random(256), random(256)]);
  return Buffer.concat([head, mask, body.map((byte, i) => byte ^ mask[i % 4])]);
}

const TEXTS = [
  "",
  "hello",
  "κόσμε",
  "\u0000",
  "😀😀",
  "x".repeat(125),
  "é".repeat(63),
  "\uffff",
  "z".repeat(LIMIT),
];
const BYTES = [[0xce], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0xc0, 0x80], [0xff], [
  0xe2,
  0x82,
]];

function bodyOf(random: Random): Buffer {
  const kind = random(10);
  if (kind < 7) return Buffer.from(pick(random, TEXTS));
  if (kind < 9) {
    return Buffer.concat([Buffer.from(pick(random, TEXTS)), Buffer.from(pick(random, BYTES))]);
  }
  return Buffer.from(Array.from({ length: random(130) }, () => random(256)));
}

function controlOf(random: Random): Buffer {
  const opcode = pick(random, [9, 9, 9, 10, 10, 8]);
  if (opcode !== 8) {
    return frameOf(random, opcode, random(40) > 0, bodyOf(random).subarray(0, 125 + random(2)));
  }
  const code = pick(random, [1000, 1001, 1005, 1011, 1014, 1015, 2999, 3000, 4999, 5000, 0]);
  const body = pick(random, [[], [3], [code >> 8, code & 255], [
    code >> 8,
    code & 255,
    ...bodyOf(random).subarray(0, 120),
  ]]);
  return frameOf(random, 8, true, Uint8Array.from(body));
}

/** A message in fragments of any size, with control frames between them. */
function messageOf(random: Random): Buffer[] {
  const body = bodyOf(random), opcode = pick(random, [1, 1, 2]), frames: Buffer[] = [];
  for (let at = 0, first = true, fin = false; !fin; first = false) {
    const count = random(3) > 0 ? body.length - at : random(body.length - at + 1);
    fin = at + count === body.length && random(4) > 0;
    frames.push(
      frameOf(
        random,
        first ? opcode : random(50) > 0 ? 0 : opcode,
        fin,
        body.subarray(at, at + count),
      ),
    );
    at += count;
    if (random(5) === 0) frames.push(controlOf(random));
  }
  return frames;
}

function streamOf(random: Random): Buffer {
  if (random(10) === 0) return Buffer.from(Array.from({ length: random(60) }, () => random(256)));
  const frames: Buffer[] = [];
  for (let i = random(6); i >= 0; i--) {
    const kind = random(12);
    if (kind < 9) frames.push(...messageOf(random));
    else if (kind < 11) frames.push(controlOf(random));
    else frames.push(frameOf(random, random(16), random(2) > 0, bodyOf(random)));
  }
  const bytes = Buffer.concat(frames);
  for (let i = pick(random, [0, 0, 0, 1, 3]); i > 0 && bytes.length > 0; i--) {
    bytes[random(bytes.length)] = random(256);
  }
  return random(6) === 0 ? bytes.subarray(0, random(bytes.length + 1)) : bytes;
}

/** Reads a stream in pieces, and says what was found, and after how many bytes at the latest. */
function readInPieces(bytes: Buffer, nextPiece: () => number): Finding[] {
  const found: Finding[] = [];
  let at = 0;
  const reader = new FrameReader({
    message: (payload, binary) => found.push({ at, message: new Uint8Array(payload), binary }),
    ping: (payload) => found.push({ at, ping: new Uint8Array(payload) }),
    closed: (code) => found.push({ at, close: code }),
    breach: ({ code, reason }) => {
      assert(reason.length > 0 && reason.length < 60);
      found.push({ at, breach: code as 1002 | 1007 | 1009 });
    },
  }, LIMIT);
  while (at < bytes.length) {
    const piece = Buffer.from(bytes.subarray(at, at + nextPiece()));
    at += piece.length;
    for (let from = 0; from < piece.length;) from = reader.read(piece, from);
  }
  return found;
}

Deno.test(`FrameReader finds in ${RUNS} streams what the standard says, at the byte that decides, however they are cut`, () => {
  const seen = { message: 0, ping: 0, close: 0, 1002: 0, 1007: 0, 1009: 0 };
  for (let seed = SEED; seed < SEED + RUNS; seed++) {
    const random = randomOf(seed);
    const bytes = streamOf(random);
    const wanted = readByTheLetter(bytes, LIMIT, LIMIT + SPARE_FRAGMENTS);
    const hint = `FUZZ_SEED=${seed}: ${bytes.toString("hex")}`;
    assertEquals(readInPieces(bytes, () => 1), wanted, hint);
    const without = ({ at: _, ...finding }: Finding) => finding;
    for (const most of [bytes.length, 5, 40]) {
      const found = readInPieces(bytes, () => 1 + random(most)).map(without);
      assertEquals(found, wanted.map(without), hint);
    }
    for (const finding of wanted) {
      if ("breach" in finding) seen[finding.breach]++;
      else seen["message" in finding ? "message" : "ping" in finding ? "ping" : "close"]++;
    }
  }
  for (const [what, count] of Object.entries(seen)) {
    assert(count > RUNS / 200, `only ${count} times ${what}: ${JSON.stringify(seen)}`);
  }
});
