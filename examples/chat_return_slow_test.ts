import { assert, assertEquals } from "@std/assert";
import { browserTest, type Page } from "../testing/browser.ts";
import { join, say, saysState, shown, shows } from "../testing/chat_page.ts";
import { type Client, connect } from "../testing/client.ts";
import { has } from "../testing/daemon.ts";
import { NatsServer, Wire } from "../testing/nats.ts";
import { ScriptedRelay } from "../testing/scripted_relay.ts";
import { startRelay } from "../testing/start.ts";
import { sleep, until } from "../testing/wait.ts";

const NOTE = "Connected again. Messages may be missing here.";

Deno.test("chat page contains overlap.js as it is", async () => {
  const read = (name: string) => Deno.readTextFile(new URL(name, import.meta.url));
  const lines = (text: string) => text.trim().split("\n").map((line) => line.trim());
  const [, inside] = /BEGIN overlap\.js\n(.*)\/\/ END overlap\.js/s.exec(await read("chat.html"))!;
  const module = (await read("overlap.js")).replace(/^\/\*\*.*?\*\/\n/s, "");
  assertEquals(lines(inside), lines(module.replaceAll(/^export /gm, "")));
});

browserTest("chat page shows a newcomer what was said before", async (open) => {
  await using relay = new ScriptedRelay();
  for (let count = 1; count <= 60; count++) relay.say(`bob<br>message ${count}`);
  const page = await join(open, { url: relay.url });
  await shows(page, "message 60");
  assertEquals((await shown(page)).length, 50);
  assertEquals(await page.locator("time").count(), 0, "nobody knows when that was");
  assertEquals(relay.asked, ["/?last=50"]);
});

/** Says something all the time, in few different words as people use them, until it is told to stop. */
class Chatter {
  readonly said: string[] = [];
  #stopped = false;
  readonly #done: Promise<void>;

  constructor(bob: Client) {
    this.#done = this.#talk(bob);
  }

  async stop(): Promise<string[]> {
    this.#stopped = true;
    await this.#done;
    return this.said;
  }

  async #talk(bob: Client): Promise<void> {
    while (!this.#stopped) {
      const count = this.said.length;
      const text = count % 7 === 0 ? `message ${count}` : count % 3 ? "yes" : "no";
      this.said.push(text);
      bob.send(`bob<br>${text}`);
      await bob.next();
      await sleep(0.05);
    }
  }
}

browserTest(
  "chat page misses nothing and repeats nothing when its line is cut for ten seconds",
  async (open) => {
    await using relay = await startRelay({ relay: { history_seconds: 60 } });
    await using wire = new Wire(Number(new URL(relay.url).port));
    const page = await join(open, { url: wire.url.replace("nats:", "ws:") });
    await using bob = await connect(relay);
    const chatter = new Chatter(bob);
    await shows(page, "message 70");
    wire.cut();
    await saysState(page, "Trying again in");
    await sleep(10);
    wire.mend();
    await saysState(page, "Connected to");
    const said = await chatter.stop();
    bob.send("bob<br>the end");
    await shows(page, "the end");
    assertEquals(await shown(page), [...said, "the end"]);
  },
);

browserTest(
  "chat page misses nothing and repeats nothing when the relays of a cluster are restarted",
  async (open) => {
    if (!await has("nats-server", "nats-server")) return;
    await using nats = await NatsServer.start();
    const startOn = (port: number) =>
      startRelay({
        server: { port },
        relay: { history_seconds: 60 },
        cluster: { servers: [nats.url] },
      });
    const relays = await Promise.all([startOn(0), startOn(0)]);
    await using stack = new AsyncDisposableStack();
    stack.defer(async () => void await Promise.all(relays.map((relay) => relay.stop())));
    await using elsewhere = await startOn(0);
    const pages = await Promise.all(relays.map(({ url }) => join(open, { url })));
    await using bob = await connect(elsewhere);
    const chatter = new Chatter(bob);
    for (const page of pages) await shows(page, "message 70");
    for (const [i, page] of pages.entries()) {
      await relays[i].stop();
      await saysState(page, "Trying again in");
      relays[i] = await startOn(Number(new URL(relays[i].url).port));
      await saysState(page, "Connected to");
    }
    const said = await chatter.stop();
    await say(pages[0], "mine");
    await shows(pages[1], "mine");
    await say(pages[1], "yours");
    for (const page of pages) {
      await shows(page, "yours");
      assertEquals(await shown(page), [...said, "mine", "yours"]);
    }
  },
);

browserTest("chat page asks for what it missed and a little more", async (open) => {
  await using relay = new ScriptedRelay();
  const page = await join(open, { url: relay.url });
  await page.clock.install();
  await page.clock.runFor("00:04");
  relay.say("bob<br>now");
  await shows(page, "now");
  await page.clock.runFor("00:20");
  relay.end(1001);
  await saysState(page, "Trying again in");
  await page.clock.runFor("00:20");
  await until(() => relay.asked.length === 2, "the page to come back");
  const [, seconds] = /^\/\?since=(\d+)$/.exec(relay.asked[1])!;
  assert(Number(seconds) >= 25 && Number(seconds) <= 50, `${seconds} seconds`);
});

browserTest(
  "chat page says once that messages may be missing where the relay has none",
  async (open) => {
    await using relay = await startRelay();
    const page = await join(open, { url: relay.url });
    await say(page, "before");
    await shows(page, "before");
    await relay.stop();
    const restart = async () =>
      await startRelay({ server: { port: Number(new URL(relay.url).port) } });
    const second = await restart();
    await saysState(page, "Connected to");
    await shows(page, NOTE);
    await second.stop();
    await saysState(page, "Trying again in");
    await using _third = await restart();
    await saysState(page, "Connected to");
    await say(page, "after");
    await shows(page, "after");
    assertEquals(await shown(page), ["before", NOTE, "after"]);
  },
);

browserTest(
  "chat page says that messages may be missing where the relay kept too few",
  async (open) => {
    await using relay = new ScriptedRelay();
    const page = await join(open, { url: relay.url });
    relay.say("bob<br>before");
    await shows(page, "before");
    relay.end(1012, "messages were lost");
    await saysState(page, "Trying again in");
    relay.keeps = 0;
    await saysState(page, "Connected to");
    await until(() => relay.connected === 1, "the page to be back");
    relay.say("bob<br>after");
    await shows(page, "after");
    assertEquals(await shown(page), ["before", NOTE, "after"]);
  },
);

browserTest("chat page takes a new line when the browser is online again", async (open) => {
  await using relay = new ScriptedRelay();
  const page = await join(open, { url: relay.url });
  relay.say("bob<br>before");
  await shows(page, "before");
  await page.evaluate("dispatchEvent(new Event('online'))");
  await until(() => relay.asked.length === 2, "the page to come back");
  relay.say("bob<br>after");
  await shows(page, "after");
  assertEquals(await shown(page), ["before", "after"]);
});

browserTest("chat page knows its own messages among those that it missed", async (open) => {
  await using relay = new ScriptedRelay();
  const page = await join(open, { url: relay.url });
  relay.say("bob<br>before");
  await shows(page, "before");
  relay.mute = true;
  await say(page, "mine");
  await until(() => relay.said === 2, "the relay to hear it");
  relay.mute = false;
  relay.end(1001);
  await shows(page, "mine");
  assertEquals(await mine(page), ["mine"]);
});

function mine(page: Page): Promise<string[]> {
  return page.locator(".mine .text").allTextContents();
}
