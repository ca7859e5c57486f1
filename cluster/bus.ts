/**
 * The contract of a bus, which carries batches between relays and gives them one order.
 *
 * @module
 */

import type { Order, Ordered } from "../hub.ts";

/**
 * The state of a bus. `connected`: batches get through. `reconnecting`: the engine has not answered, but
 * for less than the patience. `lost`: it has not answered for longer than that.
 */
export type BusState = "connected" | "reconnecting" | "lost";

/** The error for a configured file that cannot be used. Its message names file, key and reason. */
export class UnusableFile extends Error {
  /** The name that distinguishes it from other errors. */
  override readonly name = "UnusableFile";
}

/** The relay's side of a bus. Calls come in the order of the events. No method may throw. */
export interface BusListener extends Ordered {
  /** Called on each change of {@link Bus.state}. */
  stateChanged(state: BusState): void;
  /**
   * Called when messages are certainly missing between the previous delivery and the next one. A batch of
   * this relay that is under way is still delivered: before this call if it is among the missing messages,
   * otherwise after it.
   *
   * @param why The finding, for the log.
   * @param givenUp Whether that batch is given up instead, because it is unknown whether it ever had a
   * place. It is not delivered, and later messages of its senders must not get a place.
   */
  lost(why: string, givenUp: boolean): void;
}

/** The counters of a bus. They only ever grow. */
export interface BusStats {
  /** Received batches, including the relay's own (`in`), and the own ones among them (`out`). */
  readonly batches: { readonly in: number; readonly out: number };
  /** Their size in bytes as the engine carries them. */
  readonly bytes: { readonly in: number; readonly out: number };
  /** How often messages were certainly missing. */
  readonly gaps: number;
}

/** A bus that is connected to its engine. */
export interface Bus extends Order {
  /** The current state. */
  readonly state: BusState;
  /** The engine's address for the log, without passwords; for example `nats://10.0.0.5:4222`. */
  readonly engine: string;
  /** Takes a snapshot of the numbers. */
  stats(): BusStats;
  /**
   * Starts delivering to a listener: first the past that was requested on connecting, with the age of each
   * batch, and then everything that follows.
   *
   * @returns A promise that resolves when all batches from before the connection were delivered.
   */
  start(listener: BusListener): Promise<void>;
  /** Disconnects. A batch that is under way may be lost, so the hub must wait for its own first. */
  stop(): Promise<void>;
}

/** The exports of a module for an engine. */
export interface Engine<Settings> {
  /**
   * Connects to the engine.
   *
   * @param pastSeconds The greatest age in seconds of existing batches that are delivered, too.
   * @throws {UnusableFile} If a file that the settings name cannot be used.
   * @throws {Error} If connecting fails. The message is one line that names the key to check.
   */
  connectBus(settings: Settings, pastSeconds: number): Promise<Bus>;
  /**
   * Checks whether {@link Engine.connectBus} would succeed, without changing anything.
   *
   * @throws {Error} If it would not, with the same errors.
   */
  checkBus(settings: Settings): Promise<Pick<Bus, "engine" | "maxBatchBytes">>;
}
