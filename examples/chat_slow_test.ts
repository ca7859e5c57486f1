import { assert, assertEquals } from "@std/assert";
import { barriers, browserTest, type Open, type Page } from "../testing/browser.ts";
import { connect } from "../testing/client.ts";
import { startRelay } from "../testing/start.ts";
import { tempFolder } from "../testing/temp.ts";
import { until } from "../testing/wait.ts";

const CHAT = new URL("chat.html", import.meta.url).href; // From disk, as a newcomer opens it.

type Visitor = Parameters<Open>[1];

/** Opens the page, fills in its first form and sends it. */
async function enter(
  open: Open,
  { url, name = "alice", token = "", visitor }: {
    url: string;
    name?: string;
    token?: string;
    visitor?: Visitor;
  },
): Promise<Page> {
  const page = await open(CHAT, visitor);
  await page.getByLabel("Server").fill(url);
  await page.getByLabel("Your name").fill(name);
  await page.getByLabel("Token").fill(token);
  await page.getByRole("button", { name: "Connect" }).click();
  return page;
}

/** Enters and waits until the page says that it is connected. */
async function join(open: Open, options: Parameters<typeof enter>[1]): Promise<Page> {
  const page = await enter(open, options);
  await saysState(page, "Connected to");
  return page;
}

async function saysState(page: Page, words: string): Promise<void> {
  await page.getByRole("status").getByText(words).waitFor();
}

async function shows(page: Page, text: string): Promise<void> {
  await page.getByRole("log").getByText(text, { exact: true }).waitFor();
}

async function say(page: Page, text: string): Promise<void> {
  await page.getByLabel("Message", { exact: true }).fill(text);
  await page.getByRole("button", { name: "Send" }).click();
}

const focused = (page: Page) => page.locator(":focus").getAttribute("id");

browserTest("chat page lets two people talk", async (open) => {
  await using relay = await startRelay();
  const alice = await join(open, { url: relay.url, name: "alice" });
  const bob = await join(open, { url: relay.url, name: "bob" });
  await say(alice, "Hello!");
  await shows(bob, "Hello!");
  await say(bob, "1 <br> 2");
  await shows(alice, "1 <br> 2");
  assertEquals(await alice.locator(".name").allTextContents(), ["alice", "bob"]);
  assertEquals(await alice.locator(".mine .text").allTextContents(), ["Hello!"]);
});

browserTest("chat page shows what others send as text, never as HTML", async (open) => {
  await using relay = await startRelay();
  const alice = await join(open, { url: relay.url });
  await using bob = await connect(relay);
  const script = "<script>document.title = 'mine now'</script><img src=x onerror=alert(1)>";
  for (const message of [`${script}<br>${script}`, script, "<br>no name", '{"not": "chat"}', ""]) {
    bob.send(message);
  }
  bob.send(new Uint8Array(12));
  bob.send(`bob<br>${"x".repeat(6000)}`);
  await alice.getByText("(6,000 characters in all)").waitFor();
  assertEquals(await alice.locator(".name").allTextContents(), [script, "bob"]);
  const texts = await alice.locator(".text").allTextContents();
  assertEquals(texts.slice(0, -1), [
    script,
    script,
    "<br>no name",
    '{"not": "chat"}',
    "",
    "binary message, 12 bytes",
  ]);
  assertEquals(await alice.locator("#messages").locator("script, img, br").count(), 0);
  assertEquals(await alice.title(), "Relay chat");
});

browserTest("chat page goes on after a reload, and knows the name the next time", async (open) => {
  await using relay = await startRelay();
  const alice = await join(open, { url: relay.url, name: "alice" });
  await alice.reload();
  await saysState(alice, `Connected to ${relay.url} as alice.`);
  await say(alice, "Here again.");
  await shows(alice, "Here again.");
  const next = await alice.context().newPage();
  await next.goto(CHAT);
  await saysState(next, "Not connected.");
  assertEquals(await next.getByLabel("Your name").inputValue(), "alice");
  assertEquals(await next.getByLabel("Server").inputValue(), relay.url);
});

browserTest("chat page works where the browser keeps nothing", async (open) => {
  await using relay = await startRelay();
  const page = await open(CHAT);
  await page.addInitScript(`
    const get = () => { throw new DOMException("blocked", "SecurityError"); };
    Object.defineProperties(window, { localStorage: { get }, sessionStorage: { get } });
  `);
  await page.reload();
  await page.getByLabel("Server").fill(relay.url);
  await page.getByLabel("Server").press("Enter");
  await saysState(page, "Connected to");
});

browserTest("chat pages come back by themselves when the relay restarts", async (open) => {
  const before = await startRelay();
  const alice = await join(open, { url: before.url, name: "alice" });
  const bob = await join(open, { url: before.url, name: "bob" });
  await before.stop();
  await saysState(alice, "Trying again in");
  await alice.getByLabel("Message", { exact: true }).fill("written meanwhile");
  await using after = await startRelay({ server: { port: Number(new URL(before.url).port) } });
  assertEquals(after.url, before.url);
  for (const page of [alice, bob]) await saysState(page, "Connected to");
  await alice.getByRole("button", { name: "Send" }).click();
  await shows(bob, "written meanwhile");
  await bob.getByText("What was said in between did not arrive here.").waitFor();
});

browserTest(
  "chat page says why it may have been refused, and lets a good token in",
  async (open) => {
    await using folder = await tempFolder();
    const tokens = await folder.write("tokens", "right\n");
    await using relay = await startRelay({ server: { auth_tokens_file: tokens } });
    const page = await enter(open, { url: relay.url });
    await saysState(page, "it wants a token, and none was given");
    await page.getByLabel("Token").fill("wrong");
    await page.getByLabel("Token").press("Enter");
    await saysState(page, "it does not accept this token");
    assertEquals(await focused(page), "token");
    await page.getByLabel("Token").fill("right");
    await page.getByLabel("Token").press("Enter");
    await saysState(page, "Connected to");
  },
);

browserTest("chat page says what is wrong with an address", async (open) => {
  const page = await enter(open, { url: "ftp://localhost" });
  await saysState(page, "Cannot connect to ftp://localhost:");
});

browserTest(
  "chat page does not come back by itself after 1008 or 1009, and says why",
  async (open) => {
    const cases = [
      [
        2,
        { max_messages_per_second: 1 },
        "message rate exceeded",
        "sent more messages than it may",
      ],
      [1, { max_message_bytes: 16 }, "message too big", "a message that is larger than allowed"],
    ] as const;
    for (const [messages, limits, reason, words] of cases) {
      await using relay = await startRelay({ limits });
      const page = await join(open, { url: relay.url });
      await page.clock.install();
      for (let count = 0; count < messages; count++) await say(page, "more than is allowed");
      await saysState(page, reason);
      await saysState(page, words);
      await page.clock.fastForward("10:00");
      await page.getByRole("button", { name: "Reconnect" }).click();
      await saysState(page, "Connected to");
      assertEquals(relay.stats().connections, 2, "it came back only when it was told to");
    }
  },
);

/** Says something in the page, and returns the milliseconds until it stands there laid out. */
const ROUND_TRIP = `(async () => {
  const [log, text, send] = ["messages", "text", "send"].map((id) => document.getElementById(id));
  const start = performance.now();
  text.value = "round trip at " + start;
  const awaited = text.value;
  await new Promise((resolve) => {
    new MutationObserver((_, observer) => {
      if (!log.lastElementChild.textContent.endsWith(awaited)) return;
      observer.disconnect();
      resolve(log.getBoundingClientRect());
    }).observe(log, { childList: true });
    send.click();
  });
  return performance.now() - start;
})()`;

browserTest("chat page stays quick and small after ten thousand messages", async (open) => {
  await using relay = await startRelay();
  const page = await join(open, { url: relay.url });
  const nodes = () => page.locator("*").count();
  const roundTrip = () => page.evaluate<number>(ROUND_TRIP);
  const typical = async () => {
    const times: number[] = [];
    while (times.length < 9) times.push(await roundTrip());
    return times.sort((a, b) => a - b)[4];
  };
  const [before, empty] = [await typical(), await nodes()];
  await using bob = await connect(relay);
  for (let count = 1; count <= 10_000; count++) {
    bob.send(`bob<br>message ${count}`);
    if (count % 500 === 0) await bob.take(500);
  }
  await shows(page, "message 10000");
  const [after, full] = [await typical(), await nodes()];
  assert(after < 10 * before, `${before} ms before, ${after} ms after`);
  assert(full - empty < 2500, `${full - empty} more nodes`);
});

browserTest(
  "chat page leaves readers where they are, at the newest message or above it",
  async (open) => {
    await using relay = await startRelay();
    const page = await join(open, { url: relay.url });
    await using bob = await connect(relay);
    const log = page.getByRole("log");
    const top = () => log.evaluate(({ scrollTop }) => scrollTop);
    for (let count = 1; count <= 50; count++) bob.send(`bob<br>message ${count}`);
    await shows(page, "message 50");
    assert(await top() > 0, "it has followed");
    await log.evaluate((element) => element.scrollTop = 0);
    bob.send("bob<br>one more");
    await page.getByRole("button", { name: "1 new message" }).click();
    await until(async () => await top() > 0, "the newest message to be in sight");
    await log.evaluate((element) => element.scrollTop = 0);
    bob.send("bob<br>another");
    await page.getByRole("button", { name: "1 new message" }).waitFor();
    assertEquals(await top(), 0);
    await page.getByRole("button", { name: "1 new message" }).click();
    await page.setViewportSize({ width: 360, height: 400 });
    await until(
      () => log.evaluate((it) => it.scrollHeight - it.scrollTop - it.clientHeight < 2),
      "the newest message to stay in sight when the page gets smaller",
    );
  },
);

browserTest("chat page needs no mouse", async (open) => {
  await using relay = await startRelay();
  const page = await open(CHAT);
  const order: (string | null)[] = [];
  for (let step = 0; step < 5; step++) {
    await page.keyboard.press("Tab");
    order.push(await focused(page));
  }
  assertEquals(order, ["address", "name", "token", "connect", "messages"]);
  await page.getByLabel("Server").fill(relay.url);
  await page.keyboard.press("Enter");
  await saysState(page, "Connected to");
  assertEquals(await focused(page), "text");
  await page.keyboard.type("typed");
  await page.keyboard.press("Enter");
  await shows(page, "typed");
  await page.keyboard.press("Shift+Tab");
  assertEquals(await focused(page), "messages");
  await page.keyboard.press("Shift+Tab");
  await page.keyboard.press("Enter");
  await saysState(page, "Not connected.");
  assertEquals(await focused(page), "connect");
});

browserTest("chat page has no barriers, light or dark, on a phone or on a desk", async (open) => {
  await using relay = await startRelay();
  await using bob = await connect(relay);
  for (const colorScheme of ["light", "dark"] as const) {
    for (const viewport of [{ width: 360, height: 640 }, { width: 1280, height: 800 }]) {
      const page = await enter(open, {
        url: "ws://127.0.0.1:1/",
        visitor: { colorScheme, viewport },
      });
      await saysState(page, "Cannot connect");
      assertEquals(await barriers(page), []);
      await page.getByLabel("Server").fill(relay.url);
      await page.keyboard.press("Enter");
      await saysState(page, "Connected to");
      await say(page, "mine");
      bob.send(`bob<br>${"w".repeat(300)}`);
      bob.send(new Uint8Array(3));
      await shows(page, "binary message, 3 bytes");
      assertEquals(await barriers(page), []);
      const [inner, outer] = await page.evaluate<[number, number]>(
        "[document.documentElement.scrollWidth, innerWidth]",
      );
      assert(inner <= outer, `${inner} pixels of ${outer}: it must not scroll sideways`);
    }
  }
});
