import { browserTest } from "../../testing/browser.ts";
import { say, saysState, shows } from "../../testing/chat_page.ts";
import { connect, roomOf } from "../../testing/client.ts";
import { startRelay } from "../../testing/start.ts";
import { assertEquals } from "@std/assert";

for (const transport of ["native", "ws"] as const) {
  browserTest(
    `chat page that a relay on ${transport} shows talks to that relay, in the room of its path`,
    async (open) => {
      await using relay = await startRelay({
        server: { transport, demo_page: true },
        relay: { rooms: true },
      });
      const room = roomOf(relay, "/caf%C3%A9");
      await using bob = await connect(room);
      const page = await open(room.url.replace("ws:", "http:"));
      await page.getByLabel("Your name").fill("alice");
      await page.getByRole("button", { name: "Connect" }).click();
      await saysState(page, "Connected to");
      await say(page, "hello");
      assertEquals(await bob.next(), "alice<br>hello");
      bob.send("bob<br>hi");
      await shows(page, "hi");
    },
  );
}
