import { assert, assertEquals, assertMatch } from "@std/assert";
import { type JetStreamManager, jetstreamManager } from "@nats-io/jetstream";
import { connect, nanos } from "@nats-io/transport-node";
import { findDisorder, Speaker } from "../testing/bus.ts";
import { has } from "../testing/daemon.ts";
import { NatsServer, Wire } from "../testing/nats.ts";
import { sleep, until } from "../testing/wait.ts";
import type { ClusterSettings } from "./nats.ts";

const here = await has("nats-server", "nats-server");

/** Registers a test that needs a real server. */
function test(name: string, run: () => Promise<void>): void {
  Deno.test({ name, ignore: !here, fn: run });
}

/** Starts several speakers. */
async function startAll(urls: string[], settings: Partial<ClusterSettings> = {}) {
  const all = await Promise.all(
    urls.map((url, i) => Speaker.start("abc"[i], { servers: [url], ...settings })),
  );
  const stack = new AsyncDisposableStack();
  for (const speaker of all) stack.use(speaker);
  return Object.assign(stack, { all });
}

/** Changes the stream like an operator. */
async function manage(
  { port }: NatsServer,
  act: (manager: JetStreamManager) => Promise<void>,
): Promise<void> {
  const connection = await connect({ port });
  await act(await jetstreamManager(connection));
  await connection.close();
}

/** Stops all speakers, and waits until each has received the last messages of all. */
async function settle(all: Speaker[]): Promise<void> {
  const last = await Promise.all(all.map((each) => each.hush()));
  for (const speaker of all) for (const text of last) await speaker.hears(text);
}

test("buses deliver all batches in one order and recognise their own", async () => {
  await using server = await NatsServer.start();
  await using speakers = await startAll([server.url, server.url, server.url]);
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

test("a bus delivers batches from after its start and none from before", async () => {
  await using server = await NatsServer.start();
  await using alice = await Speaker.start("a", { servers: [server.url] });
  await alice.say("before");
  await using bob = await Speaker.start("b", { servers: [server.url] });
  await bob.say("after");
  await alice.hears("after");
  assertEquals([alice.heard, bob.heard], [["before", "after"], ["after"]]);
});

/** Accidents that must not lose messages while all speakers talk. */
const HARMLESS: Record<string, (server: NatsServer, wire: Wire) => Promise<void>> = {
  "a server is killed and started again": async (server) => {
    await server.kill();
    await sleep(0.5);
    await server.restart();
  },
  "a server is stopped and started again": async (server) => {
    await server.stop();
    await server.restart();
  },
  "a server is paused for 5 s": async (server) => {
    server.pause();
    await sleep(5);
    server.resume();
  },
  "a connection is cut for a moment": async (_, wire) => {
    wire.cut();
    wire.mend();
    await sleep(0.3);
    wire.cut();
    await sleep(1);
    wire.mend();
  },
  "a connection carries nothing back for 5 s": async (_, wire) => {
    wire.deaf = true;
    await sleep(5);
    wire.cut();
    wire.mend();
  },
};
for (const [what, happen] of Object.entries(HARMLESS)) {
  test(`buses neither lose, repeat nor reorder messages when ${what}`, async () => {
    await using server = await NatsServer.start();
    await using wire = new Wire(server.port);
    await using speakers = await startAll([server.url, server.url, wire.url]);
    const { all } = speakers;
    for (const speaker of all) speaker.chatter();
    await sleep(0.3);
    await happen(server, wire);
    await until(() => all.every(({ bus }) => bus.state === "connected"), "all to be connected");
    await sleep(0.3);
    await settle(all);
    assertEquals(findDisorder(all.map(({ heard }) => heard)), null);
    for (const speaker of all) {
      assertEquals(speaker.all("lost"), []);
      assertEquals(speaker.heard.length, all[0].heard.length);
      const states = speaker.all("state");
      for (let i = 0; i < states.length; i += 2) {
        assertEquals(states.slice(i, i + 2), ["reconnecting", "connected"]);
      }
      speaker.assertUnchanged();
    }
    assert(all[2].all("state").length > 0, "nothing happened");
  });
}

test("a batch whose acknowledgement was lost is published again and delivered once", async () => {
  await using server = await NatsServer.start();
  await using wire = new Wire(server.port);
  await using speakers = await startAll([wire.url, server.url]);
  const [alice, bob] = speakers.all;
  await alice.say("first");
  wire.deaf = true;
  const said = alice.say("repeated");
  await bob.hears("repeated");
  assertEquals(alice.heard, ["first"]);
  wire.cut();
  wire.mend();
  await said;
  await alice.say("last");
  await bob.hears("last");
  for (const { heard } of speakers.all) assertEquals(heard, ["first", "repeated", "last"]);
});

test("a bus is lost when its patience is over, keeps trying, and recovers with all messages", async () => {
  await using server = await NatsServer.start();
  await using wire = new Wire(server.port);
  await using speakers = await startAll([wire.url, server.url], { patience_seconds: 0.5 });
  const [alice, bob] = speakers.all;
  await bob.say("before");
  await alice.hears("before");
  wire.cut();
  await alice.hears("lost");
  assertEquals([alice.bus.state, bob.bus.state], ["lost", "connected"]);
  await bob.say("meanwhile");
  const said = alice.say("own");
  wire.mend();
  await said;
  assertEquals(alice.bus.state, "connected");
  assertEquals(
    alice.told.map(({ text }) => text),
    ["before", "reconnecting", "lost", "connected", "meanwhile", "own"],
  );
});

/** Accidents that certainly lose messages while all talk, and which of three speakers lose some. */
const HARMFUL: Record<string, {
  settings: Partial<ClusterSettings>;
  losers: string;
  why: RegExp;
  happen: (server: NatsServer, wire: Wire, all: Speaker[]) => Promise<void>;
}> = {
  "the server of a stream in memory is killed": {
    settings: { storage: "memory" },
    losers: "abc",
    why: /^the stream was created again$/,
    happen: async (server) => {
      await server.kill();
      await server.restart();
    },
  },
  "the stream is deleted": {
    settings: {},
    losers: "abc",
    why: /^the stream was created again$/,
    happen: (server) =>
      manage(server, async (manager) => void await manager.streams.delete("relay")),
  },
  "the stream is emptied while a relay is away": {
    settings: {},
    losers: "c",
    why: /^the stream no longer holds \d+ to \d+$/,
    happen: async (server, wire, [alice]) => {
      wire.cut();
      const before = alice.heard.length;
      await until(() => alice.heard.length > before + 20, "the others to talk");
      await manage(server, async (manager) => { // What the others may still have to read is kept.
        await manager.streams.purge("relay", { keep: 10 });
      });
      wire.mend();
    },
  },
  "a relay is away for longer than the retention": {
    settings: { retention_seconds: 1 },
    losers: "c",
    why: /^the stream no longer holds \d+ to \d+$/,
    happen: async (_, wire) => {
      wire.cut();
      await sleep(2.5);
      wire.mend();
    },
  },
};
for (const [what, { settings, losers, why, happen }] of Object.entries(HARMFUL)) {
  test(`buses that have lost messages report it and continue in one order when ${what}`, async () => {
    await using server = await NatsServer.start();
    await using wire = new Wire(server.port);
    await using speakers = await startAll([server.url, server.url, wire.url], settings);
    const { all } = speakers;
    for (const speaker of all) speaker.chatter();
    await sleep(0.3);
    await happen(server, wire, all);
    for (const speaker of all) if (losers.includes(speaker.name)) await speaker.loses();
    await sleep(0.3);
    await settle(all);
    for (const speaker of all) {
      const lost = speaker.all("lost");
      assertEquals(lost.length, losers.includes(speaker.name) ? 1 : 0, `${speaker.name}: ${lost}`);
      for (const each of lost) assertMatch(each, why);
      assertEquals(speaker.bus.stats().gaps, lost.length);
      assertEquals(speaker.bus.state, "connected");
    }
    const mayLack = settings.retention_seconds ? losers : ""; // The batch that was under way, if any.
    assertEquals(findDisorder(all.map(({ heardSince }) => heardSince), mayLack), null);
  });
}

for (const [amount, more] of [["as much as", 0], ["more than", 3]] as const) {
  test(`a bus detects that a stream lost its end, even if it has grown by ${amount} that since`, async () => {
    await using server = await NatsServer.start();
    await using wire = new Wire(server.port);
    await using alice = await Speaker.start("a", { servers: [wire.url] });
    const last = { kept: "", lost: "" };
    for (let i = 0; i < 5; i++) last.kept = await alice.say();
    await server.copyStore();
    for (let i = 0; i < 5; i++) last.lost = await alice.say();
    wire.cut();
    await server.stop();
    await server.restoreStore();
    await server.restart();
    await using bob = await Speaker.start("b", { servers: [server.url] });
    for (let i = 0; i < 5 + more; i++) await bob.say();
    wire.mend();
    await alice.loses();
    await until(() => alice.bus.state === "connected", "alice to be back");
    await bob.say("after");
    await alice.hears("after");
    assertEquals(
      alice.told.slice(10).filter(({ kind }) => kind !== "state").map(({ text }) => text),
      ["the stream has lost its end, and others are in its place", "after"],
    );
    assertEquals([alice.heard[4], alice.heard[9]], [last.kept, last.lost]);
    await alice.say("goes on");
    await bob.hears("goes on");
  });
}

test("a batch that the stream lost with its end is published again, after the loss is reported", async () => {
  await using server = await NatsServer.start();
  await using wire = new Wire(server.port);
  await using speakers = await startAll([wire.url, server.url]);
  const [alice, bob] = speakers.all;
  await alice.say("first");
  await bob.hears("first");
  await server.copyStore();
  wire.deaf = true;
  const said = alice.say("own");
  await bob.hears("own");
  wire.cut();
  await server.stop();
  await server.restoreStore();
  await server.restart();
  await bob.loses();
  wire.mend();
  await said;
  await bob.say("last");
  await alice.hears("last");
  const toldTo = ({ told }: Speaker) =>
    told.filter(({ kind }) => kind !== "state").map(({ text }) => text);
  assertEquals(toldTo(alice), ["first", "own", "last"]);
  const lost = "the stream has lost its end, 2 to 2";
  assertEquals(toldTo(bob), ["first", "own", lost, "own", "last"]);
});

test("a paused bus delivers nothing, does not count as silent, and loses nothing", async () => {
  await using server = await NatsServer.start();
  await using speakers = await startAll([server.url, server.url]);
  const [alice, bob] = speakers.all;
  await bob.say("first");
  await alice.hears("first");
  alice.bus.pause();
  const large = "x".repeat(500_000), count = 40; // More than flow control allows.
  for (let i = 0; i < count; i++) await bob.say(`${large}${i}`);
  await sleep(5);
  const before = alice.told.length;
  await bob.say("last");
  assertEquals([before, alice.heard], [1, ["first"]]);
  alice.bus.resume();
  await alice.hears("last");
  assertEquals(alice.told, bob.told.map((each) => ({ ...each, own: false })));
  assert(bob.told.every(({ kind }) => kind === "batch"));
});

test("a bus that pauses after every batch for a moment delivers everything", async () => {
  await using server = await NatsServer.start();
  await using speakers = await startAll([server.url, server.url]);
  const [alice, bob] = speakers.all;
  const deliver = alice.deliver.bind(alice);
  let paused = 0;
  alice.deliver = (batch, own) => {
    deliver(batch, own);
    assertEquals(paused++, 0);
    alice.bus.pause();
    setTimeout(() => {
      paused--;
      alice.bus.resume();
    });
  };
  const large = "x".repeat(200_000), count = 60;
  const said = alice.say("alice too");
  for (let i = 0; i < count; i++) await bob.say(`${large}${i}`);
  await said;
  await alice.hears(`${large}${count - 1}`);
  assertEquals(alice.heard, bob.heard);
  assertEquals(alice.all("lost"), []);
});

test("a bus that is paused for longer than the stream keeps messages reports a loss", async () => {
  await using server = await NatsServer.start();
  await using speakers = await startAll([server.url, server.url], { max_bytes: 2 ** 20 });
  const [alice, bob] = speakers.all;
  alice.bus.pause();
  const large = "x".repeat(200_000);
  for (let i = 0; i < 100; i++) await bob.say(`${large}${i}`);
  alice.bus.resume();
  await alice.loses();
  await until(() => alice.bus.state === "connected", "the relay to be back");
  await bob.say("last");
  await alice.hears("last");
  assertEquals(alice.bus.stats().gaps, 1);
  const at = alice.told.findIndex(({ kind }) => kind === "lost");
  const before = alice.told.slice(0, at).filter(({ kind }) => kind === "batch");
  assertEquals(before.map(({ text }) => text), bob.heard.slice(0, before.length));
  assertEquals(findDisorder([alice.heardSince, bob.heardSince]), null);
});

test("a bus delivers its own batch before it reports the loss that includes this batch", async () => {
  await using server = await NatsServer.start();
  await using wire = new Wire(server.port);
  await using speakers = await startAll([wire.url, server.url]);
  const [alice, bob] = speakers.all;
  await alice.say("first");
  wire.deaf = true;
  const said = alice.say("own");
  await bob.hears("own");
  wire.cut();
  await bob.say("lost by alice");
  await manage(server, async (manager) => void await manager.streams.purge("relay"));
  wire.mend();
  await said;
  await alice.loses();
  await bob.say("last");
  await alice.hears("last");
  assertEquals(
    alice.told.map(({ text }) => text),
    ["first", "reconnecting", "own", "the stream no longer holds 2 to 3", "connected", "last"],
  );
  assertEquals(bob.heard, ["first", "own", "lost by alice", "last"]);
});

test("a batch that may be in the stream is not published again after the duplicate window", async () => {
  await using server = await NatsServer.start();
  await using wire = new Wire(server.port);
  await using speakers = await startAll([wire.url, server.url], { retention_seconds: 1 });
  const [alice, bob] = speakers.all;
  await alice.say("first");
  wire.deaf = true;
  const said = alice.say("own");
  await bob.hears("own");
  wire.cut();
  await bob.say("lost by alice");
  await sleep(2.5);
  await using cathy = await Speaker.start("c", { servers: [server.url], retention_seconds: 1 });
  wire.mend();
  await said;
  await alice.loses();
  await until(() => alice.bus.state === "connected", "alice to be back");
  await alice.say("last");
  for (const speaker of [bob, cathy]) await speaker.hears("last");
  assertEquals(alice.heard, ["first", "last"]);
  assertEquals(bob.heard, ["first", "own", "lost by alice", "last"]);
  assertEquals(cathy.heard, ["last"]);
});

test("a batch is looked for in the stream before it is published after the duplicate window", async () => {
  await using server = await NatsServer.start();
  await using wire = new Wire(server.port);
  await using speakers = await startAll([wire.url, server.url]);
  const [alice, bob] = speakers.all;
  await manage(server, async ({ streams }) => {
    const { config } = await streams.info("relay");
    await streams.update("relay", { ...config, duplicate_window: nanos(1000) });
  });
  wire.cut();
  await until(() => alice.bus.state !== "connected", "alice to notice");
  wire.mend();
  await until(() => alice.bus.state === "connected", "alice to see the stream as it is now");
  wire.deaf = true;
  const stored = alice.say("stored");
  await bob.hears("stored");
  wire.cut();
  await bob.say("meanwhile");
  await sleep(1.5);
  await using cathy = await Speaker.start("c", { servers: [server.url] });
  wire.mend();
  await stored;
  server.pause(); // The next batch is attempted but not stored.
  const late = alice.say("late");
  await until(() => alice.bus.state !== "connected", "alice to notice");
  await sleep(1);
  wire.cut();
  server.resume();
  await sleep(1);
  wire.mend();
  await late;
  await bob.say("last");
  for (const speaker of [alice, cathy]) await speaker.hears("last");
  const all = alice.heard;
  assertEquals(all.toSorted(), ["last", "late", "meanwhile", "stored"]);
  assertEquals(bob.heard, all);
  assertEquals(cathy.heard, all.slice(2));
  assertEquals([alice.all("lost"), bob.all("lost")], [[], []]);
});

test("a message that cannot be read is a loss for all buses, but they continue", async () => {
  await using server = await NatsServer.start();
  await using speakers = await startAll([server.url, server.url]);
  const { all } = speakers;
  for (const garbage of [new Uint8Array(), new Uint8Array([1, 2, 3])]) {
    const connection = await connect({ port: server.port });
    connection.publish("relay", garbage);
    await connection.flush();
    await connection.close();
  }
  await all[0].say("last");
  await all[1].hears("last");
  for (const speaker of all) {
    assertEquals(speaker.told.map(({ text }) => text), [
      "message 1 of the stream cannot be read: it is empty",
      "message 2 of the stream cannot be read: its header is cut off",
      "last",
    ]);
    assertEquals(speaker.bus.stats(), {
      batches: { in: 3, out: speaker === all[0] ? 1 : 0 },
      bytes: { in: 32, out: speaker === all[0] ? 29 : 0 },
      gaps: 2,
    });
  }
});

test("a bus that encounters a newer version is lost for good and stops", async () => {
  await using server = await NatsServer.start();
  await using alice = await Speaker.start("a", { servers: [server.url] });
  const connection = await connect({ port: server.port });
  connection.publish("relay", new Uint8Array([2, 0]));
  connection.publish("relay", new Uint8Array([1, 0]));
  await connection.flush();
  await connection.close();
  await alice.hears("lost");
  await sleep(0.5);
  assertEquals(alice.told.map(({ text }) => text), ["version 2 of the wire format", "lost"]);
});

test("a batch of the largest size gets through, and one more byte does not fit", async () => {
  await using server = await NatsServer.start();
  await using alice = await Speaker.start("a", { servers: [server.url], name: "x".repeat(64) });
  const text = "x".repeat(alice.bus.maxBatchBytes - 10);
  assert(alice.bus.maxBatchBytes > 2 ** 20 - 1000);
  assertEquals(await alice.say(text), text);
});
