/**
 * The port of the `ws` transport, which is bound again if it no longer accepts connections.
 *
 * `node:net` of Deno 2.9 accepts nobody any more once it has found no free file descriptor (`EMFILE`),
 * does not report it, and stays so when there are descriptors again. So while there are no new
 * connections the relay probes its own port, and if a probe is not accepted it listens again.
 *
 * @module
 */

import type { Server } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { lacksDescriptors } from "../../lib/listener.ts";
import { log } from "../../lib/log.ts";

/** The number of connections that may wait to be accepted: more than any system allows, which cuts it down. */
const LISTEN_BACKLOG = 65_535;

/** The time between checks of the port, in which a probe must be accepted and closed. */
const PROBE_MILLISECONDS = 2000;

/** The address to probe, where the bound one stands for all of a machine's. */
const ANY: Readonly<Record<string, string>> = { "0.0.0.0": "127.0.0.1", "::": "::1" };

/** A bound port. */
export interface Port {
  /** Its number. */
  readonly number: number;
  /** Resolves, with the reason, if the server ends before {@link Port.close} was called. */
  readonly died: Promise<string>;
  /** Stops listening, and waits until the last connection has ended. */
  close(): Promise<void>;
}

/**
 * Binds a server's port, and makes sure that it goes on accepting connections.
 *
 * @throws {Error} If the platform cannot; `code` is `EADDRINUSE` if the port is taken.
 */
export async function openPort(server: Server, hostname: string, port: number): Promise<Port> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, hostname, LISTEN_BACKLOG, () => resolve());
  });
  const { address, port: number } = server.address() as AddressInfo;
  const died = Promise.withResolvers<string>();
  let closing = false;
  let accepted = 0, before = 0;
  let probe: Socket | undefined;
  let out = false; // Without a descriptor to listen with, until one is free.
  server.on("listening", () => out = false);
  server.on("error", (error) => {
    if (lacksDescriptors(error)) out = true;
    else died.resolve(String(error));
  });
  server.on("close", () => { // Also, a moment later, when it listens again.
    if (!closing && !server.listening && !out) died.resolve("it stopped by itself");
  });
  server.on("connection", () => accepted++);
  const timer = setInterval(() => {
    if (out) return void server.listen(number, hostname, LISTEN_BACKLOG);
    const silent = accepted === before;
    before = accepted;
    const unanswered = silent && probe?.closed === false;
    probe?.destroy();
    if (unanswered) {
      log.warn(
        "The port stopped accepting connections when file descriptors ran out; listening again",
      );
      server.close();
      server.listen(number, hostname, LISTEN_BACKLOG);
    }
    probe = silent && !unanswered ? openProbe(number, address) : undefined;
  }, PROBE_MILLISECONDS);

  return {
    number,
    died: died.promise,
    close() {
      closing = true;
      clearInterval(timer);
      probe?.destroy();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

/** Connects, and waits for nothing but the end: the relay may be full, or have no descriptor left for it. */
function openProbe(port: number, address: string): Socket {
  const probe = connect(port, ANY[address] ?? address);
  probe.on("error", () => {});
  return probe.resume();
}
