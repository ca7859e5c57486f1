import { assertEquals } from "@std/assert";
import { Reminders } from "./reminders.ts";

Deno.test("Reminders are due once a minute per name", () => {
  const reminders = new Reminders();
  const times = [0, 1, 59_999, 60_000, 60_001, 119_999, 120_000];
  assertEquals(times.map((now) => reminders.due("alice", now)), [
    true,
    false,
    false,
    true,
    false,
    false,
    true,
  ]);
  assertEquals([reminders.due("bob", 120_001), reminders.due("bob", 120_002)], [true, false]);
});

Deno.test("Reminders are due for a limited number of names at once", () => {
  const reminders = new Reminders();
  const due = (now: number) => {
    return Array.from({ length: 1000 }, (_, at) => reminders.due(`${now} ${at}`, now))
      .filter(Boolean).length;
  };
  assertEquals([due(0), due(30_000), due(60_000)], [100, 0, 100]);
});
