/**
 * The listener of an HTTP server: how it stops, whether it ended by itself, and how it continues after
 * file descriptors ran out.
 *
 * @module
 */

import { log } from "./log.ts";
import { settlesWithin } from "./timeout.ts";

/** A bound port with a server. */
export interface Listener {
  /** The port that is bound; 0 for a Unix socket. */
  readonly port: number;
  /** Resolves, with the reason, if the server ends before {@link Listener.stop} was called. */
  readonly died: Promise<string>;
  /** Stops listening, and ends the remaining connections after the given time at most. */
  stop(graceSeconds: number): Promise<void>;
}

/** Where a server listens: a TCP port, or the path of a Unix socket. */
export type Address = TcpAddress | { readonly path: string };

/** A TCP port to listen on. */
export interface TcpAddress {
  /** The address to bind. */
  readonly hostname: string;
  /** The port to bind; 0 picks a free one. */
  readonly port: number;
  /** Whether other programs that set this may listen on the port too; each connection reaches one of them. */
  readonly reusePort?: boolean;
}

/** The shortest and the longest time between the end of a server that ran out of descriptors and the next. */
const PAUSE_MILLISECONDS = { least: 50, most: 1000 };

/** After this time a server has recovered, and the next lack of descriptors is a new one. */
const RECOVERED_MILLISECONDS = 10_000;

/**
 * Keeps a server of `Deno.serve` running on one port. Deno 2.9 ends the server for good when it finds no free
 * file descriptor (`EMFILE`), but leaves its connections open. So another server takes its place. Every other
 * unexpected end is reported.
 *
 * @param address Where to listen.
 * @param serve Starts a server on an address; called again with the bound one.
 * @param dismiss Cleans up after a server that ended like this. Default: its connections stay open.
 * @throws {Error} If the first start fails.
 */
export function keepServing(
  address: Address,
  serve: (address: Address) => Deno.HttpServer<Deno.Addr>,
  dismiss?: (server: Deno.HttpServer<Deno.Addr>) => void,
): Listener {
  const died = Promise.withResolvers<string>();
  let stopping = false;
  let pause = 0;
  let again: ReturnType<typeof setTimeout> | undefined;
  let server = serve(address);
  const port = "port" in server.addr ? server.addr.port : 0;
  const bound = "path" in address ? address : { ...address, port };

  function watch(): void {
    const started = performance.now();
    server.finished.then(() => ended("it stopped by itself"), (error) => {
      if (performance.now() - started > RECOVERED_MILLISECONDS) pause = 0;
      if (lacksDescriptors(error)) dismiss?.(server);
      ended(error);
    });
  }

  function ended(error: unknown): void {
    if (stopping) return;
    if (!lacksDescriptors(error)) return died.resolve(String(error));
    if (pause === 0) {
      log.warn(
        "File descriptors ran out on port {port}; clients stay connected, and new ones wait until some are free",
        { port: "path" in bound ? bound.path : port },
      );
    }
    pause = Math.min(Math.max(2 * pause, PAUSE_MILLISECONDS.least), PAUSE_MILLISECONDS.most);
    again = setTimeout(listenAgain, pause);
  }

  function listenAgain(): void {
    try {
      server = serve(bound);
    } catch (error) {
      return ended(error);
    }
    watch();
  }

  watch();
  return {
    port,
    died: died.promise,
    async stop(graceSeconds) {
      stopping = true;
      clearTimeout(again);
      // A WebSocket peer that does not read keeps shutdown() waiting until TCP gives up on it.
      await settlesWithin(graceSeconds, server.shutdown());
      // The last frames leave in the turn after the one in which their sockets were closed.
      await new Promise((resolve) => setTimeout(resolve));
    },
  };
}

/** Tells whether an error means that the process, or the system, has no free file descriptor. */
export function lacksDescriptors(error: unknown): boolean {
  const { code } = error as { code?: unknown };
  return code === "EMFILE" || code === "ENFILE" || /\(os error 2[34]\)/.test(String(error));
}
