import { assert, assertEquals, assertMatch } from "@std/assert";
import { connect } from "../../testing/client.ts";
import { Program } from "../../testing/program.ts";
import { startRelay } from "../../testing/start.ts";

const httpOf = ({ url }: { url: string }) => url.replace("ws", "http");
const BROWSER = { Accept: "text/html,application/xhtml+xml,*/*;q=0.8" };

for (const transport of ["native", "ws"] as const) {
  Deno.test(`relay on ${transport} with demo_page sends the chat page to browsers and 426 to others`, async () => {
    await using relay = await startRelay({ server: { transport, demo_page: true } });
    const page = await fetch(httpOf(relay), { headers: BROWSER });
    const text = await page.text();
    assertEquals(page.status, 200);
    assertMatch(page.headers.get("content-type")!, /^text\/html/);
    assertMatch(page.headers.get("content-security-policy")!, /default-src 'none'/);
    assert(text.startsWith("<!DOCTYPE html>") && text.trimEnd().endsWith("</html>"));
    const head = await fetch(httpOf(relay), { method: "HEAD", headers: BROWSER });
    assertEquals([head.status, await head.text()], [200, ""]);
    for (const Accept of ["*/*", "application/json"]) {
      const other = await fetch(httpOf(relay), { headers: { Accept } });
      await other.body?.cancel();
      assertEquals(other.status, 426);
    }
    await using alice = await connect(relay, { headers: BROWSER });
    alice.send("hello");
    assertEquals(await alice.next(), "hello");
  });

  Deno.test(`relay on ${transport} sends no page without demo_page`, async () => {
    await using relay = await startRelay({ server: { transport } });
    const response = await fetch(httpOf(relay), { headers: BROWSER });
    await response.body?.cancel();
    assertEquals(response.status, 426);
  });
}

Deno.test("program with --demo sends the chat page", async () => {
  await using program = await Program.start({ args: ["--demo", "--port=0", "--metrics-port=0"] });
  const response = await fetch(httpOf(program), { headers: BROWSER });
  assertEquals(response.status, 200);
  assertMatch(await response.text(), /<title>/);
});
