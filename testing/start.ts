/**
 * Starts a relay for a test, on loopback and free ports, with the test's changes to the configuration.
 *
 * @module
 */

import { type Config, DEFAULT_CONFIG } from "../config.ts";
import { type Relay, start } from "../relay.ts";
import { makeCertificate } from "./certificate.ts";
import type { TempFolder } from "./temp.ts";

/** Sections of the configuration, each with the keys that differ from {@link testConfig}. */
export type Changes = { [Section in keyof Config]?: Partial<Config[Section]> };

/** Returns the default configuration on loopback and free ports, with changes. */
export function testConfig(changes: Changes = {}): Config {
  const { server, relay, limits, cluster, metrics, shutdown, log } = DEFAULT_CONFIG;
  return {
    server: { ...server, hostname: "127.0.0.1", port: 0, ...changes.server },
    relay: { ...relay, ...changes.relay },
    limits: { ...limits, ...changes.limits },
    cluster: { ...cluster, ...changes.cluster },
    metrics: { ...metrics, hostname: "127.0.0.1", port: 0, ...changes.metrics },
    shutdown: { ...shutdown, timeout_seconds: 3, ...changes.shutdown },
    log: { ...log, ...changes.log },
  };
}

/** Starts a relay with {@link testConfig}. */
export function startRelay(changes?: Changes): Promise<Relay> {
  return start(testConfig(changes));
}

/** Starts a relay with TLS and a new certificate in a folder. */
export async function startWithTls(folder: TempFolder, changes: Changes = {}): Promise<Relay> {
  const files = await makeCertificate(folder.path, "own");
  const tls = { enabled: true, ...files };
  return await startRelay({ ...changes, server: { ...changes.server, tls } });
}
