/**
 * Random accidents of a cluster while clients join, talk and leave, and the check that each client received
 * a contiguous part of one order.
 *
 * To run it by hand for 60 seconds: `deno run -A testing/accidents.ts 60`.
 *
 * @module
 */

import { NatsServer, Wire } from "./nats.ts";
import { Program } from "./program.ts";
import { Talker } from "./talk.ts";
import { bounded, sleep, until } from "./wait.ts";

/** The options of {@link storm}. */
export interface StormOptions {
  /** How long accidents happen, in seconds. */
  readonly seconds: number;
  /** The number of relays. Default: 3. */
  readonly relays?: number;
  /** Configuration keys as environment variables. Default: none. */
  readonly env?: Record<string, string>;
}

/** The result of {@link storm}. */
export interface StormReport {
  /** The accidents, with the time of each in seconds. */
  readonly accidents: string[];
  /** The number of clients. */
  readonly clients: number;
  /** The number of messages that the cluster relayed. */
  readonly messages: number;
  /** How many connections ended with each code. */
  readonly codes: Record<string, number>;
}

/** The approximate number of clients at any time. */
const CLIENTS = 24;

const TALK_MILLISECONDS = 40;

const TRANSPORTS = ["ws", "native", "ws"];

const between = (low: number, high: number) => low + Math.random() * (high - low);
const oneOf = <T>(list: readonly T[]): T => list[Math.floor(Math.random() * list.length)];

/**
 * The codes with which a connection may end. The code is 0 if the relay was killed, or if the client was still
 * sending to a relay on `native`.
 */
const CODES = [0, 1001, 1005, 1006, 1012, 1013];

/** A place that is taken by one relay after another. */
class Site implements AsyncDisposable {
  readonly wire: Wire;
  readonly #env: Record<string, string>;
  #program: Program | null = null;

  constructor(port: number, env: Record<string, string>) {
    this.wire = new Wire(port);
    this.#env = {
      ...env,
      RELAY_CLUSTER_SERVERS: this.wire.url,
      RELAY_SERVER_HOSTNAME: "127.0.0.1",
    };
  }

  /** The current relay; `null` between two relays. */
  get relay(): Program | null {
    return this.#program;
  }

  /** Starts a relay, with as many attempts as that takes. */
  async start(): Promise<void> {
    for (let attempts = 1;; attempts++) {
      try {
        this.#program = await Program.start({ env: this.#env });
        return;
      } catch (error) {
        if (attempts === 10) throw error;
      }
    }
  }

  /** Ends the relay. */
  async end(signal: Deno.Signal): Promise<void> {
    const program = this.#program!;
    this.#program = null;
    program.signal(signal);
    await program.exited();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#program?.[Symbol.asyncDispose]();
    await this.wire[Symbol.asyncDispose]();
  }
}

/** The accidents that a stream in memory does not survive. */
const KILLED = "NATS is killed", RESTARTED = "NATS is restarted";

/** An accident, its name, and the part of the cluster that it affects. */
type Accident = readonly [part: object, name: string, happen: () => Promise<void>];

function accidentsOf(nats: NatsServer, sites: readonly Site[]): Accident[] {
  const aWhile = (most = 2.5) => sleep(between(0.05, most));
  const again = async () => {
    await sleep(between(0, 1));
    await nats.restart();
  };
  return [
    [nats, "NATS stands still", async () => {
      nats.pause();
      await aWhile(4);
      nats.resume();
    }],
    [nats, KILLED, () => nats.kill().then(again)],
    [nats, RESTARTED, () => nats.stop().then(again)],
    ...sites.flatMap((site, i): Accident[] => [
      [site.wire, `relay ${i} is cut off`, async () => {
        site.wire.cut();
        await aWhile();
        site.wire.mend();
      }],
      [site.wire, `relay ${i} is deaf, then cut off`, async () => {
        site.wire.deaf = true;
        await aWhile(0.5);
        site.wire.cut();
        site.wire.deaf = false;
        await aWhile();
        site.wire.mend();
      }],
      [site, `relay ${i} stands still`, async () => {
        site.relay!.signal("SIGSTOP");
        await aWhile(4);
        site.relay!.signal("SIGCONT");
      }],
      [site, `relay ${i} is killed`, () => site.end("SIGKILL").then(() => site.start())],
      [site, `relay ${i} is restarted`, () => site.end("SIGTERM").then(() => site.start())],
    ]),
  ];
}

/** A client and the number of streams up to the time when it joined. */
interface Visit {
  readonly talker: Talker;
  readonly epoch: number;
}

/** Clients that join and leave at random. */
class Comers implements AsyncDisposable {
  readonly all: Visit[] = [];
  /** The number of streams so far. */
  epoch = 0;
  readonly #sites: readonly Site[];
  readonly #joining = new Set<Promise<void>>();
  #joined = 0;
  #coming = true;
  readonly #run: Promise<void>;

  constructor(sites: readonly Site[]) {
    this.#sites = sites;
    this.#run = this.#comeAndGo();
  }

  get present(): Talker[] {
    return this.all.map(({ talker }) => talker).filter(({ closed }) => closed === null);
  }

  /** Stops all joining, leaving and talking. */
  async stop(): Promise<void> {
    this.#coming = false;
    await this.#run;
    await Promise.all(this.#joining);
    await Promise.all(this.all.map(({ talker }) => talker.hush()));
  }

  async #comeAndGo(): Promise<void> {
    while (this.#coming) {
      if (this.present.length + this.#joining.size < CLIENTS) this.#add();
      else if (Math.random() < 0.2) void oneOf(this.present).leave();
      await sleep(between(0, 0.08));
    }
  }

  #add(): void {
    const { relay } = oneOf(this.#sites);
    if (!relay) return;
    const task = this.#join(relay).finally(() => this.#joining.delete(task));
    this.#joining.add(task);
  }

  async #join(relay: Program): Promise<void> {
    try {
      const talker = await Talker.join(relay, `client ${++this.#joined}`);
      this.all.push({ talker, epoch: this.epoch });
      if (this.#coming && Math.random() < 0.7) talker.talk(TALK_MILLISECONDS);
    } catch {
      // The relay is down or admits no clients.
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await bounded(Promise.all(this.present.map((talker) => talker.leave())), "clients to leave");
  }
}

/**
 * Causes accidents and checks the messages that clients receive.
 *
 * @throws {Error} If a client did not receive a contiguous part of one order, or misses messages at the end.
 * The message names the client, the messages and the accidents.
 */
export async function storm({ seconds, relays = 3, env = {} }: StormOptions): Promise<StormReport> {
  const accidents: string[] = [];
  await using nats = await NatsServer.start();
  await using stack = new AsyncDisposableStack();
  const common = {
    RELAY_CLUSTER_STORAGE: oneOf(["file", "file", "memory"]),
    RELAY_CLUSTER_RETENTION_SECONDS: oneOf(["2", "3", "120"]),
    RELAY_CLUSTER_PATIENCE_SECONDS: "2",
    RELAY_SHUTDOWN_TIMEOUT_SECONDS: "2",
    ...env,
  };
  accidents.push(JSON.stringify(common));
  const sites = Array.from({ length: relays }, (_, i) =>
    stack.use(
      new Site(nats.port, { RELAY_SERVER_TRANSPORT: TRANSPORTS[i % 3], ...common }),
    ));
  await Promise.all(sites.map((site) => site.start()));
  await using comers = new Comers(sites);
  const started = performance.now();
  const possible = accidentsOf(nats, sites), hit = new Set<object>();

  /** Causes one accident after another, but never two at a time for the same part. */
  async function rage(): Promise<void> {
    while (performance.now() - started < seconds * 1000) {
      await sleep(between(0, 1.5));
      const [part, name, happen] = oneOf(possible.filter(([part]) => !hit.has(part)));
      hit.add(part);
      if ((name === KILLED || name === RESTARTED) && common.RELAY_CLUSTER_STORAGE === "memory") {
        comers.epoch++;
      }
      const at = () => ((performance.now() - started) / 1000).toFixed(2);
      accidents.push(`${at()} ${name}`);
      await happen();
      accidents.push(`${at()} over: ${name}`);
      hit.delete(part);
    }
  }
  await Promise.all([rage(), rage()]);

  try {
    await comers.stop();
    // With a short retention, a batch of disconnected clients may be lost.
    await settle(sites, comers, common.RELAY_CLUSTER_RETENTION_SECONDS !== "120");
  } catch (error) {
    const logs = sites.map(({ relay }) => relay?.log.map(({ message }) => message).join("\n"));
    throw new Error([`${error}`, ...accidents, ...logs].join("\n"));
  }
  const codes: Record<string, number> = {};
  const heard = new Set<string>();
  for (const { talker } of comers.all) {
    if (talker.closed) codes[talker.closed.code] = (codes[talker.closed.code] ?? 0) + 1;
    for (const message of talker.heard) heard.add(message);
  }
  return { accidents, clients: comers.all.length, messages: heard.size, codes };
}

/** Checks that all clients receive all messages, and that none has ever received anything else. */
async function settle(
  sites: readonly Site[],
  comers: Comers,
  mayLack: boolean,
): Promise<void> {
  const { all, present } = comers;
  for (const { relay } of sites) {
    const isReady = async () => {
      const response = await fetch(`${relay!.metricsUrl}readyz`);
      await response.body?.cancel();
      return response.ok;
    };
    await until(isReady, "a relay to recover");
  }
  await using last = await Talker.join(sites[0].relay!, "last");
  last.say();
  for (const talker of [last, ...present]) {
    const done = () => talker.heard.includes("last 0") && talker.hasHeardItself;
    await until(() => talker.closed !== null || done(), "all to hear the last messages");
  }
  for (const talker of present) if (!talker.closed) talker.assertHeardItself();
  const found = findContradiction([...all, { talker: last, epoch: comers.epoch }], mayLack);
  if (found) throw new Error(found);
  for (const { talker: { closed } } of all) {
    if (closed && !CODES.includes(closed.code)) throw new Error(`closed with ${closed.code}`);
  }
}

/** The order that follows from the messages of several clients. */
export class OneOrder {
  readonly #next = new Map<string, string>();
  readonly #previous = new Map<string, string>();

  /**
   * Adds the messages that one client received, unless they contradict the order. In one order, the same
   * message follows a given one for all clients.
   *
   * @returns A description of the contradiction; `null` if there is none.
   */
  add(list: readonly string[]): string | null {
    if (new Set(list).size < list.length) return "something was heard twice";
    for (let i = 1; i < list.length; i++) {
      const from = list[i - 1], message = list[i];
      const follows = this.#next.get(from) ?? message;
      if (follows !== message) return `after ${from} came ${follows}, and for somebody ${message}`;
      const precedes = this.#previous.get(message) ?? from;
      if (precedes !== from) return `before ${message} came ${precedes}, and for somebody ${from}`;
    }
    for (let i = 1; i < list.length; i++) {
      this.#next.set(list[i - 1], list[i]);
      this.#previous.set(list[i], list[i - 1]);
    }
    return null;
  }
}

/** Finds a sender whose messages one client received incompletely or out of order; `null` for none. */
export function findHole(list: readonly string[], mayLack: (sender: string) => boolean) {
  const last = new Map<string, number>();
  for (const message of list) {
    const space = message.lastIndexOf(" ");
    const name = message.slice(0, space), number = Number(message.slice(space + 1));
    const before = last.get(name) ?? number - 1;
    if (number < before + 1 || number > before + 1 && !mayLack(name)) {
      return `${message} came after ${name} ${before}`;
    }
    last.set(name, number);
  }
  return null;
}

/**
 * Checks that every client received a contiguous part of one order. A new order begins when the stream is
 * created again. It may repeat messages that are not known to have been in the old one. A client that joined
 * at that time may still receive the old one.
 */
function findContradiction(all: readonly Visit[], mayLack: boolean): string | null {
  const gone = new Set(
    all.map(({ talker }) => talker).filter(({ closed }) => closed !== null)
      .map(({ name }) => name),
  );
  for (const { talker: { heard } } of all) {
    const hole = findHole(heard, (name) => mayLack && gone.has(name));
    if (hole) return hole;
  }
  const orders: OneOrder[] = [];
  for (const { epoch, talker } of all.toSorted((a, b) => a.epoch - b.epoch)) {
    const order = orders[epoch] ??= new OneOrder(), before = orders[epoch - 1];
    const problem = order.add(talker.heard);
    if (problem && before?.add(talker.heard) !== null) return problem;
  }
  return null;
}

if (import.meta.main) {
  const deadline = performance.now() + Number(Deno.args[0] ?? 60) * 1000;
  while (performance.now() < deadline) {
    const { accidents, clients, messages, codes } = await storm({ seconds: 15 });
    console.log(`${clients} clients, ${messages} messages, codes`, codes, accidents[0]);
  }
}
