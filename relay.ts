/**
 * The relay as a whole: wires hub, transport and metrics, and shuts them down in order.
 *
 * @module
 */

import { type Access, loadAccess, wantsTokens } from "./admission/access.ts";
import { Admission, type Rejection } from "./admission/admission.ts";
import { pathOf } from "./admission/request.ts";
import { type Bus, type Engine, UnusableFile } from "./cluster/bus.ts";
import { Link } from "./cluster/link.ts";
import { type Config, ConfigError, DEFAULT_CONFIG } from "./config.ts";
import { type Cause, Hub, type HubStats, MOST_HEAD_BYTES, type ShutdownReport } from "./hub.ts";
import { descriptorLimit } from "./lib/descriptors.ts";
import { answerHealth } from "./lib/health.ts";
import type { Listener } from "./lib/listener.ts";
import { log } from "./lib/log.ts";
import { Reminders } from "./lib/reminders.ts";
import { spread } from "./lib/spread.ts";
import { pause, settlesWithin } from "./lib/timeout.ts";
import { createMetrics, type Metrics, serveMetrics } from "./metrics.ts";
import { type Certificate, loadCertificate, watchCertificate } from "./transport/certificate.ts";
import { bind, urlOf, urlOfPath } from "./transport/address.ts";
import { native } from "./transport/native.ts";
import type { Transport, TransportListener } from "./transport/transport.ts";
import { warnOfExpiry, warnOfFewDescriptors, warnOfStrangers } from "./transport/warnings.ts";

export type { ShutdownReport } from "./hub.ts";

/** A snapshot of a relay's numbers: the hub's, and the requests that were refused. */
export interface RelayStats extends HubStats {
  /** Requests that were not allowed to join, by reason. */
  rejections: Record<Rejection, number>;
}

/** The cluster that a relay belongs to. */
export interface RelayCluster {
  /** Its name. */
  readonly name: string;
  /** The servers that carry its messages, without passwords, for example `nats://10.0.0.5:4222`. */
  readonly engine: string;
}

/** A running relay. */
export interface Relay extends AsyncDisposable {
  /** The address where clients connect, for example `ws://127.0.0.1:8443/` or `ws+unix:/run/relay.sock:/`. */
  readonly url: string;
  /** The address of the metrics, for example `http://127.0.0.1:9090/`; without metrics `null`. */
  readonly metricsUrl: string | null;
  /** The cluster that it is in; `null` if it is alone. */
  readonly cluster: RelayCluster | null;
  /** The bytes of the largest message: less than configured if the servers of the cluster take less. */
  readonly maxMessageBytes: number;
  /** Resolves with the reason if a listener ends by itself. The relay is then of no more use. */
  readonly died: Promise<string>;
  /** Takes a snapshot of the numbers. */
  stats(): RelayStats;
  /** Reads certificate, tokens and keys again. What cannot be used is logged, and the old one stays. */
  reload(): Promise<void>;
  /**
   * Shuts down: admits nobody any more, waits for `shutdown.delay_seconds`, closes every client, and waits for
   * them, at most `shutdown.timeout_seconds`. Later calls return the promise of the first one.
   */
  stop(): Promise<ShutdownReport>;
}

/** No key. */
const NOTHING: ReadonlySet<string> = new Set();

/** The time between looking for expired tokens, and for history that is too old. */
const EXPIRY_MILLISECONDS = 1000;

/** The time that each part has to end when the clients are gone, so that a stuck peer or file costs little. */
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
 * @param explicit The paths of keys that were set, even to their defaults. Default: none.
 * @throws {ConfigError} If the certificate, its key, the tokens or a file of the cluster cannot be used, an
 * address is none of this machine, or there can be no Unix socket at a path.
 * @throws {Error} If a port cannot be bound; the message says which and why.
 */
export async function start(
  config: Config,
  explicit: ReadonlySet<string> = NOTHING,
): Promise<Relay> {
  switch (config.server.transport) {
    case "native":
      return await startOn(native, config, explicit);
    case "ws": {
      const { ws } = await import("./transport/ws/ws.ts"); // Loaded only if it is used.
      return await startOn(ws, config, explicit);
    }
  }
}

async function startOn<Message, Data>(
  transport: Transport<Message, Data>,
  config: Config,
  explicit: ReadonlySet<string>,
): Promise<Relay> {
  const files = await load(config);
  const bus = await connect(config);
  try {
    return await startWith(bus, transport, fitMessages(config, explicit, bus), files);
  } catch (error) {
    await bus?.stop();
    throw error;
  }
}

async function startWith<Message, Data>(
  bus: Bus | null,
  transport: Transport<Message, Data>,
  config: Config,
  files: Files,
): Promise<Relay> {
  const parts = wire(transport, config, files, bus);
  try {
    await parts.link?.start(parts.hub); // Whoever is admitted may ask for the history.
    const listeners = await listen(transport, config, files, parts);
    warnOfFewDescriptors(config.limits.max_connections, transport.spareDescriptors);
    warnOfExpiry(files.certificate, config.server.tls.cert_file);
    warnOfStrangers(config.server);
    const cluster = bus && { name: config.cluster.name, engine: bus.engine };
    return run(config, files, parts, listeners, cluster);
  } catch (error) {
    parts.metrics[Symbol.dispose]();
    await parts.link?.stop();
    throw error;
  }
}

/** The contents of other files. The certificate may be replaced while the relay runs. */
interface Files {
  certificate: Certificate | null;
  readonly access: Access;
}

async function load({ server }: Config): Promise<Files> {
  return {
    certificate: server.tls.enabled ? await loadCertificate(server.tls) : null,
    access: await loadAccess(server),
  };
}

/**
 * Loads the bus over NATS and its libraries. Deno would download them before it runs anything if the path were
 * in one piece. Bundlers put the pieces together.
 */
function importNats(): Promise<Engine<Config["cluster"]>> {
  return import("./cluster" + "/nats.ts");
}

/** Connects to the cluster, if there is one. Only then are its libraries loaded. */
async function connect({ cluster, relay }: Config): Promise<Bus | null> {
  if (cluster.servers.length === 0) return null;
  const { connectBus } = await importNats();
  return await connectBus(cluster, relay.history_seconds).catch(blameFile);
}

/** Throws the error of a cluster; a file that cannot be used is an error of the configuration. */
function blameFile(error: unknown): never {
  throw error instanceof UnusableFile ? new ConfigError([error.message]) : error;
}

/**
 * Connects to the cluster for a moment, if there is one, to see whether a relay could start in it.
 *
 * @param explicit The paths of keys that were set, even to their defaults. Default: none.
 * @throws {ConfigError} If its servers cannot carry messages as large as configured, or a file that it needs
 * cannot be used.
 * @throws {Error} If it could not start; the message says why in one line.
 */
export async function checkCluster(
  config: Config,
  explicit: ReadonlySet<string> = NOTHING,
): Promise<void> {
  if (config.cluster.servers.length === 0) return;
  const { checkBus } = await importNats();
  fitMessages(config, explicit, await checkBus(config.cluster).catch(blameFile));
}

/**
 * Lowers the size of the largest message to what fits the engine of the cluster, unless it is set.
 *
 * @throws {ConfigError} If it is set, and does not fit.
 */
function fitMessages(
  config: Config,
  explicit: ReadonlySet<string>,
  bus: Pick<Bus, "engine" | "maxBatchBytes"> | null,
): Config {
  const { limits } = config, { max_message_bytes: wanted } = limits;
  const fits = bus ? bus.maxBatchBytes - MOST_HEAD_BYTES : Infinity;
  if (wanted <= fits) return config;
  const isDefault = wanted === DEFAULT_CONFIG.limits.max_message_bytes;
  if (isDefault && !explicit.has("limits.max_message_bytes")) {
    return { ...config, limits: { ...limits, max_message_bytes: fits } };
  }
  throw new ConfigError([
    `limits.max_message_bytes must be at most ${fits}, since messages have to fit into max_payload of ` +
    `the NATS server at ${bus!.engine}, got ${wanted}`,
  ]);
}

/** The parts of a relay, which know each other only through functions. */
interface Parts<Message, Data> {
  readonly hub: Hub<Message, Data>;
  readonly admission: Admission;
  readonly metrics: Metrics;
  readonly link: Link | null;
}

function wire<Message, Data>(
  transport: Transport<Message, Data>,
  config: Config,
  files: Files,
  bus: Bus | null,
): Parts<Message, Data> {
  const { server, relay, limits, cluster } = config;
  const { certificate, access } = files;
  const link = bus &&
    new Link(bus, cluster.patience_seconds, (seconds) => metrics.observePublish(seconds));
  const cutOff = () => link !== null && link.trouble !== null;
  const reminders = new Reminders();
  const admission = new Admission({ server, relay, limits, access, cutOff });
  const hub: Hub<Message, Data> = new Hub({
    encode: transport.encode,
    maxBatchDeliveries: transport.maxBatchDeliveries,
    shared: link ? { order: link, pack: transport.pack, unpack: transport.unpack } : undefined,
    maxMessageBytes: limits.max_message_bytes,
    maxBacklogBytes: limits.max_backlog_bytes,
    echo: relay.echo,
    history: relay.history_seconds > 0
      ? { bytes: relay.history_bytes, milliseconds: relay.history_seconds * 1000 }
      : undefined,
    maxRooms: limits.max_rooms,
    slowClient: limits.slow_client,
    maxMessagesPerSecond: limits.max_messages_per_second || undefined,
    onJoin: ({ peer }) => log.debug("{peer} joined", { peer }),
    onLeave: ({ peer }, cause) => logLeave(peer, cause, reminders),
    onBatch: (seconds) => metrics.observeBatch(seconds),
  });
  const metrics: Metrics = createMetrics({
    stats: () => hub.stats(),
    rejections: () => admission.rejections(),
    transport: server.transport,
    cluster: link ? { name: cluster.name, stats: () => link.stats() } : undefined,
    certificateExpires: certificate ? () => files.certificate!.expires : undefined,
  });
  return { hub, admission, metrics, link };
}

/** Says for health checks why nobody is admitted; `null` if clients are. */
function troubleOf({ admission, link }: Pick<Parts<unknown, unknown>, "admission" | "link">) {
  if (admission.draining) return "shutting down";
  return link?.trouble ? `cluster ${link.trouble}` : null;
}

interface Listeners {
  readonly relay: TransportListener;
  readonly metrics: Listener | null;
}

/** Loads the page for browsers, if it is configured. */
async function loadDemoPage({ demo_page }: Config["server"]) {
  return demo_page ? (await import("./transport/http/demo_page.ts")).answerBrowser : undefined;
}

async function listen<Message, Data>(
  transport: Transport<Message, Data>,
  config: Config,
  { certificate }: Files,
  parts: Parts<Message, Data>,
): Promise<Listeners> {
  const { server, limits, metrics } = config;
  const { hub, admission } = parts;
  const answerBrowser = await loadDemoPage(server);
  const relay = await bind("server", config, (address) =>
    transport.listen({
      admit: (request, peer) =>
        answerHealth(
          { method: request.method, path: pathOf(request.target) ?? "" },
          troubleOf(parts),
        ) ?? answerBrowser?.(request, config.relay.rooms) ?? admission.admit(request, peer),
      countRejection: (reason) => admission.countRejection(reason),
      members: hub,
      address,
      certificate,
      idleTimeoutSeconds: server.idle_timeout_seconds,
      maxMessageBytes: limits.max_message_bytes,
      maxDescriptors: descriptorLimit(),
    }));
  if (!metrics.enabled) return { relay, metrics: null };
  try {
    const port = await bind("metrics", config, (address) =>
      serveMetrics({
        address,
        scrape: parts.metrics.scrape,
        trouble: () => troubleOf(parts),
      }));
    return { relay, metrics: port };
  } catch (error) {
    await relay.stop(0);
    throw error;
  }
}

function run<Message, Data>(
  { server, relay, limits, metrics, shutdown }: Config,
  files: Files,
  parts: Parts<Message, Data>,
  listeners: Listeners,
  cluster: RelayCluster | null,
): Relay {
  const { hub, admission, link } = parts;
  const { relay: listener } = listeners;
  const expiry =
    server.auth_keys_file || relay.history_seconds > 0 || limits.max_messages_per_second
      ? setInterval(() => hub.expire(Date.now()), EXPIRY_MILLISECONDS)
      : undefined;
  const watcher = files.certificate && listener.replaceCertificate
    ? watchCertificate(server.tls, files.certificate, (next) => {
      listener.replaceCertificate!(next);
      files.certificate = next;
    })
    : null;

  async function shutDown(): Promise<ShutdownReport> {
    admission.draining = true;
    await pause(shutdown.delay_seconds * 1000);
    const deadline = performance.now() + shutdown.timeout_seconds * 1000;
    const { count, next } = hub.dismiss();
    await spread(count, Math.min(shutdown.spread_seconds, shutdown.timeout_seconds), next);
    clearInterval(expiry);
    await settlesWithin((deadline - performance.now()) / 1000, hub.close());
    const report = hub.terminate();
    const left = Math.max(0, deadline - performance.now()) / 1000;
    await listener.stop(Math.min(left, LISTENER_GRACE_SECONDS));
    await listeners.metrics?.stop(LISTENER_GRACE_SECONDS);
    if (link) await settlesWithin(LISTENER_GRACE_SECONDS, link.stop());
    if (watcher) await settlesWithin(LISTENER_GRACE_SECONDS, watcher.stop());
    parts.metrics[Symbol.dispose]();
    return report;
  }
  async function reload(): Promise<void> {
    if (wantsTokens(server)) await reloadTokens(admission, server);
    if (watcher) await watcher.check();
    else if (files.certificate) {
      log.warn("With server.transport native, a new certificate needs a restart");
    }
  }
  let reloading = Promise.resolve();
  let stopped: Promise<ShutdownReport> | undefined;
  const stop = () => stopped ??= shutDown();

  const died = [listener.died.then((why) => `The relay's listener died: ${why}`)];
  if (listeners.metrics) {
    died.push(listeners.metrics.died.then((why) => `The metrics listener died: ${why}`));
  }
  return {
    url: server.unix_socket
      ? urlOfPath(server.unix_socket)
      : urlOf(files.certificate ? "wss" : "ws", server.hostname, listener.port),
    metricsUrl: listeners.metrics && urlOf("http", metrics.hostname, listeners.metrics.port),
    cluster,
    maxMessageBytes: limits.max_message_bytes,
    died: Promise.race(died),
    stats: () => ({ ...hub.stats(), rejections: admission.rejections() }),
    reload: () => reloading = reloading.then(reload), // One after the other, so that the last one counts.
    stop,
    [Symbol.asyncDispose]: async () => void await stop(),
  };
}

async function reloadTokens(admission: Admission, server: Config["server"]): Promise<void> {
  try {
    admission.access = await loadAccess(server);
    const files = [server.auth_tokens_file, server.auth_keys_file].filter(Boolean).join(" and ");
    log.info("Tokens reloaded from {files}", { files });
  } catch (error) {
    const reason = error instanceof ConfigError ? error.problems.join("; ") : String(error);
    log.error("Tokens not replaced: {reason}", { reason });
  }
}

/** The causes that are logged for each client. Those that affect all clients have a line of their own. */
const LOGGED_CAUSES: readonly Cause[] = ["slow", "rate", "too_big", "role", "idle"];

/** Logs why a client left. Listeners that send may be strangers, so they get one line per minute and address. */
function logLeave(peer: string, cause: Cause, reminders: Reminders): void {
  const known = cause === "role" && !reminders.due(peer.replace(/:\d+$/, ""));
  if (LOGGED_CAUSES.includes(cause) && !known) {
    log.warn("{peer} evicted: {cause}", { peer, cause });
  } else {
    log.debug("{peer} left: {cause}", { peer, cause });
  }
}
