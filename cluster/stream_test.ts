import { assertEquals } from "@std/assert";
import type { StreamInfo } from "@nats-io/jetstream";
import { endsAt, findLoss, type Knowledge, type Place } from "./stream.ts";

const CREATED = "2026-11-28T08:00:00Z", SECOND = 1_000_000_000n;

/** Makes a stream that holds some messages. Since its creation, it has stored one message per second. */
function streamOf(first_seq: number, last_seq: number, created = CREATED): StreamInfo {
  const last_ts = Temporal.Instant.from(CREATED).add({ seconds: last_seq }).toString();
  return { created, state: { first_seq, last_seq, last_ts } } as StreamInfo;
}

/** Returns the place after a message of such a stream. */
function placeAt(sequence: number): Place {
  const start = Temporal.Instant.from(CREATED).epochNanoseconds;
  return { created: CREATED, sequence, time: `${start + BigInt(sequence) * SECOND}` };
}

const START: Place = { created: CREATED, sequence: 0, time: null };
const OTHER = { ...placeAt(5), time: "1" };
const OTHERS = "the stream has lost its end, and others are in its place";
const CANNOT_TELL = "the stream no longer holds 5, so that nobody can tell what followed it";

Deno.test("findLoss finds exactly the messages that are missing between a place and a stream", () => {
  const cases: [info: StreamInfo, place: Place, why: string | null, Partial<Knowledge>?][] = [
    [streamOf(1, 5), placeAt(5), null],
    [streamOf(1, 9), placeAt(5), null],
    [streamOf(5, 9), placeAt(5), null],
    [streamOf(6, 9), placeAt(5), CANNOT_TELL],
    [streamOf(6, 9), { ...placeAt(5), time: null }, null],
    [streamOf(7, 9), placeAt(5), "the stream no longer holds 6 to 6"],
    [streamOf(6, 5), placeAt(5), null], // All messages expired, and no new ones came.
    [streamOf(0, 0), START, null],
    [streamOf(1, 3), START, null],
    [streamOf(3, 4), START, "the stream no longer holds 1 to 2"],
    [streamOf(1, 9), placeAt(5), "the stream no longer holds 6 to 7", { jumpedTo: 8 }],
    [streamOf(1, 9), placeAt(5), CANNOT_TELL, { jumpedTo: 6 }],
    [streamOf(1, 3), placeAt(5), "the stream has lost its end, 4 to 5"],
    [streamOf(1, 7), placeAt(5), null, { stored: 7 }],
    [streamOf(1, 5), placeAt(5), "the stream has lost its end, 6 to 7", { stored: 7 }],
    [streamOf(1, 5), OTHER, OTHERS],
    [streamOf(1, 9), placeAt(5), OTHERS, { differs: true }],
    [streamOf(1, 9, "2026-11-28T09:00:00Z"), placeAt(5), "the stream was created again"],
  ];
  for (const [info, place, why, knowledge] of cases) {
    assertEquals(findLoss(info, place, knowledge)?.why ?? null, why);
  }
});

Deno.test("endsAt distinguishes places with the same number by their times", () => {
  assertEquals(endsAt(streamOf(1, 5), placeAt(5)), true);
  assertEquals(endsAt(streamOf(6, 5), placeAt(5)), true);
  assertEquals(endsAt(streamOf(1, 5), { ...placeAt(5), time: null }), true);
  assertEquals(endsAt(streamOf(1, 5), OTHER), false);
  assertEquals(endsAt(streamOf(1, 6), placeAt(5)), false);
  assertEquals(endsAt(streamOf(1, 5, "2026-11-28T09:00:00Z"), placeAt(5)), false);
});
