import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { type Entry, Log } from "./log.ts";

function entry(name: string, bytes = 10): Entry<string> {
  const encoded = { all: [name], slice: () => [name] };
  return { encoded, messages: 1, payloadBytes: bytes, bytes, origins: null };
}

const nameAt = (log: Log<string>, position: number) => log.at(position).encoded.all[0];

Deno.test("Log keeps nothing while nobody lags, and its head moves on", () => {
  const log = new Log<string>();
  for (let i = 0; i < 5; i++) log.append(entry(`${i}`), false, 0);
  assertEquals([log.head, log.bytes, log.length, log.keptBytes], [5, 50, 0, 0]);
});

Deno.test("Log keeps what a laggard needs, and lets go of it as the laggard catches up", () => {
  const log = new Log<string>();
  log.append(entry("before"), false, 0);
  for (let i = 1; i <= 3; i++) log.append(entry(`${i}`), true, 0);
  assertEquals([nameAt(log, 1), nameAt(log, 3), log.behind(1), log.behind(3)], ["1", "3", 30, 10]);
  log.release(3, 0);
  assertEquals([log.length, log.keptBytes, nameAt(log, 3)], [1, 10, "3"]);
  log.release(4, 0);
  assertEquals([log.length, log.keptBytes, log.behind(4)], [0, 0, 0]);
  log.append(entry("after"), false, 0);
  assertEquals([log.head, log.length], [5, 0]);
});

Deno.test("Log keeps a history of bounded bytes and age although nobody lags", () => {
  const log = new Log<string>({ bytes: 30, milliseconds: 100 });
  for (let i = 0; i < 5; i++) {
    log.append(entry(`${i}`), false, i * 10);
    log.release(log.head, i * 10);
  }
  assertEquals([log.length, nameAt(log, 2)], [3, "2"]);
  log.release(log.head, 135);
  assertEquals([log.length, nameAt(log, 4)], [1, "4"]);
});

Deno.test("Log always finds what lies between its slowest reader and its head", () => {
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
        log.append(entry(`${i}`), lags, 0);
        reader = lags ? Math.min(log.head, reader + release) : log.head;
        log.release(reader, 0);
        assertEquals(log.behind(reader), 10 * (log.head - reader));
        if (reader < log.head) assertEquals(nameAt(log, reader), `${reader}`);
      }
    }),
    { numRuns: 20 },
  );
});
