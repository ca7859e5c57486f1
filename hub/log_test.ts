import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { encodeTexts } from "../testing/encoded.ts";
import { type Entry, Log } from "./log.ts";

function entry(name: string, bytes = 10, time = 0): Entry<string> {
  const encoded = encodeTexts([name]);
  return { encoded, messages: 1, payloadBytes: bytes, bytes, origins: null, time };
}

const nameAt = (log: Log<string>, position: number) => log.at(position).encoded.all[0];

Deno.test("Log keeps nothing while no member lags, and its head moves on", () => {
  const log = new Log<string>();
  for (let i = 0; i < 5; i++) log.append(entry(`${i}`), false, false);
  assertEquals([log.head, log.bytes, log.length, log.keptBytes], [5, 50, 0, 0]);
});

Deno.test("Log keeps the entries that a laggard needs and discards them as the laggard catches up", () => {
  const log = new Log<string>();
  log.append(entry("before"), false, false);
  for (let i = 1; i <= 3; i++) log.append(entry(`${i}`), true, false);
  assertEquals([nameAt(log, 1), nameAt(log, 3), log.behind(1), log.behind(3)], ["1", "3", 30, 10]);
  log.release(3);
  assertEquals([log.length, log.keptBytes, nameAt(log, 3)], [1, 10, "3"]);
  log.release(4);
  assertEquals([log.length, log.keptBytes, log.behind(4)], [0, 0, 0]);
  log.append(entry("after"), false, false);
  assertEquals([log.head, log.length], [5, 0]);
});

Deno.test("Log keeps history while no member lags, until the oldest entry is discarded", () => {
  const log = new Log<string>();
  log.append(entry("before"), false, false);
  for (let i = 1; i <= 3; i++) log.append(entry(`${i}`), false, true);
  log.release();
  assertEquals([log.past, log.length, nameAt(log, 1)], [1, 3, "1"]);
  log.forgetOldest();
  assertEquals([log.past, log.length, nameAt(log, 2)], [2, 2, "2"]);
  log.append(entry("4"), true, true);
  log.release(4);
  for (let i = 0; i < 3; i++) log.forgetOldest();
  assertEquals([log.past, log.length, nameAt(log, 4)], [5, 1, "4"]);
  log.release();
  assertEquals([log.length, log.keptBytes], [0, 0]);
});

Deno.test("Log finds where the last messages begin, and where those since a moment begin", () => {
  const log = new Log<string>();
  log.append({ ...entry("before"), messages: 5 }, false, false);
  [1, 3, 2].forEach((messages, i) => {
    log.append({ ...entry(`${i + 1}`, 10, 10 * (i + 1)), messages }, false, true);
  });
  const last = (count: number) => {
    const { position, skip } = log.findLast(count);
    return `${position}+${skip}`;
  };
  assertEquals([0, 1, 2, 3, 5, 6, 7, 1000].map(last), [
    "4+0",
    "3+1",
    "3+0",
    "2+2",
    "2+0",
    "1+0",
    "1+0",
    "1+0",
  ]);
  const since = (time: number) => log.findSince(time).position;
  assertEquals([0, 10, 11, 30, 31].map(since), [1, 1, 2, 3, 4]);
  log.forgetOldest();
  assertEquals([last(1000), since(0)], ["2+0", 2]);
});

Deno.test("Log always keeps the entries between its slowest reader and its head", () => {
  const steps = fc.array(fc.record({ needed: fc.boolean(), release: fc.nat(5) }), {
    maxLength: 3000,
    size: "max",
  });
  fc.assert(
    fc.property(steps, (steps) => {
      const log = new Log<string>();
      let reader = 0;
      for (const [i, { needed, release }] of steps.entries()) {
        const lags = needed || reader < log.head;
        log.append(entry(`${i}`), lags, false);
        reader = lags ? Math.min(log.head, reader + release) : log.head;
        log.release(reader);
        assertEquals(log.behind(reader), 10 * (log.head - reader));
        if (reader < log.head) assertEquals(nameAt(log, reader), `${reader}`);
      }
    }),
    { numRuns: 20 },
  );
});
