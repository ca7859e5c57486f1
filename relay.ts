/**
 * The relay as a whole: wires hub, transport and metrics, and shuts them down in order.
 *
 * @module
 */

import { Admission } from "./admission/admission.ts";
import { type Config, ConfigError } from "./config.ts";
import { type Cause, CLOSE, Hub, type HubStats } from "./hub.ts";
import { descriptorLimit } from "./lib/descriptors.ts";
import { log } from "./lib/log.ts";
import { createMetrics, type Metrics, serveMetrics } from "./metrics.ts";
import { loadCertificate, watchCertificate } from "./transport/certificate.ts";
import { loadTokens } from "./admission/tokens.ts";
import { native } from "./transport/native.ts";
import type { Transport } from "./transport/transport.ts";
import { settlesWithin } from "./lib/timeout.ts";

/** How a shutdown went for the clients that were connected when it came to their turn. */
export interface ShutdownReport {
  /** How many closed the connection when they were told to. */
  readonly closed: number;
  /** How many did not, or failed on the way. */
  readonly terminated: number;
}

/** A running relay. */
export interface Relay extends AsyncDisposable {
  /** Where clients connect, for example `ws://localhost:8443/`. */
  readonly url: string;
  /** Where metrics are served, for example `http://localhost:9090/`; without metrics `null`. */
  readonly metricsUrl: string | null;
  /** Resolves with the reason if a listener ends that nobody stopped; the relay is then of no more use. */
  readonly died: Promise<string>;
  /** Takes a snapshot of the hub's numbers. */
  stats(): HubStats;
  /** Reads the files of the certificate and the tokens again; the old ones stay where the new are wrong. */
  reload(): Promise<void>;
  /**
   * Shuts down: admits nobody any more, waits for `shutdown.delay_seconds`, tells every client to go
   * away and waits for them, at most `shutdown.timeout_seconds`. Later calls join the first.
   */
  stop(): Promise<ShutdownReport>;
}

/** How long each part may take to end once the clients are gone, so that one stuck peer or file costs little. */
const LISTENER_GRACE_SECONDS = 1;

/**
 * Starts a relay.
 *
 * @example
 * ```ts
 * import { DEFAULT_CONFIG } from "./config.ts";
 * import { start } from "./relay.ts";
 *
 * const { server, metrics } = DEFAULT_CONFIG;
 * await using relay = await start({
 *   ...DEFAULT_CONFIG,
 *   server: { ...server, hostname: "127.0.0.1", port: 0 },
 *   metrics: { ...metrics, enabled: false },
 * });
 * const client = new WebSocket(relay.url);
 * client.onopen = () => client.send("hello");
 * const echo = await new Promise((resolve) => client.onmessage = ({ data }) => resolve(data));
 * if (echo !== "hello") throw new Error("not relayed");
 * ```
 *
 * @throws {ConfigError} If the certificate, its key or the tokens cannot be used.
 * @throws {Error} If a port cannot be bound; the message says which and why.
 */
export async function start(config: Config): Promise<Relay> {
  switch (config.server.transport) {
    case "native":
      return await startOn(native, config);
    case "ws": {
      const { ws } = await import("./transport/ws/ws.ts"); // Its library is loaded only where it is used.
      return await startOn(ws, config);
    }
  }
}

async function startOn<Message, Data>(
  transport: Transport<Message, Data>,
  config: Config,
): Promise<Relay> {
  const { server, limits, shutdown } = config;
  let certificate = server.tls.enabled ? await loadCertificate(server.tls) : null;
  const acceptsToken = await loadTokens(server.auth_tokens_file);
  let farewell = { closed: 0, terminated: 0 };

  await using onFailure = new AsyncDisposableStack();
  const hub: Hub<Message, Data> = new Hub({
    encode: transport.encode,
    maxBatchDeliveries: transport.maxBatchDeliveries,
    maxMessageBytes: limits.max_message_bytes,
    maxBacklogBytes: limits.max_backlog_bytes,
    echo: config.relay.echo,
    slowClient: limits.slow_client,
    maxMessagesPerSecond: limits.max_messages_per_second || undefined,
    onJoin: ({ connection: { peer } }) => log.debug("{peer} joined", { peer }),
    onLeave({ connection: { peer } }, cause) {
      farewell[cause === "closed" ? "closed" : "terminated"]++;
      logLeave(peer, cause);
    },
    onBatch: (seconds) => metrics.observeBatch(seconds),
  });
  const metrics: Metrics = onFailure.use(createMetrics({
    stats: () => hub.stats(),
    transport: server.transport,
    certificateExpires: certificate ? () => certificate!.expires : undefined,
  }));
  const admission = new Admission({
    server,
    limits,
    acceptsToken,
    onReject: (reason) => hub.reject(reason),
  });
  const listener = await bind("server", server, () =>
    transport.listen({
      hub,
      hostname: server.hostname,
      port: server.port,
      certificate,
      idleTimeoutSeconds: server.idle_timeout_seconds,
      maxMessageBytes: limits.max_message_bytes,
      admission,
      maxDescriptors: descriptorLimit(),
    }));
  onFailure.defer(() => listener.stop(0));
  const metricsListener = config.metrics.enabled
    ? await bind("metrics", config.metrics, () =>
      serveMetrics({
        hostname: config.metrics.hostname,
        port: config.metrics.port,
        scrape: metrics.scrape,
        ready: () => !admission.draining,
      }))
    : null;
  warnOfFewDescriptors(limits.max_connections, transport.spareDescriptors);
  if (certificate && certificate.expires.getTime() < Date.now()) {
    log.warn("The certificate expired on {expires}", {
      expires: certificate.expires.toISOString(),
    });
  }
  const following = certificate && listener.replaceCertificate
    ? watchCertificate(server.tls, certificate, (next) => {
      listener.replaceCertificate!(next);
      certificate = next;
    })
    : null;
  onFailure.move();

  async function shutDown(): Promise<ShutdownReport> {
    admission.draining = true;
    await sleep(shutdown.delay_seconds);
    farewell = { closed: 0, terminated: 0 };
    const deadline = performance.now() + shutdown.timeout_seconds * 1000;
    await settlesWithin(shutdown.timeout_seconds, hub.close());
    hub.drop();
    const left = Math.max(0, deadline - performance.now()) / 1000;
    await listener.stop(Math.min(left, LISTENER_GRACE_SECONDS));
    await metricsListener?.stop(LISTENER_GRACE_SECONDS);
    if (following) await settlesWithin(LISTENER_GRACE_SECONDS, following.stop());
    metrics[Symbol.dispose]();
    return farewell;
  }
  async function reload(): Promise<void> {
    if (admission.acceptsToken) await reloadTokens(admission, server.auth_tokens_file);
    if (following) await following.check();
    else if (certificate) {
      log.warn("A new certificate needs a restart with server.transport native");
    }
  }
  let reloading = Promise.resolve();
  let stopped: Promise<ShutdownReport> | undefined;
  const stop = () => stopped ??= shutDown();

  const died = [listener.died.then((why) => `The relay's listener died: ${why}`)];
  if (metricsListener) {
    died.push(metricsListener.died.then((why) => `The metrics listener died: ${why}`));
  }
  return {
    url: urlOf(certificate ? "wss" : "ws", server.hostname, listener.port),
    metricsUrl: metricsListener &&
      urlOf("http", config.metrics.hostname, metricsListener.port),
    died: Promise.race(died),
    stats: () => hub.stats(),
    reload: () => reloading = reloading.then(reload), // One after the other, so that the last one wins.
    stop,
    [Symbol.asyncDispose]: async () => void await stop(),
  };
}

async function reloadTokens(admission: Admission, file: string): Promise<void> {
  try {
    admission.acceptsToken = await loadTokens(file);
    log.info("Tokens read again from {file}", { file });
  } catch (error) {
    const reason = error instanceof ConfigError ? error.problems.join("; ") : String(error);
    log.error("Tokens not replaced: {reason}", { reason });
  }
}

async function bind<T>(
  section: "metrics" | "server",
  { hostname, port }: Config[typeof section],
  listen: () => T | Promise<T>,
): Promise<T> {
  const flag = section === "server" ? "--port" : "--metrics-port";
  try {
    return await listen();
  } catch (error) {
    const { code, message } = error as Error & { code?: string };
    const why = code === "EADDRINUSE"
      ? `the port is taken; set ${section}.port (${flag}) to another`
      : code === "EADDRNOTAVAIL" || code === "EINVAL"
      ? `${section}.hostname must be an address of this machine`
      : `${message}; see ${section}.hostname and ${section}.port`;
    throw new Error(`Cannot listen on ${hostname} port ${port}: ${why}`, { cause: error });
  }
}

function logLeave(peer: string, cause: Cause): void {
  if (cause in CLOSE || cause === "idle") {
    log.warn("{peer} evicted: {cause}", { peer, cause });
  } else {
    log.debug("{peer} left: {cause}", { peer, cause });
  }
}

/** A relay that runs out of descriptors turns clients away without a word, so it should be full before. */
function warnOfFewDescriptors(maxConnections: number, spare: number): void {
  const limit = descriptorLimit();
  if (limit === null || maxConnections + spare <= limit) return;
  log.warn(
    "limits.max_connections is {maxConnections}, but this process may open only {limit} files; " +
      "raise the limit (ulimit -n) or lower the key",
    { maxConnections, limit },
  );
}

function urlOf(scheme: string, hostname: string, port: number): string {
  const everywhere = hostname === "0.0.0.0" || hostname === "::";
  const host = everywhere ? "localhost" : /^[^[].*:/.test(hostname) ? `[${hostname}]` : hostname;
  return `${scheme}://${host}:${port}/`;
}

function sleep(seconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, seconds * 1000));
}
