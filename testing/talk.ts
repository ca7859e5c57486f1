/**
 * Clients that all talk at once, and the check that they have received one order.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { type Client, type Closed, connect } from "./client.ts";
import { bounded, sleep, until } from "./wait.ts";

/** A client that talks and records the messages that it receives. */
export class Talker implements AsyncDisposable {
  /** The messages that it has received, in order. */
  readonly heard: string[] = [];
  /** The end of its connection; `null` while it is open. */
  closed: Closed | null = null;
  /** Resolves when its connection has ended. */
  readonly ended: Promise<unknown>;
  /** The number of messages that it has sent. */
  sent = 0;
  /** Its name, with which all its messages begin. */
  readonly name: string;
  readonly #client: Client;
  #talking = false;
  #talk: Promise<void> = Promise.resolve();

  private constructor(name: string, client: Client) {
    this.name = name;
    this.#client = client;
    this.ended = client.closed.then((closed) => this.closed = closed);
    client.listen((message) => this.heard.push(String(message)));
  }

  /** Connects to a relay. */
  static async join(
    relay: { url: string },
    name: string,
    options?: WebSocketOptions,
  ): Promise<Talker> {
    return new Talker(name, await connect(relay, options));
  }

  /** Sends one message. */
  say(): void {
    this.#client.send(`${this.name} ${this.sent++}`);
  }

  /** Sends one message after another, with a pause between them. */
  talk(pauseMilliseconds: number): void {
    this.#talking = true;
    this.#talk = (async () => {
      while (this.#talking && !this.closed) {
        this.say();
        await sleep(pauseMilliseconds * (0.5 + Math.random()) / 1000);
      }
    })();
  }

  /** Stops sending. */
  async hush(): Promise<void> {
    this.#talking = false;
    await this.#talk;
  }

  /** Whether it has received its own last message. */
  get hasHeardItself(): boolean {
    return this.sent === 0 || this.heard.includes(`${this.name} ${this.sent - 1}`);
  }

  /** Waits until it has received a message. */
  async hears(message: string): Promise<void> {
    await until(() => this.heard.includes(message), `${this.name} to hear ${message}`);
  }

  /** Waits until it has received all its own messages. */
  async hearsItself(): Promise<void> {
    await until(() => this.hasHeardItself, `${this.name} to hear itself`);
  }

  /** Asserts that it received each of its own messages once and in order. */
  assertHeardItself(): void {
    const own = this.heard.filter((message) => message.startsWith(`${this.name} `));
    assertEquals(own, Array.from({ length: this.sent }, (_, i) => `${this.name} ${i}`));
  }

  /** Stops sending and closes the connection. */
  async leave(): Promise<void> {
    await this.hush();
    await this.#client.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.leave();
  }
}

/** The number of clients that have ever joined, from which each gets a unique name. */
let joined = 0;

/** Clients on several relays. Disposing of the crowd closes them. */
export class Crowd implements AsyncDisposable {
  /** All clients. */
  readonly all: readonly Talker[];

  private constructor(all: readonly Talker[]) {
    this.all = all;
  }

  /** Connects a number of clients to each relay. */
  static async join(relays: readonly { url: string }[], each: number): Promise<Crowd> {
    const names = relays.flatMap((relay) =>
      Array.from({ length: each }, () => ({ relay, name: `client ${joined++}` }))
    );
    return new Crowd(await Promise.all(names.map(({ relay, name }) => Talker.join(relay, name))));
  }

  /** The clients that are still connected. */
  get present(): Talker[] {
    return this.all.filter(({ closed }) => closed === null);
  }

  /** Lets all clients talk. */
  talk(pauseMilliseconds = 50): void {
    for (const talker of this.all) talker.talk(pauseMilliseconds);
  }

  /** Stops all clients, and waits until those that are connected have received everything. */
  async settle(): Promise<void> {
    await Promise.all(this.all.map((talker) => talker.hush()));
    for (const talker of this.present) await talker.hearsItself();
    const most = () => Math.max(...this.present.map(({ heard }) => heard.length));
    await until(
      () => this.present.every(({ heard }) => heard.length === most()),
      "all to have heard as much",
    );
  }

  /**
   * Asserts that connected clients have all received the same messages, including all their own, and that the
   * others have received the beginning of these.
   */
  assertOneOrder(): void {
    const [first] = this.present;
    if (!first) return;
    for (const talker of this.all) {
      if (talker.closed) assertEquals(talker.heard, first.heard.slice(0, talker.heard.length));
      else {
        assertEquals(talker.heard, first.heard);
        talker.assertHeardItself();
      }
    }
    assertEquals(new Set(first.heard).size, first.heard.length, "something came twice");
  }

  /** Waits until all connections have ended, and asserts how. */
  async assertClosed(want: Closed, bound = 10): Promise<void> {
    await until(() => this.present.length === 0, "all to be sent away", bound);
    for (const { closed } of this.all) assertEquals(closed, want);
    const longest = this.all.reduce((a, b) => a.heard.length > b.heard.length ? a : b).heard;
    assert(longest.length > 0, "nothing was said");
    for (const { heard } of this.all) assertEquals(heard, longest.slice(0, heard.length));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await bounded(
      Promise.all(this.all.map((talker) => talker[Symbol.asyncDispose]())),
      "the crowd to leave",
    );
  }
}
