import { assert, assertEquals } from "@std/assert";
import { findHole, OneOrder } from "../testing/accidents.ts";
import { type Closed } from "../testing/client.ts";
import { freePort, has } from "../testing/daemon.ts";
import { NatsServer } from "../testing/nats.ts";
import { Program } from "../testing/program.ts";
import { Talker } from "../testing/talk.ts";
import { tempFolder } from "../testing/temp.ts";
import { sleep, until } from "../testing/wait.ts";
import { startProxy } from "./proxies.ts";

const CLIENTS = 100, TALK_MILLISECONDS = 1000;

/** The longest that a client waits before it connects again. */
const RETRY_SECONDS = 0.2;

const GOODBYE: Closed = { code: 1001, reason: "server shutting down" };

/** A client that connects again whenever its connection ends. */
class Regular {
  /** Its connections, one after the other. */
  readonly talkers: Talker[] = [];
  /** Why it could not connect, each time. */
  readonly failures: string[] = [];
  readonly #join: (name: string) => Promise<Talker>;
  readonly #name: string;
  readonly #run: Promise<void>;
  #staying = true;

  constructor(name: string, join: (name: string) => Promise<Talker>) {
    this.#name = name;
    this.#join = join;
    this.#run = this.#stay();
  }

  /** Its connection, if there is one. */
  get present(): Talker | undefined {
    return this.talkers.findLast(({ closed }) => closed === null);
  }

  async #stay(): Promise<void> {
    while (this.#staying) {
      try {
        const talker = await this.#join(`${this.#name}.${this.talkers.length}`);
        this.talkers.push(talker);
        if (this.#staying) talker.talk(TALK_MILLISECONDS);
        await talker.ended;
      } catch (error) {
        this.failures.push((error as Error).message);
      }
      await sleep(Math.random() * RETRY_SECONDS);
    }
  }

  /** Falls silent, and hears what is on its way. */
  async settle(): Promise<void> {
    await until(() => this.present !== undefined, `${this.#name} to be connected`);
    this.#staying = false;
    await this.present!.hush();
    await this.present!.hearsItself();
  }

  async leave(): Promise<void> {
    this.#staying = false;
    await this.present?.leave();
    await this.#run;
  }
}

Deno.test("relays behind nginx are restarted in turn, and no client stays without a relay or misses a message", async () => {
  if (!await has("nginx", "nginx") || !await has("nats-server", "nats-server")) return;
  await using folder = await tempFolder();
  await using nats = await NatsServer.start();
  const ports = [freePort(), freePort(), freePort()];
  const startAt = (port: number) =>
    Program.start({
      args: ["--port", `${port}`, "--metrics-port", "0"],
      env: {
        RELAY_SERVER_HOSTNAME: "127.0.0.1",
        RELAY_SERVER_TRANSPORT: "ws",
        RELAY_CLUSTER_SERVERS: nats.url,
        RELAY_SHUTDOWN_SPREAD_SECONDS: "2",
      },
    });
  const programs = await Promise.all(ports.map(startAt));
  await using stack = new AsyncDisposableStack();
  stack.defer(async () => {
    for (const program of programs) await program[Symbol.asyncDispose]();
  });
  await using proxy = await startProxy("nginx", {
    folder,
    relays: ports.map((port) => `127.0.0.1:${port}`),
  });
  const regulars = Array.from(
    { length: CLIENTS },
    (_, i) => new Regular(`client ${i}`, (name) => Talker.join(proxy, name)),
  );
  stack.defer(async () => void await Promise.all(regulars.map((regular) => regular.leave())));
  await until(() => regulars.every(({ present }) => present), "all to be connected");
  await sleep(1);

  for (const [i, port] of ports.entries()) {
    programs[i].signal("SIGTERM");
    assertEquals(await programs[i].exited(), 0);
    programs[i] = await startAt(port);
  }
  await sleep(1);
  await Promise.all(regulars.map((regular) => regular.settle()));
  const most = () => Math.max(...regulars.map(({ present }) => present!.heard.length));
  assert(most() > CLIENTS, "they have hardly talked");

  assertEquals(regulars.flatMap(({ failures }) => failures), []);
  const order = new OneOrder();
  for (const { talkers } of regulars) {
    assert(talkers.length > 1, "a client was not sent away");
    for (const { closed, heard } of talkers) {
      if (closed) assertEquals(closed, GOODBYE);
      assertEquals(order.add(heard), null);
      assertEquals(findHole(heard, () => false), null);
    }
  }
});
