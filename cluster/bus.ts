/**
 * The contract of a bus: it carries batches between relays and gives all of them one order.
 *
 * @module
 */

import type { Order, Ordered } from "../hub.ts";

/**
 * The state of a bus. `connected`: batches pass. `reconnecting`: the engine does not answer, for less
 * than the patience. `lost`: for longer.
 */
export type BusState = "connected" | "reconnecting" | "lost";

/** A file of the configuration that cannot be used; the message says which, of which key, and why. */
export class UnusableFile extends Error {
  /** Tells it from other errors. */
  override readonly name = "UnusableFile";
}

/** What a bus tells its relay. Called in the order in which it happens; no method may throw. */
export interface BusListener extends Ordered {
  /** Is told of each change of {@link Bus.state}. */
  stateChanged(state: BusState): void;
  /**
   * Is told that messages are certainly missing between the batches before and after this call. A batch that
   * was appended is delivered all the same: before the call if it is among what is missing, else after it.
   *
   * @param why For the log: what was found.
   * @param givenUp Whether that batch is given up instead, since nobody can tell if it ever had a place: it
   * is not delivered, and what its senders said after it must not have a place.
   */
  lost(why: string, givenUp: boolean): void;
}

/** The numbers of a bus. They only ever grow. */
export interface BusStats {
  /** Batches that came, one's own included, and those that were appended and have come. */
  readonly batches: { readonly in: number; readonly out: number };
  /** Their bytes as the engine carries them. */
  readonly bytes: { readonly in: number; readonly out: number };
  /** Times at which messages were certainly missing. */
  readonly gaps: number;
}

/** A bus that is connected to its engine. */
export interface Bus extends Order {
  /** Whether batches pass. */
  readonly state: BusState;
  /** The engine as the log names it, without passwords; for example `nats://10.0.0.5:4222`. */
  readonly engine: string;
  /** Takes a snapshot of the numbers. */
  stats(): BusStats;
  /**
   * Begins to deliver to a listener: the past that was asked for on connecting, with the age of each batch, and
   * then all that follows.
   *
   * @returns A promise for the moment when all was delivered that the order had on connecting.
   */
  start(listener: BusListener): Promise<void>;
  /** Disconnects. A batch that is under way may be lost: the hub waits for its own before. */
  stop(): Promise<void>;
}

/** What a module for an engine exports. */
export interface Engine<Settings> {
  /**
   * Connects to the engine.
   *
   * @param pastSeconds How much of what is in the order already is to be delivered.
   * @throws {UnusableFile} If a file that the settings name cannot be used.
   * @throws {Error} If that fails; the message is one line that names the key to look at.
   */
  connectBus(settings: Settings, pastSeconds: number): Promise<Bus>;
  /**
   * Sees whether {@link Engine.connectBus} would succeed, and changes nothing.
   *
   * @throws {Error} If it would not; as there.
   */
  checkBus(settings: Settings): Promise<Pick<Bus, "engine" | "maxBatchBytes">>;
}
