/**
 * The link between a hub and the bus of its cluster. It passes batches on and reacts to problems of the bus,
 * so that no client stays connected when messages are missing.
 *
 * @module
 */

import type { Batch, Hub, Order } from "../hub.ts";
import { log } from "../lib/log.ts";
import { spread } from "../lib/spread.ts";
import type { Bus, BusListener, BusState, BusStats } from "./bus.ts";

/** The part of a hub that a link uses. */
export type LinkedHub = Pick<
  Hub<unknown, unknown>,
  "deliver" | "expel" | "giveUp" | "orderAnswers" | "wants"
>;

/** How long a bus may be unreachable before the relay reports it and refuses new clients. */
const UNNOTICED_MILLISECONDS = 1000;

/** The time over which disconnections are spread, so that clients do not all come back at once. */
const EXPULSION_SECONDS = 1;

/** The connection of a hub to a bus. */
export class Link implements Order, BusListener {
  readonly maxBatchBytes: number;
  readonly sectionBytes: number;
  readonly #bus: Bus;
  readonly #patienceSeconds: number;
  readonly #observe: (seconds: number) => void;
  #hub!: LinkedHub;
  #appendedAt = 0;
  readonly #lost = Promise.withResolvers<never>();
  #trouble: BusState | null = null; // As reported to new clients and health checks.
  #timer: ReturnType<typeof setTimeout> | undefined;

  /**
   * Creates a link that is not started yet.
   *
   * @param observe Called with the time in seconds that each batch took to get its place in the order.
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
   * Starts passing batches.
   *
   * @returns A promise that resolves when the hub has received the past.
   * @throws {Error} If the cluster is lost before that. The message is one line.
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

  /** The state of the bus; `null` if it is connected or was until a moment ago. */
  get trouble(): BusState | null {
    return this.#trouble;
  }

  /** Takes a snapshot of the bus's counters and of whether it is connected. */
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

  /** Disconnects clients that were still joining when the cluster was lost. */
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
