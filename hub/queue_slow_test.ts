import { assert } from "@std/assert";
import { Line, Queue } from "./queue.ts";

// Not among the quick tests: what runs beside it would be measured as well.
Deno.test("Queue of 262,144 messages is not slower per message than one of 256", () => {
  const queue = new Queue<string, string>();
  const lines = ["alice", "bob", "cathy"].map((sender) => new Line<string, string>(sender));
  const perMessage = (count: number) => {
    const started = performance.now();
    for (let i = 0; i < count; i++) queue.push(lines[i % 3], "x", 0);
    while (queue.length > 0) queue.take({ bytes: Infinity, messages: 16 });
    return (performance.now() - started) / count;
  };
  const median = (count: number, times: number) =>
    Array.from({ length: times }, () => perMessage(count)).sort((a, b) => a - b)[times >> 1];
  median(256, 200); // The compiler has done its work after that.
  const few = median(256, 201), many = median(262_144, 3);
  assert(many < 4 * few, `${many} ms against ${few} ms`);
});
