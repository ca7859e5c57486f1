import { assert, assertEquals } from "@std/assert";
import { barriers, browserTest } from "../testing/browser.ts";
import { CHAT, enter, focused, join, say, saysState, shows } from "../testing/chat_page.ts";
import { connect } from "../testing/client.ts";
import { startRelay } from "../testing/start.ts";
import { tempFolder } from "../testing/temp.ts";
import { until } from "../testing/wait.ts";

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
  for (let step = 0; step < 6; step++) {
    await page.keyboard.press("Tab");
    order.push(await focused(page));
  }
  assertEquals(order, ["address", "room", "name", "token", "connect", "messages"]);
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
