import { assert } from "@std/assert";
import { Line, Queue } from "./queue.ts";

// Not among the quick tests, because tests that run in parallel would distort the measurement.
Deno.test("Queue of 262,144 messages hands them out no slower than one of 8,192", () => {
  const taken = 4096;
  const perMessage = (count: number) => {
    const queue = new Queue<string, string>();
    const lines = ["alice", "bob", "cathy"].map((sender) => new Line<string, string>(sender));
    for (let i = 0; i < count; i++) queue.push(lines[i % 3], "x", 0);
    const started = performance.now();
    for (let i = 0; i < taken; i += 16) queue.take({ bytes: Infinity, messages: 16 });
    return (performance.now() - started) / taken;
  };
  const least = (count: number, times: number) =>
    // Other load on the machine only adds to the time.
    Math.min(...Array.from({ length: times }, () => perMessage(count)));
  least(8192, 50); // This warms up the compiler.
  const few = least(8192, 20), many = least(262_144, 10);
  assert(many < 8 * few, `${many} ms against ${few} ms`); // Without that, about 32 times.
});
