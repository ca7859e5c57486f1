import { assert, assertEquals, assertMatch } from "@std/assert";
import { connect } from "./client.ts";
import { Program } from "./program.ts";
import { frame, OPCODE, RawClient } from "./raw_client.ts";
import { scrape } from "./scrape.ts";
import { sleep, until } from "./wait.ts";

const FREE_PORTS = ["--port", "0", "--metrics-port", "0"];

Deno.test("program ends with 0 and counts a client that never reads as terminated", async () => {
  const env = {
    RELAY_SHUTDOWN_TIMEOUT_SECONDS: "1",
    RELAY_LIMITS_MAX_BACKLOG_BYTES: `${1024 ** 3}`, // Never slow, although metrics lag a moment behind.
  };
  await using program = await Program.start({ args: FREE_PORTS, env });
  await using alice = await connect(program);
  using stuck = await RawClient.join(program);
  stuck.pause();
  const backlog = async () => (await scrape(program)).get("websocket_backlog_bytes_max")!;
  for (let i = 0; await backlog() === 0; i++) {
    assert(i < 500, "the kernel takes everything");
    alice.send("x".repeat(1_000_000));
    await alice.next();
  }
  program.signal("SIGTERM");
  assertEquals(await program.exited(), 0);
  assertEquals(program.log.at(-1)!.message, "Stopped: 1 clients closed, 1 terminated");
});

for (const [signal, code] of [["SIGINT", 130], ["SIGTERM", 143]] as const) {
  Deno.test(`program ends at once with ${code} after a second signal, ${signal}`, async () => {
    const env = { RELAY_SHUTDOWN_DELAY_SECONDS: "60" };
    await using program = await Program.start({ args: FREE_PORTS, env });
    program.signal("SIGTERM");
    await until(() => program.logged("SIGTERM: shutting down"), "the first signal");
    await sleep(0.4); // Longer than an echo of the first.
    program.signal(signal);
    assertEquals(await program.exited(), code);
  });
}

Deno.test("program survives a message of 600 MiB in fragments, and so do the others", async () => {
  const env = { RELAY_SERVER_IDLE_TIMEOUT_SECONDS: "60" };
  await using program = await Program.start({ args: FREE_PORTS, env });
  await using bob = await connect(program);
  using mallory = await RawClient.join(program);
  const piece = new Uint8Array(8 * 1024 * 1024).fill(97), pieces = 75;
  for (let i = 0; i < pieces; i++) {
    const opcode = i === 0 ? OPCODE.text : OPCODE.continuation;
    await mallory.sent(frame(opcode, piece, { fin: i === pieces - 1 }));
  }
  await until(() => program.logged("Unhandled rejection"), "the platform to give up", 60);
  assertMatch(program.log.at(-1)!.message, /carrying on: TypeError: failed to allocate string/);
  bob.send("still here");
  assertEquals(await bob.next(), "still here");
  program.signal("SIGTERM");
  assertEquals(await program.exited(), 0);
});

Deno.test("program does not keep the largest message in memory for every client", async () => {
  await using program = await Program.start();
  const raw = await Promise.all(Array.from({ length: 100 }, () => RawClient.join(program)));
  const memory = async () => (await scrape(program)).get("process_resident_memory_bytes")!;
  const before = await memory(), size = 1024 * 1024;
  raw[0].send(frame(OPCODE.binary, new Uint8Array(size)));
  for (const client of raw) assertEquals((await client.next()).payload.length, size);
  // Pinned buffers would make it 100 times the message, and stay; other garbage goes away in time.
  await until(async () => await memory() - before < 50 * size, "memory to be free again");
  for (const client of raw) client.reset();
});
