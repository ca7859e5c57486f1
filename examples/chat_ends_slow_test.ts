import { assert, assertEquals } from "@std/assert";
import { barriers, browserTest } from "../testing/browser.ts";
import { enter, focused, join, say, saysState, shown, shows } from "../testing/chat_page.ts";
import { connect, roomOf } from "../testing/client.ts";
import { ScriptedRelay } from "../testing/scripted_relay.ts";
import { startRelay } from "../testing/start.ts";
import { tempFolder } from "../testing/temp.ts";
import { until } from "../testing/wait.ts";
import { CLOSE } from "../transport/close.ts";

browserTest(
  "chat page talks in a room, whatever its name, and knows it the next time",
  async (open) => {
    await using relay = await startRelay({ relay: { rooms: true } });
    const room = "/café 1/100%?#ü";
    const alice = await join(open, { url: relay.url, room });
    await saysState(alice, `Connected to room ${room} of ${relay.url} as alice.`);
    const path = "/caf%C3%A9%201/100%25%3F%23%C3%BC";
    await using bob = await connect(roomOf(relay, path));
    await using cathy = await connect(relay);
    cathy.send("cathy<br>elsewhere");
    bob.send("bob<br>here");
    await shows(alice, "here");
    assertEquals(await shown(alice), ["here"]);
    await alice.reload();
    await saysState(alice, `Connected to room ${room} of ${relay.url} as alice.`);
    const next = await alice.context().newPage();
    await next.goto(alice.url());
    assertEquals(await next.getByLabel("Room").inputValue(), room);
  },
);

browserTest("chat page begins the path of a room where that of the address ends", async (open) => {
  await using relay = new ScriptedRelay();
  const cases = [
    ["", "/", "/"],
    ["", "", "/"],
    ["", "team", "/team"],
    ["", "/team/", "/team/"],
    ["behind/proxy", "/", "/behind/proxy"],
    ["behind/proxy/", "/team", "/behind/proxy/team"],
    ["?key=a%20b", "/team", "/team?key=a%20b"],
  ];
  for (const [address, room, asked] of cases) {
    await join(open, { url: relay.url + address, room });
    const query = asked.includes("?") ? "&last=50" : "?last=50";
    assertEquals(relay.asked.at(-1)!.replace("a+b", "a%20b"), asked + query);
  }
});

browserTest("chat page says what is no room, and does not end up in another", async (open) => {
  await using relay = new ScriptedRelay();
  const cases = [
    ["/team/../7", "a room has no . or .. between slashes"],
    ["/.", "a room has no . or .. between slashes"],
    [`/${"é".repeat(100)}`, "the name of a room has at most 200 bytes"],
  ];
  for (const [room, problem] of cases) {
    const page = await enter(open, { url: relay.url, room });
    await saysState(page, `Cannot connect to room ${room} of ${relay.url}: ${problem}`);
  }
  assertEquals(relay.asked, []);
});

browserTest(
  "chat page keeps rooms apart when the visitor goes from one to the other",
  async (open) => {
    await using relay = await startRelay({ relay: { rooms: true } });
    const page = await join(open, { url: relay.url, room: "/a" });
    await say(page, "said in a");
    await shows(page, "said in a");
    await page.getByRole("button", { name: "Leave" }).click();
    await page.getByLabel("Room").fill("/b");
    await page.getByLabel("Room").press("Enter");
    await saysState(page, "Connected to room /b");
    assertEquals(await shown(page), ["said in a", `From here on: room /b of ${relay.url}.`]);
  },
);

browserTest(
  "chat page becomes a listener where one may not talk, until the token changes",
  async (open) => {
    await using folder = await tempFolder();
    const tokens = await folder.write("tokens", "right\n");
    await using relay = await startRelay({
      server: { auth_tokens_file: tokens, without_token: "listen" },
    });
    const page = await join(open, { url: relay.url });
    const message = page.getByLabel("Message", { exact: true });
    await say(page, "May I?");
    await saysState(page, `Connected to ${relay.url}. You may listen, but not talk.`);
    await shows(page, "You may listen here, but not talk: nothing was sent.");
    assertEquals([await message.isVisible(), await focused(page)], [false, "messages"]);
    await using bob = await connect(relay, { protocols: ["relay", "bearer.right"] });
    bob.send("bob<br>No.");
    await shows(page, "No.");
    assertEquals(relay.stats().evictions.role, 1);
    assertEquals(await barriers(page), []);
    await page.getByRole("button", { name: "Leave" }).click();
    await page.getByLabel("Token").fill("right");
    await page.getByLabel("Token").press("Enter");
    await saysState(page, `Connected to ${relay.url} as alice.`);
    assertEquals(await message.inputValue(), "May I?");
    await page.getByRole("button", { name: "Send" }).click();
    await shows(page, "May I?");
  },
);

browserTest("chat page asks for a new token when the old one has expired", async (open) => {
  await using relay = new ScriptedRelay();
  const page = await join(open, { url: relay.url, token: "old" });
  await say(page, "before");
  await shows(page, "before");
  relay.end(1008, "token expired");
  await saysState(page, "Your token has expired, so please enter a new one (1008 token expired).");
  assertEquals(await focused(page), "token");
  relay.say("meanwhile");
  await page.keyboard.type("new");
  await page.keyboard.press("Enter");
  await saysState(page, "Connected to");
  await shows(page, "meanwhile");
  assert(!(await shown(page)).some((text) => text.includes("missing")), "the gap is closed");
});

/** What the page says at the end of a connection, and whether it comes back by itself. */
const ENDS: [code: number, reason: string, words: string, comesBack: boolean][] = [
  [1000, "", "The connection has ended (1000)", true],
  [1001, "server shutting down", "The relay is shutting down or restarting (1001", true],
  [1001, "No response from ping frame.", "The relay heard nothing from this page (1001", true],
  [1001, "", "The relay, or something on the way to it, is going away (1001)", true],
  [1002, "", "The relay and this browser did not understand each other (1002)", false],
  [1007, "", "A message that should be text arrived damaged (1007)", false],
  [1008, "", "The relay does not allow something that this page did (1008)", false],
  [1008, "slow consumer", "This page did not take messages as fast as they came (1008", true],
  [1008, "message rate exceeded", "This page sent more messages than it may (1008", true],
  [1009, "message too big", "The message was larger than the relay allows (1009", false],
  [1011, "", "The connection has ended (1011)", true],
  [1012, "", "The relay is restarting (1012)", true],
  [
    1012,
    "messages were lost",
    "The relay has lost messages, so everybody has to connect anew (1012",
    true,
  ],
  [1013, "try again later", "The relay cannot pass messages on for the moment (1013", true],
];

browserTest(
  "chat page says in plain words why a connection ended, and comes back or not",
  async (open) => {
    await using relay = new ScriptedRelay();
    const page = await join(open, { url: relay.url });
    await page.clock.install();
    for (const [code, reason, words, comesBack] of ENDS) {
      const before = relay.asked.length;
      relay.end(code, reason);
      await saysState(page, words);
      const trying = (await page.getByRole("status").innerText()).includes("Trying again in");
      assertEquals(trying, comesBack, `${code} ${reason}`);
      await page.clock.runFor("01:00");
      if (!comesBack) {
        assertEquals(relay.asked.length, before, `${code} ${reason}: it waits to be told`);
        await page.getByRole("button", { name: "Reconnect" }).click();
      }
      await saysState(page, "Connected to");
      await until(() => relay.connected === 1, "the page to be back");
      assertEquals(relay.asked.length, before + 1);
    }
  },
);

Deno.test("chat page has words of its own for every code and reason that the relay sends", async () => {
  const page = await Deno.readTextFile(new URL("chat.html", import.meta.url));
  for (const { code, reason } of Object.values(CLOSE)) {
    assert(page.includes(`"${code} ${reason}": [`), `${code} ${reason}`);
  }
});

browserTest("chat page gives back a message that did not get through", async (open) => {
  const cases = [
    [2, { max_messages_per_second: 1 }, "This page sent more messages than it may"],
    [1, { max_message_bytes: 16 }, "The message was larger than the relay allows"],
  ] as const;
  for (const [messages, limits, words] of cases) {
    await using relay = await startRelay({ limits });
    const page = await join(open, { url: relay.url });
    for (let count = 0; count < messages; count++) await say(page, "more than is allowed");
    await saysState(page, words);
    assertEquals(
      await page.getByLabel("Message", { exact: true }).inputValue(),
      "more than is allowed",
    );
  }
});
