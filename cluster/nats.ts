/**
 * The bus over NATS JetStream. All relays with the same `cluster.name` share one stream with one subject,
 * which gives them one order. Each batch is one message, and each relay has one batch under way at a time.
 *
 * This module is imported only if `cluster.servers` is configured.
 *
 * @module
 */

import type { ConnectionOptions } from "@nats-io/transport-node";
import { log } from "../lib/log.ts";
import { pause } from "../lib/timeout.ts";
import type { Bus, Engine } from "./bus.ts";
import { explain, isPassing } from "./explain.ts";
import { type ClusterSettings, maxBatchBytesOf, NatsBus } from "./nats_bus.ts";
import { checkPermissions } from "./permissions.ts";
import { connectionOptions, engineOf, Session } from "./session.ts";
import { endOf, ensureStream, findPlace, findStream } from "./stream.ts";

export type { ClusterSettings } from "./nats_bus.ts";

/** The pause between two attempts to start. */
const RETRY_MILLISECONDS = 100;

/**
 * Connects to NATS, and creates or checks the stream of the cluster. Temporary problems, such as a server
 * that is not up yet, lead to further attempts for as long as `patience_seconds`.
 *
 * @param pastSeconds The greatest age in seconds of existing batches that are delivered, too.
 * @throws {UnusableFile} If a file that the settings name cannot be used.
 * @throws {Error} If that fails. The message is one line that names the key to check.
 */
export async function connectBus(
  settings: ClusterSettings,
  pastSeconds: number,
): Promise<Bus> {
  return await attempt(settings, async (session, options) => {
    const info = await session.during(ensureStream(session, settings));
    await checkPermissions(session, info);
    const end = endOf(info);
    const past = pastSeconds > 0 ? await findPlace(session, info, pastSeconds) : end;
    return new NatsBus(settings, options, session, { past, end });
  });
}

/**
 * Checks whether {@link connectBus} would succeed, as far as possible without creating a stream.
 *
 * @throws {Error} If it would not, with the same errors.
 */
export async function checkBus(
  settings: ClusterSettings,
): Promise<Pick<Bus, "engine" | "maxBatchBytes">> {
  return await attempt(settings, async (session) => {
    const info = await session.during(findStream(session, settings));
    if (info) await checkPermissions(session, info);
    const maxBatchBytes = maxBatchBytesOf(session);
    await session.close();
    return { engine: engineOf(settings), maxBatchBytes };
  });
}

/** Connects and does some work. Repeats both after temporary problems, the first of which is logged. */
async function attempt<T>(
  settings: ClusterSettings,
  act: (session: Session, options: ConnectionOptions) => Promise<T>,
): Promise<T> {
  const options = await connectionOptions(settings);
  const { patience_seconds: patience } = settings;
  const deadline = performance.now() + patience * 1000;
  let waits = false;
  for (;;) {
    const timeout = Math.max(1, Math.min(options.timeout!, deadline - performance.now()));
    try {
      const session = await Session.open({ ...options, timeout });
      return await act(session, options).catch(async (error) => {
        await session.close();
        throw error;
      });
    } catch (error) {
      const late = performance.now() + RETRY_MILLISECONDS > deadline;
      const reason = explain(error, settings);
      if (late || !isPassing(error)) throw new Error(reason, { cause: error });
      if (!waits) log.warn("{reason}; trying for {patience} s", { reason, patience });
      waits = true;
    }
    await pause(RETRY_MILLISECONDS);
  }
}

({ connectBus, checkBus }) satisfies Engine<ClusterSettings>;
