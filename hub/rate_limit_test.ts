import { assertEquals } from "@std/assert";
import { TokenBucket } from "./rate_limit.ts";

Deno.test("TokenBucket allows one second's worth of messages at once and refills within a second", () => {
  const bucket = new TokenBucket(3, 0);
  assertEquals([1, 2, 3, 4].map(() => bucket.take(0)), [true, true, true, false]);
  const later = new TokenBucket(3, 0);
  for (let i = 0; i < 3; i++) later.take(0);
  assertEquals([later.take(400), later.take(400), later.take(1400)], [true, false, true]);
});

Deno.test("TokenBucket allows the rate to a sender that sends much more, and recovers soon", () => {
  const bucket = new TokenBucket(10, 0);
  let allowed = 0;
  for (let at = 0; at < 10_000; at++) if (bucket.take(at)) allowed++;
  assertEquals(allowed, 109);
  assertEquals([bucket.isFull(10_500), bucket.isFull(11_000)], [false, true]);
});

Deno.test("TokenBucket for less than one message per second allows one at once", () => {
  const bucket = new TokenBucket(0.5, 0);
  assertEquals([bucket.take(0), bucket.take(4000), bucket.take(4001)], [true, true, false]);
});
