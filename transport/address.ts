/**
 * The addresses that the relay listens on: how they are bound, the errors if that fails, and their URLs.
 *
 * @module
 */

import { resolve } from "node:path";
import { type Config, ConfigError } from "../config.ts";
import type { Address } from "../lib/listener.ts";
import { findObstacle, removeStale } from "../lib/unix_socket.ts";

/** The codes, or else the messages, of platforms for an address that is not the machine's. */
const NO_ADDRESS =
  /^(EADDRNOTAVAIL|EINVAL|ENOTFOUND)$|^invalid host|lookup address(?!.*Temporary failure)/;

/**
 * Binds the address of a section of the configuration.
 *
 * @param listen Listens on an address.
 * @throws {ConfigError} If the address is not one of this machine, or if the path cannot be a Unix socket.
 * @throws {Error} If it cannot be bound; the message says which and why.
 */
export async function bind<T>(
  section: "metrics" | "server",
  config: Config,
  listen: (address: Address) => T | Promise<T>,
): Promise<T> {
  const { unix_socket: path } = config.server;
  if (section === "server" && path) return await bindPath(path, listen);
  const { hostname, port } = config[section];
  const reusePort = section === "server" && config.server.reuse_port;
  const flag = section === "server" ? "--port" : "--metrics-port";
  const key = `${section}.hostname`;
  try {
    // Not every platform accepts brackets.
    return await listen({ hostname: hostname.replace(/^\[(.*)\]$/, "$1"), port, reusePort });
  } catch (error) {
    const { code, message } = error as Error & { code?: string };
    if (NO_ADDRESS.test(code ?? message)) {
      throw new ConfigError([`${key} must be an address of this machine, got "${hostname}"`]);
    }
    const why = code === "EADDRINUSE"
      ? `the port is taken; set ${section}.port (${flag}) to another`
      : `${message}; see ${key} and ${section}.port`;
    throw new Error(`Cannot listen on ${hostname} port ${port}: ${why}`, { cause: error });
  }
}

async function bindPath<T>(path: string, listen: (address: Address) => T | Promise<T>): Promise<T> {
  await checkPath(path);
  try {
    await removeStale(path);
    return await listen({ path });
  } catch (error) {
    const { code, message } = error as Error & { code?: string };
    const why = code === "EADDRINUSE"
      ? "another process listens there; set server.unix_socket to another path"
      : `${message}; see server.unix_socket`;
    throw new Error(`Cannot listen on ${path}: ${why}`, { cause: error });
  }
}

/**
 * Checks that the path of `server.unix_socket`, if there is one, can be a Unix socket.
 *
 * @throws {ConfigError} If it cannot.
 */
export async function checkPath(path: string): Promise<void> {
  const obstacle = path ? await findObstacle(path) : null;
  if (obstacle === null) return;
  throw new ConfigError([
    `server.unix_socket must be a path where a socket can be created, got ${path}: ${obstacle}`,
  ]);
}

/** Returns a URL at which a port surely answers; for `0.0.0.0` this is not `localhost`, which may be `::1`. */
export function urlOf(scheme: string, hostname: string, port: number): string {
  const local: Record<string, string> = {
    "0.0.0.0": "127.0.0.1",
    "::": "localhost",
    "[::]": "localhost",
  };
  const host = local[hostname] ?? (/^[^[].*:/.test(hostname) ? `[${hostname}]` : hostname);
  return `${scheme}://${host}:${port}/`;
}

/** Returns the URL of a Unix socket in the form of the package `ws`: path of the socket, path of the request. */
export function urlOfPath(path: string): string {
  return `ws+unix:${resolve(path)}:/`;
}
