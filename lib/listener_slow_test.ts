import { assert, assertEquals, assertMatch } from "@std/assert";
import { connect } from "../testing/client.ts";
import { Program, ROOT } from "../testing/program.ts";
import { handshake, RawClient } from "../testing/raw_client.ts";
import { scrape } from "../testing/scrape.ts";
import { tempFolder } from "../testing/temp.ts";
import { until } from "../testing/wait.ts";

const FILES = 150;

/** Starts a relay that may open few files. */
function startWithFewFiles(transport: string, unixSocket: string): Promise<Program> {
  const relay = `exec ${Deno.execPath()} run -A --quiet ${ROOT}main.ts "$@"`;
  const command = ["sh", "-c", `ulimit -n ${FILES}; ${relay}`, "relay"];
  return Program.start({
    command,
    env: { RELAY_SERVER_TRANSPORT: transport, RELAY_SERVER_UNIX_SOCKET: unixSocket },
  });
}

/** Opens more connections than the relay may open files, and lets each say something. */
async function takeAll(url: string, request: string | null): Promise<RawClient[]> {
  const opened = await Promise.allSettled(Array.from({ length: FILES + 10 }, async () => {
    const client = await RawClient.open({ url });
    if (request) client.send(request);
    return client;
  }));
  return opened.flatMap((each) => each.status === "fulfilled" ? [each.value] : []);
}

for (const transport of ["native", "ws"]) {
  for (const port of ["relay", "metrics", "Unix"]) {
    Deno.test(`relay on ${transport} keeps its members when its ${port} port runs out of descriptors, and admits others later`, async () => {
      await using folder = await tempFolder();
      const path = port === "Unix" ? `${folder.path}/socket` : "";
      await using program = await startWithFewFiles(transport, path);
      await using alice = await connect(program);
      const onRelay = port !== "metrics";
      const url = onRelay ? program.url : program.metricsUrl;
      const crowd = await takeAll(url, onRelay ? handshake({}, "GET /x HTTP/1.1") : null);
      if (transport === "native" || !onRelay) { // Else they are turned away.
        const warning = "File descriptors ran out on port ";
        await until(() => program.logged(warning), "the descriptors to run out");
        if (onRelay) assert([...Deno.readDirSync(`/proc/${program.pid}/fd`)].length >= FILES - 1);
      }
      for (let i = 0; i < 20; i++) {
        alice.send(`${i}`);
        assertEquals(await alice.next(), `${i}`);
      }
      if (!onRelay) { // The last may have been accepted only after that.
        let gone = 0;
        for (const { ended } of crowd) ended.then(() => gone++);
        await until(() => gone > crowd.length / 2, "most to be let go");
      }
      for (const client of crowd) client.reset();
      await until(async () => {
        const bob = await connect(program).catch(() => null);
        await bob?.close();
        return bob !== null;
      }, "a newcomer to be admitted");
      await until(() => scrape(program).then(() => true, () => false), "the metrics");
      program.signal("SIGTERM");
      assertEquals(await program.exited(), 0);
      assertMatch(program.log.at(-1)!.message, /^Stopped: /);
    });
  }
}

Deno.test("relay on native loses few descriptors to clients that reset right after the handshake", async () => {
  await using program = await Program.start({ env: { RELAY_SERVER_TRANSPORT: "native" } });
  const open = () => [...Deno.readDirSync(`/proc/${program.pid}/fd`)].length;
  const before = open();
  for (let i = 0; i < 200; i++) {
    const client = await RawClient.open(program);
    await client.sent(new TextEncoder().encode(handshake()));
    client.reset();
    await client.ended;
  }
  await until(() => open() < before + 40, "the descriptors to be free");
});
