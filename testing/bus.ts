/**
 * Buses under test, each with a listener that records everything.
 *
 * @module
 */

import { assert } from "@std/assert";
import type { Batch } from "../hub.ts";
import type { Bus, BusListener, BusState } from "../cluster/bus.ts";
import { type ClusterSettings, connectBus } from "../cluster/nats.ts";
import { DEFAULT_CONFIG } from "../config.ts";
import { batchOf, textsOf } from "./batches.ts";
import { bounded, until } from "./wait.ts";

/** The default settings, with changes. */
export function clusterSettings(changes: Partial<ClusterSettings>): ClusterSettings {
  return { ...DEFAULT_CONFIG.cluster, ...changes };
}

/** One call of a listener. */
export interface Told {
  /** The kind of the call. */
  readonly kind: "batch" | "lost" | "state";
  /** The texts of the batch, the reason, or the state. */
  readonly text: string;
  /** Whether the batch is the bus' own. */
  readonly own: boolean;
}

/** A bus that records the calls of its listener. Disposing of it stops the bus. */
export class Speaker implements BusListener, AsyncDisposable {
  /** All calls, in order. */
  readonly told: Told[] = [];
  /** The bus. */
  readonly bus: Bus;
  /** Its name, with which all its messages begin. */
  readonly name: string;
  #said = 0;
  #waiting: PromiseWithResolvers<void> | null = null;
  #talking = false;
  #talk: Promise<void> = Promise.resolve();
  readonly #frames: [Batch, string][] = [];

  private constructor(bus: Bus, name: string) {
    this.bus = bus;
    this.name = name;
  }

  /** Connects and starts listening. */
  static async start(name: string, settings: Partial<ClusterSettings>): Promise<Speaker> {
    const speaker = new Speaker(await connectBus(clusterSettings(settings), 0), name);
    speaker.bus.start(speaker);
    return speaker;
  }

  wants(): boolean {
    return true;
  }

  /** The texts of all batches. */
  get heard(): string[] {
    return this.told.filter(({ kind }) => kind === "batch").map(({ text }) => text);
  }

  /** The texts of all batches since the last loss, or since the start. */
  get heardSince(): string[] {
    const at = this.told.findLastIndex(({ kind }) => kind === "lost");
    return this.told.slice(at + 1).filter(({ kind }) => kind === "batch").map(({ text }) => text);
  }

  /** Returns the texts of all calls of a kind. */
  all(kind: Told["kind"]): string[] {
    return this.told.filter((each) => each.kind === kind).map(({ text }) => text);
  }

  /** Sends a message and waits until it is delivered. */
  async say(text = `${this.name}${++this.#said}`): Promise<string> {
    this.#waiting = Promise.withResolvers();
    this.bus.append(batchOf([text]));
    await this.#waiting.promise;
    return text;
  }

  /** Sends one message after another until {@link hush}. */
  chatter(): void {
    this.#talking = true;
    this.#talk = (async () => {
      while (this.#talking) await this.say();
    })();
  }

  /** Stops sending and returns the last message. */
  async hush(): Promise<string> {
    this.#talking = false;
    await bounded(this.#talk, `${this.name} to hear itself`);
    return `${this.name}${this.#said}`;
  }

  deliver(batch: Batch, own: boolean): void {
    const text = textsOf(batch).join(" ");
    this.#frames.push([batch, text]);
    this.told.push({ kind: "batch", text, own });
    if (own) this.#waiting!.resolve();
  }

  stateChanged(state: BusState): void {
    this.told.push({ kind: "state", text: state, own: false });
  }

  lost(why: string, givenUp: boolean): void {
    if (givenUp) this.#waiting!.resolve();
    this.told.push({ kind: "lost", text: why, own: false });
  }

  /** Waits until a message is delivered. */
  async hears(text: string): Promise<void> {
    await until(() => this.told.some((each) => each.text === text), `${this.name} to hear ${text}`);
  }

  /** Waits until a number of losses were reported. */
  async loses(times = 1): Promise<void> {
    await until(() => this.all("lost").length >= times, `${this.name} to lose something`);
  }

  /** Asserts that delivered frames were not overwritten. */
  assertUnchanged(): void {
    for (const [batch, text] of this.#frames) assert(textsOf(batch).join(" ") === text);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#talking = false;
    await bounded(this.bus.stop(), "a bus to stop");
  }
}

/**
 * Describes how the messages of several listeners contradict one order, given that each listened from some
 * point on without a loss. Returns `null` if they are parts of one order without repetitions that keeps each
 * speaker's own order.
 *
 * @param mayLack The names of speakers that may have messages that never were in the order.
 */
export function findDisorder(
  heard: readonly (readonly string[])[],
  mayLack: string = "",
): string | null {
  const longest = heard.reduce((a, b) => a.length >= b.length ? a : b);
  const places = new Map(longest.map((text, i) => [text, i]));
  if (places.size < longest.length) return "something was heard twice";
  for (const [i, texts] of heard.entries()) {
    if (texts.length === 0) continue;
    const start = places.get(texts[0]);
    if (start === undefined) return `${i} heard ${texts[0]}, which another did not`;
    for (const [j, text] of texts.entries()) {
      const there = longest[start + j];
      if (there !== undefined && there !== text) return `${i} heard ${text} in place of ${there}`;
    }
  }
  const last = new Map<string, number>();
  for (const text of longest) {
    const [, name, number] = /^(\D+)(\d+)$/.exec(text) ?? [];
    if (name === undefined) continue;
    const before = last.get(name);
    const follows = mayLack.includes(name)
      ? Number(number) > before!
      : Number(number) === before! + 1;
    if (before !== undefined && !follows) {
      return `${text} came after ${name}${before}`;
    }
    last.set(name, Number(number));
  }
  return null;
}
