import { assertEquals } from "@std/assert";
import { findDisorder, Speaker } from "../testing/bus.ts";
import { has } from "../testing/daemon.ts";
import { NatsServer } from "../testing/nats.ts";
import { sleep } from "../testing/wait.ts";

const here = await has("nats-server", "nats-server");

/** Registers a test that needs a real server. */
function test(name: string, run: () => Promise<void>): void {
  Deno.test({ name, ignore: !here, fn: run });
}

/** Starts several speakers. */
async function startAll(url: string, names = "abc", settings = {}) {
  const servers = [url];
  const all = await Promise.all(
    [...names].map((name) => Speaker.start(name, { servers, ...settings })),
  );
  const stack = new AsyncDisposableStack();
  for (const speaker of all) stack.use(speaker);
  return Object.assign(stack, { all });
}

/** Lets all fall silent, and waits until each has heard the last words of all. */
async function settle(all: Speaker[]): Promise<void> {
  const last = await Promise.all(all.map((each) => each.hush()));
  for (const speaker of all) for (const text of last) await speaker.hears(text);
}

test("buses hear all that any of them appends, in one order, and their own as their own", async () => {
  await using server = await NatsServer.start();
  await using speakers = await startAll(server.url);
  const { all } = speakers;
  for (const speaker of all) speaker.chatter();
  await sleep(1);
  await settle(all);
  assertEquals(findDisorder(all.map(({ heard }) => heard)), null);
  for (const speaker of all) {
    assertEquals(speaker.heard, all[0].heard);
    assertEquals(speaker.all("lost"), []);
    assertEquals(speaker.all("state"), []);
    for (const { text, own } of speaker.told) assertEquals(own, text.startsWith(speaker.name));
    speaker.assertUnchanged();
    const { batches } = speaker.bus.stats();
    assertEquals(batches.in, speaker.heard.length);
    assertEquals(batches.out, speaker.told.filter(({ own }) => own).length);
  }
});
