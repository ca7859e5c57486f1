import { assert, assertEquals } from "@std/assert";
import { type Client, closeAll, connect, connectAll, roomOf } from "./client.ts";
import { has } from "./daemon.ts";
import { NatsServer } from "./nats.ts";
import type { Relay } from "../relay.ts";
import { type Changes, startRelay } from "./start.ts";
import { sleep, until } from "./wait.ts";

const SENDERS = 16, NEWCOMERS = 60;

/** The number of messages by which clients and relays may differ at any moment. */
const SLACK = 300;

/** A client that keeps all messages that it receives. */
interface Listener {
  readonly client: Client;
  readonly heard: string[];
}

/** A client that joined while all others talked. */
interface Newcomer extends Listener {
  /** How many messages the witness had received when the newcomer asked to join. */
  readonly from: number;
  /** How many messages the witness had received when the newcomer had joined. */
  readonly to: number;
  /** How many messages the newcomer asked for; `null` if it asked for a period of time. */
  readonly last: number | null;
}

async function listen(relay: { url: string }): Promise<Listener> {
  const client = await connect(relay), heard: string[] = [];
  client.listen((message) => heard.push(message as string));
  return { client, heard };
}

/** Lets a client send a message whenever the previous one is back, and returns a function that stops it. */
function talk(client: Client, name: string): () => Promise<void> {
  let said = 0, talking = true;
  const stopped = Promise.withResolvers<void>();
  const say = () => client.send(`${name} ${said++}`);
  client.listen((message) => {
    if (!(message as string).startsWith(`${name} `)) return;
    if (talking) say();
    else stopped.resolve();
  });
  say();
  return () => {
    talking = false;
    return stopped.promise;
  };
}

async function joinWhileAllTalk(relays: readonly Relay[]): Promise<void> {
  const at = (i: number) => relays[i % relays.length];
  const witness = await listen(relays[0]);
  const senders: Client[] = [];
  for (let i = 0; i < SENDERS; i++) senders.push(...await connectAll(at(i), 1));
  const stops = senders.map((client, i) => talk(client, `${i}`));
  await until(() => witness.heard.length > 500, "something to be said");
  const newcomers: Newcomer[] = [];
  await Promise.all(Array.from({ length: NEWCOMERS }, async (_, i) => {
    await sleep(Math.random() * 2);
    const from = witness.heard.length;
    const last = i % 3 === 0 ? null : Math.floor(Math.random() * 300);
    const query = last === null ? `since=${i % 4}` : `last=${last}`;
    const listener = await listen(roomOf(at(i), `/?${query}`));
    newcomers.push({ ...listener, from, to: witness.heard.length, last });
  }));
  await Promise.all(stops.map((stop) => stop()));
  senders[0].send("the end");
  const all = [witness, ...newcomers];
  await until(() => all.every(({ heard }) => heard.at(-1) === "the end"), "all to hear the end");

  const places = new Map(witness.heard.map((text, i) => [text, i]));
  assertEquals(places.size, witness.heard.length, "the witness heard something twice");
  for (const { heard, from, to, last } of newcomers) {
    const start = places.get(heard[0])!;
    assertEquals(heard, witness.heard.slice(start), "a gap, a repetition or another order");
    if (last !== null) assert(start >= from - last - SLACK, `${from - start} for ${last}`);
    assert(start <= to + SLACK, `began at ${start}, in since ${to}`);
  }
  assert(relays.some((relay) => relay.stats().replayedMessages > 0));
  await closeAll([...all.map(({ client }) => client), ...senders]);
}

const HISTORY: Changes = { relay: { history_seconds: 60 } };

for (const transport of ["native", "ws"] as const) {
  Deno.test(`newcomers to a relay on ${transport} receive one order without gaps or repetitions`, async () => {
    await using relay = await startRelay({ ...HISTORY, server: { transport } });
    await joinWhileAllTalk([relay]);
  });
}

Deno.test("newcomers to relays of a cluster receive one order without gaps or repetitions", async () => {
  if (!await has("nats-server", "nats-server")) return;
  await using nats = await NatsServer.start();
  const cluster = { servers: [nats.url] };
  await using first = await startRelay({ ...HISTORY, cluster, server: { transport: "ws" } });
  await using second = await startRelay({ ...HISTORY, cluster, server: { transport: "native" } });
  await joinWhileAllTalk([first, second]);
});
