import { assert } from "@std/assert";
import { scrape } from "../testing/scrape.ts";
import { startRelay } from "../testing/start.ts";
import { sleep, until } from "../testing/wait.ts";

// Not among the quick tests: those run side by side in one process, whose numbers would change meanwhile.
Deno.test("metrics of the process agree with the system", async () => {
  await using relay = await startRelay();
  const metrics = await scrape(relay);
  const [user, system] = (await Deno.readTextFile("/proc/self/stat")).split(") ")[1].split(" ")
    .slice(11, 13).map((ticks) => Number(ticks) / 100);
  const near = (name: string, want: number, off: number) => {
    const got = metrics.get(name)!;
    assert(Math.abs(got - want) <= off, `${name} is ${got}, the system says ${want}`);
  };
  near("process_cpu_user_seconds_total", user, 1);
  near("process_cpu_system_seconds_total", system, 1);
  near("process_cpu_seconds_total", user + system, 1);
  near("process_resident_memory_bytes", Deno.memoryUsage().rss, 64 * 1024 * 1024);
  near("process_open_fds", [...Deno.readDirSync("/proc/self/fd")].length, 10);
  near("process_max_fds", Number(await output("sh", "-c", "ulimit -n")), 0);
});

Deno.test("metrics show that the event loop was blocked", async () => {
  await using relay = await startRelay();
  await until(
    async () => (await scrape(relay)).get("relay_event_loop_delay_seconds_count")! > 0,
    "a first sample",
  );
  const before = await scrape(relay);
  const started = performance.now();
  while (performance.now() - started < 600); // Holds it up.
  await sleep(0.01);
  const after = await scrape(relay);
  const sum = "relay_event_loop_delay_seconds_sum";
  assert(after.get(sum)! - before.get(sum)! > 0.3, `${before.get(sum)} to ${after.get(sum)} s`);
});

async function output(command: string, ...args: string[]): Promise<string> {
  const { stdout } = await new Deno.Command(command, { args }).output();
  return new TextDecoder().decode(stdout);
}
