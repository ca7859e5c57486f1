/**
 * The port of the `ws` transport, which is bound again if it no longer accepts connections.
 *
 * `node:net` of Deno 2.9 accepts nobody any more once it has found no free file descriptor (`EMFILE`),
 * does not report it, and stays so when there are descriptors again. So while there are no new
 * connections the relay probes its own port, and if a probe is not accepted it listens again.
 *
 * @module
 */

import { type AddressInfo, connect, type ListenOptions, type Server, type Socket } from "node:net";
import { type Address, lacksDescriptors } from "../../lib/listener.ts";
import { log } from "../../lib/log.ts";

/** The number of connections that may wait to be accepted: more than any system allows, which cuts it down. */
const LISTEN_BACKLOG = 65_535;

/** The time between checks of the port, in which a probe must be accepted and closed. */
const PROBE_MILLISECONDS = 2000;

/** The address to probe, where the bound one stands for all of a machine's. */
const ANY: Readonly<Record<string, string>> = { "0.0.0.0": "127.0.0.1", "::": "::1" };

/** A bound port. */
export interface Port {
  /** Its number; 0 where it is a Unix socket. */
  readonly number: number;
  /** Resolves, with the reason, if the server ends before {@link Port.close} was called. */
  readonly died: Promise<string>;
  /** Stops listening, and waits until the last connection has ended. */
  close(): Promise<void>;
}

/**
 * Binds a server's port, or its Unix socket, and makes sure that it goes on accepting connections.
 *
 * @throws {Error} If the platform cannot; `code` is `EADDRINUSE` if the port is taken.
 */
export async function openPort(server: Server, address: Address): Promise<Port> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(optionsOf(address), resolve);
  });
  const bound = server.address() as AddressInfo | string;
  const number = typeof bound === "string" ? 0 : bound.port;
  const again = optionsOf("path" in address ? address : { ...address, port: number });
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
    if (out) return void server.listen(again);
    const silent = accepted === before;
    before = accepted;
    const unanswered = silent && probe?.closed === false;
    probe?.destroy();
    if (unanswered) {
      log.warn(
        "The port stopped accepting connections when file descriptors ran out; listening again",
      );
      server.close();
      server.listen(again);
    }
    probe = silent && !unanswered ? openProbe(bound) : undefined;
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

/**
 * Connects, and waits for nothing but the end: the relay may be full, or have no descriptor left for it. It
 * ends its own side, so that whoever accepts it ends it as well: on a shared port that may be another relay.
 */
function openProbe(bound: AddressInfo | string): Socket {
  const probe = typeof bound === "string"
    ? connect(bound)
    : connect(bound.port, ANY[bound.address] ?? bound.address);
  probe.on("error", () => {});
  return probe.end().resume();
}

function optionsOf(address: Address): ListenOptions {
  if ("path" in address) return { ...address, backlog: LISTEN_BACKLOG };
  const { hostname: host, port, reusePort } = address;
  return { host, port, reusePort, backlog: LISTEN_BACKLOG };
}
