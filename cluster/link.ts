/**
 * The link between a hub and the bus of its cluster: passes batches, and acts on what the bus says about
 * itself, so that no client stays connected while messages are missing.
 *
 * @module
 */

import type { Batch, Hub, Order } from "../hub.ts";
import { log } from "../lib/log.ts";
import { spread } from "../lib/spread.ts";
import type { Bus, BusListener, BusState, BusStats } from "./bus.ts";

/** What a link needs of a hub. */
export type LinkedHub = Pick<
  Hub<unknown, unknown>,
  "deliver" | "expel" | "giveUp" | "orderAnswers" | "wants"
>;

/** The time in milliseconds for which a bus may not answer before anybody is told. */
const UNNOTICED_MILLISECONDS = 1000;

/** The time over which clients are sent away, in seconds, so that they do not all come back at once. */
const EXPULSION_SECONDS = 1;

/** Ties a hub to a bus. */
export class Link implements Order, BusListener {
  readonly maxBatchBytes: number;
  readonly sectionBytes: number;
  readonly #bus: Bus;
  readonly #patienceSeconds: number;
  readonly #observe: (seconds: number) => void;
  #hub!: LinkedHub;
  #appendedAt = 0;
  readonly #lost = Promise.withResolvers<never>();
  #trouble: BusState | null = null; // Of which newcomers and probes are told.
  #timer: ReturnType<typeof setTimeout> | undefined;

  /**
   * Begins unlinked.
   *
   * @param observe Is told how long each batch took to get its place in the order, in seconds.
   */
  constructor(bus: Bus, patienceSeconds: number, observe: (seconds: number) => void) {
    this.#bus = bus;
    this.#patienceSeconds = patienceSeconds;
    this.#observe = observe;
    this.#lost.promise.catch(() => {});
    this.maxBatchBytes = bus.maxBatchBytes;
    this.sectionBytes = bus.sectionBytes;
  }

  /**
   * Begins to pass batches.
   *
   * @returns A promise for the moment when the hub has been given the past.
   * @throws {Error} If the cluster is lost before; the message is one line.
   */
  async start(hub: LinkedHub): Promise<void> {
    this.#hub = hub;
    await Promise.race([this.#bus.start(this), this.#lost.promise]);
  }

  /** Disconnects the bus. */
  async stop(): Promise<void> {
    clearTimeout(this.#timer);
    await this.#bus.stop();
  }

  /** The state of the bus, unless it is connected or was so a moment ago. */
  get trouble(): BusState | null {
    return this.#trouble;
  }

  /** The state of the bus as it is, and its numbers. */
  stats(): BusStats & { readonly connected: boolean } {
    return { ...this.#bus.stats(), connected: this.#bus.state === "connected" };
  }

  append(batch: Batch): void {
    this.#appendedAt = performance.now();
    this.#bus.append(batch);
  }

  pause(): void {
    this.#bus.pause();
  }

  resume(): void {
    this.#bus.resume();
  }

  wants(room: string): boolean {
    return this.#hub.wants(room);
  }

  deliver(batch: Batch, own: boolean, ageMilliseconds: number): void {
    if (own) this.#observe((performance.now() - this.#appendedAt) / 1000);
    this.#hub.deliver(batch, own, ageMilliseconds);
  }

  lost(why: string, givenUp: boolean): void {
    const count = this.#expel("gap");
    if (givenUp) this.#hub.giveUp();
    log.error("Messages of the cluster were lost: {why}; {count} clients have to reconnect", {
      why,
      count,
    });
  }

  stateChanged(state: BusState): void {
    clearTimeout(this.#timer);
    this.#hub.orderAnswers = state === "connected";
    if (state === "connected") this.#recover();
    else if (state === "reconnecting") this.#expectTrouble();
    else this.#giveUp();
  }

  #recover(): void {
    if (this.#trouble) log.info("Connected again to the cluster at {engine}", this.#names());
    this.#trouble = null;
  }

  #expectTrouble(): void {
    this.#timer = setTimeout(() => {
      this.#trouble = "reconnecting";
      log.warn(
        "The cluster at {engine} does not answer; clients stay for {patience} s, and new ones are refused",
        { ...this.#names(), patience: this.#patienceSeconds },
      );
    }, UNNOTICED_MILLISECONDS);
  }

  #giveUp(): void {
    this.#trouble = "lost";
    this.#lost.reject(new Error(`Cannot start in the cluster at ${this.#bus.engine}: it was lost`));
    const count = this.#expel("cluster");
    log.error(
      "The cluster at {engine} is lost; {count} clients are being disconnected, and the relay keeps trying",
      {
        ...this.#names(),
        count,
      },
    );
    this.#sweep();
  }

  /** Sends away who was on the way in when the cluster was lost. */
  #sweep(): void {
    this.#timer = setTimeout(() => {
      this.#expel("cluster");
      this.#sweep();
    }, UNNOTICED_MILLISECONDS);
  }

  #expel(cause: "gap" | "cluster"): number {
    const { count, next } = this.#hub.expel(cause);
    void spread(count, EXPULSION_SECONDS, next);
    return count;
  }

  #names(): { engine: string } {
    return { engine: this.#bus.engine };
  }
}
