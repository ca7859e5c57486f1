import { assertEquals } from "@std/assert";
import { Unread } from "./unread.ts";

const MIB = 1024 * 1024;

/** Tells how many seconds pass until nothing is left to read. */
function secondsOf(unread: Unread, backlog = 0): number {
  let seconds = 1;
  while (unread.pass(1, backlog)) seconds++;
  return seconds;
}

Deno.test("Unread gives a client the time to read 1 MB at 25 KB/s, and hardly more", () => {
  const unread = new Unread();
  unread.add(1_000_000);
  assertEquals(secondsOf(unread), 41);
});

Deno.test("Unread does not count data that is read as fast as it arrives", () => {
  const unread = new Unread();
  for (let second = 0; second < 100; second++) {
    unread.add(24 * 1024);
    assertEquals(unread.pass(1, 0), false);
  }
});

Deno.test("Unread counts at most what the kernel can hold, and the backlog", () => {
  const unread = new Unread();
  unread.add(1024 * MIB);
  assertEquals(secondsOf(unread), Math.ceil(4 * MIB / (24 * 1024)));
  unread.add(1024 * MIB);
  assertEquals(secondsOf(unread, MIB), Math.ceil(5 * MIB / (24 * 1024)));
});
