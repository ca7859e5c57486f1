import { assert, assertEquals } from "@std/assert";
import { Client } from "../testing/client.ts";
import { has } from "../testing/daemon.ts";
import { NatsServer } from "../testing/nats.ts";
import { startRelay } from "../testing/start.ts";
import { bounded, sleep, until } from "../testing/wait.ts";
import { Memory } from "./overlap.js";

const CLIENTS = 100;

/** A client that comes back to its relay as the chat page does. */
class Regular {
  /** What it would show. */
  readonly shown: string[] = [];
  /** How often it would say that messages may be missing. */
  warnings = 0;
  /** How often it was connected. */
  connections = 0;
  readonly #url: string;
  readonly #name: string;
  readonly #memory = new Memory();
  readonly #run: Promise<void>;
  #present: Client | null = null;
  #staying = true;
  #talking = false;

  constructor(url: string, name: string) {
    this.#url = url;
    this.#name = name;
    this.#run = this.#stay();
  }

  get present(): boolean {
    return this.#present !== null;
  }

  /** Says something about once a second, until it is told to {@link hush}. */
  async talk(): Promise<void> {
    this.#talking = true;
    for (let count = 0; this.#talking; count++) {
      this.#present?.send(`${this.#name}<br>${count % 3 ? "yes" : "no"}`);
      await sleep(0.5 + Math.random());
    }
  }

  /** Says nothing more, and listens on. */
  hush(): void {
    this.#talking = false;
  }

  async leave(): Promise<void> {
    this.#staying = false;
    await this.#present?.close();
    await this.#run;
  }

  async #stay(): Promise<void> {
    while (this.#staying) {
      const client = await Client.connect(`${this.#url}?${this.#memory.query()}`).catch(() => null);
      if (client) {
        this.connections++;
        this.#memory.connected();
        client.listen((message) => this.#take(message as string));
        this.#present = client;
        await client.closed;
        this.#present = null;
      }
      await sleep(0.3 * Math.random());
    }
  }

  #take(message: string): void {
    const { messages, missing } = this.#memory.take(message);
    this.shown.push(...messages as string[]);
    if (missing) this.warnings++;
  }
}

Deno.test("relays of a cluster are restarted in turn, and none of 100 clients misses or repeats a message", async () => {
  if (!await has("nats-server", "nats-server")) return;
  await using nats = await NatsServer.start();
  const startOn = (port: number, transport: "native" | "ws" = "native") =>
    startRelay({
      server: { port, transport },
      relay: { history_seconds: 60 },
      cluster: { servers: [nats.url] },
      shutdown: { spread_seconds: 1 },
    });
  const relays = await Promise.all([startOn(0), startOn(0, "ws")]);
  await using stack = new AsyncDisposableStack();
  stack.defer(async () => void await Promise.all(relays.map((relay) => relay.stop())));
  const elsewhere = stack.use(await startOn(0));
  const witness = await Client.connect(elsewhere.url);
  stack.defer(async () => void await witness.close());
  const heard: string[] = [];
  witness.listen((message) => heard.push(message as string));
  const clients = Array.from(
    { length: CLIENTS },
    (_, i) => new Regular(relays[i % 2].url, `client ${i}`),
  );
  stack.defer(async () => void await Promise.all(clients.map((client) => client.leave())));
  await until(() => clients.every(({ present }) => present), "all to be connected");
  const talks = clients.map((client) => client.talk());
  await until(() => heard.length > 3 * CLIENTS, "them to talk");
  for (const [i, relay] of relays.entries()) {
    await relay.stop();
    await sleep(2);
    relays[i] = await startOn(Number(new URL(relay.url).port), i === 0 ? "native" : "ws");
    await until(() => clients.every(({ present }) => present), "all to be back");
    await sleep(2);
  }
  for (const client of clients) client.hush();
  await bounded(Promise.all(talks), "them to fall silent");
  const most = () => Math.max(heard.length, ...clients.map(({ shown }) => shown.length));
  await until(() => clients.every(({ shown }) => shown.length >= most()), "all to have heard it");
  assert(clients.every(({ connections }) => connections === 2), "each was sent away once");
  assertEquals(clients.map(({ warnings }) => warnings), Array(CLIENTS).fill(0));
  for (const { shown } of clients) assertEquals(shown, heard);
});
