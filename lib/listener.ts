/**
 * The listener of an HTTP server: how it is stopped, and whether it ended unasked.
 *
 * @module
 */

import { settlesWithin } from "./timeout.ts";

/** A bound port with a server behind it. */
export interface Listener {
  /** The port that is bound. */
  readonly port: number;
  /** Resolves, with the reason, if the server ends before {@link Listener.stop} was called. */
  readonly died: Promise<string>;
  /** Stops listening and ends what is left, waiting for it no longer than the given time. */
  stop(graceSeconds: number): Promise<void>;
}

/** Watches a server that was just started. */
export function watch(server: Deno.HttpServer<Deno.NetAddr>): Listener {
  const died = Promise.withResolvers<string>();
  let stopping = false;
  const ended = (reason: string) => {
    if (!stopping) died.resolve(reason);
  };
  server.finished.then(() => ended("it stopped by itself"), (error) => ended(String(error)));
  return {
    port: server.addr.port,
    died: died.promise,
    async stop(graceSeconds) {
      stopping = true;
      // A WebSocket peer that does not read keeps shutdown() waiting until TCP gives up on it.
      await settlesWithin(graceSeconds, server.shutdown());
      // The last frames leave in the turn after the one in which their sockets were closed.
      await new Promise((resolve) => setTimeout(resolve));
    },
  };
}
