/**
 * The port of the `ws` transport, kept open.
 *
 * `node:net` of Deno 2.9 accepts nobody any more once it has found no free file descriptor (`EMFILE`),
 * says nothing of it, and stays so when there are descriptors again. So while nobody comes the relay
 * knocks at its own door, and where nobody answers it listens anew.
 *
 * @module
 */

import type { Server } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { log } from "../../lib/log.ts";

/** How many connections may wait to be accepted. */
export const LISTEN_BACKLOG = 128;

/** How often the door is looked after, and how long it has to answer. */
const KNOCK_MILLISECONDS = 2000;

/** Addresses that stand for all of a machine's, and the one of them to knock at. */
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
 * Binds a server's port, and keeps it accepting.
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
  server.on("error", (error) => died.resolve(String(error)));
  server.on("close", () => { // Also, a moment later, when it listens again.
    if (!closing && !server.listening) died.resolve("it stopped by itself");
  });

  let accepted = 0, before = 0;
  let knock: Socket | undefined;
  server.on("connection", () => accepted++);
  const timer = setInterval(() => {
    const silent = accepted === before;
    before = accepted;
    const unanswered = silent && knock?.closed === false;
    knock?.destroy();
    if (unanswered) {
      log.warn("The port had ceased to accept, for want of file descriptors; it listens anew");
      server.close();
      server.listen(number, hostname, LISTEN_BACKLOG);
    }
    knock = silent && !unanswered ? knockAt(number, address) : undefined;
  }, KNOCK_MILLISECONDS);

  return {
    number,
    died: died.promise,
    close() {
      closing = true;
      clearInterval(timer);
      knock?.destroy();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

/** Connects, and waits for nothing but the end: the relay may be full, or have no descriptor left for it. */
function knockAt(port: number, address: string): Socket {
  const knock = connect(port, ANY[address] ?? address);
  knock.on("error", () => {});
  return knock.resume();
}
