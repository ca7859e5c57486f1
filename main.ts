/**
 * The command: flags, configuration, start, wait for a signal, stop, exit code.
 *
 * @module
 */

import { loadAccess, wantsTokens } from "./admission/access.ts";
import {
  CONFIG_SCHEMA,
  ConfigError,
  type Flags,
  HELP,
  loadConfig,
  type LoadedConfig,
  parseFlags,
  printConfig,
} from "./config.ts";
import { log, setUpLog } from "./lib/log.ts";
import { VERSION } from "./lib/version.ts";
import { checkCluster, type Relay, start } from "./relay.ts";
import { checkPath } from "./transport/address.ts";
import { loadCertificate } from "./transport/certificate.ts";

const EXIT = { ok: 0, failed: 1, misconfigured: 2, SIGINT: 130, SIGTERM: 143 } as const;

type Signal = "SIGINT" | "SIGTERM";

/** Performs the action of the command line, and returns the exit code. */
async function main(flags: Flags): Promise<number> {
  if (flags.action === "help") return print(HELP);
  switch (flags.problems.length === 0 && flags.action) { // loadConfig reports the problems.
    case "version":
      return print(`relay ${VERSION} (deno ${Deno.version.deno})\n`);
    case "print-schema":
      return print(`${JSON.stringify(CONFIG_SCHEMA, null, 2)}\n`);
  }
  const loaded = await loadConfig({ ...flags, flags: flags.settings, env: Deno.env.toObject() });
  switch (flags.action) {
    case "print-config":
      return print(printConfig(loaded.config));
    case "check":
      return await check(loaded);
    default:
      return await run(loaded);
  }
}

/** Tries everything that a start needs, except the ports, on which another relay may listen. */
async function check({ config, explicit }: LoadedConfig): Promise<number> {
  await checkPath(config.server.unix_socket);
  await loadAccess(config.server);
  const note = await certificateNote(config.server.tls);
  await checkCluster(config, explicit);
  return print(`ok${note}\n`);
}

/** Checks the certificate. An expired one can be served, so it is only worth a note. */
async function certificateNote(tls: LoadedConfig["config"]["server"]["tls"]): Promise<string> {
  if (!tls.enabled) return "";
  const { expires } = await loadCertificate(tls);
  return expires.getTime() < Date.now()
    ? `, but the certificate of server.tls.cert_file, ${tls.cert_file}, expired on ${expires.toISOString()}`
    : "";
}

async function run({ config, explicit, origin }: LoadedConfig): Promise<number> {
  setUpLog(config.log);
  logUnhandledRejections();
  const signalled = firstSignal(); // Before the start, so that a signal during the start stops the relay in order.
  let started: Relay | undefined;
  if (Deno.build.os !== "windows") { // Without a listener the signal would end the process.
    Deno.addSignalListener("SIGHUP", () => void started?.reload());
  }
  const relay = started = await start(config, explicit);
  logStart(relay, config, origin);

  const end = await Promise.race([signalled, relay.died]);
  const asked = end === "SIGINT" || end === "SIGTERM";
  if (asked) log.info("{signal}: shutting down", { signal: end });
  else log.error("{reason}; shutting down", { reason: end });

  const report = await relay.stop();
  log.info("Stopped: {closed} clients closed, {terminated} terminated", { ...report });
  return asked ? EXIT.ok : EXIT.failed;
}

/**
 * The time in which a second signal counts as an echo of the first. One Ctrl-C can arrive twice: from
 * the terminal, which signals every process in the foreground, and from a wrapper such as `deno task`,
 * which passes it on.
 */
const ECHO_MILLISECONDS = 200;

/** Resolves with the first signal to stop. A second signal ends the process at once. */
function firstSignal(): Promise<Signal> {
  return new Promise((resolve) => {
    let first: number | undefined;
    const listen = (signal: Signal) =>
      Deno.addSignalListener(signal, () => {
        const now = performance.now();
        first ??= now;
        if (now - first > ECHO_MILLISECONDS) Deno.exit(EXIT[signal]);
        resolve(signal);
      });
    listen("SIGINT");
    if (Deno.build.os !== "windows") listen("SIGTERM");
  });
}

/**
 * Logs unhandled rejections and keeps the process alive. A text message of more than about 512 MiB in
 * fragments causes one inside Deno that nothing else can catch.
 */
function logUnhandledRejections(): void {
  globalThis.addEventListener("unhandledrejection", (event) => {
    event.preventDefault();
    log.error("Unhandled rejection, carrying on: {reason}", { reason: String(event.reason) });
  });
}

function logStart(relay: Relay, config: LoadedConfig["config"], origin: string): void {
  const { server } = config;
  const anyOrigin = server.allowed_origins.includes("*");
  log.info(
    "Relay at {url} ({transport} transport, TLS {tls}, bound to {hostname}). " +
      "{who} may connect from {origins}. Cluster: {cluster}. Metrics: {metrics}. Configuration: {origin}.",
    {
      url: relay.url,
      transport: server.transport,
      tls: server.tls.enabled ? "on" : "off",
      hostname: server.unix_socket || server.hostname,
      who: whoMayJoin(server),
      origins: anyOrigin
        ? "any web page"
        : server.allowed_origins.length > 0
        ? `web pages of ${server.allowed_origins.join(", ")}`
        : "no web page",
      cluster: describeCluster(relay, config),
      metrics: relay.metricsUrl ? `${relay.metricsUrl}metrics (status page at /)` : "off",
      origin,
    },
  );
  if (server.without_token === "listen" && !wantsTokens(server)) {
    log.warn(
      "server.without_token is listen, but no tokens or keys are configured; all clients may send",
    );
  }
  if (anyOrigin && !wantsTokens(server)) {
    log.warn(
      "Anyone may connect, from any web page; server.allowed_origins and server.auth_tokens_file restrict that",
    );
  }
}

/** Names the cluster, and the largest message if the NATS servers decide that. */
function describeCluster(
  { cluster, maxMessageBytes }: Relay,
  { limits }: LoadedConfig["config"],
): string {
  if (!cluster) return "none";
  const limit = maxMessageBytes < limits.max_message_bytes
    ? `, whose max_payload has room for messages of ${maxMessageBytes} bytes`
    : "";
  return `${cluster.name} at ${cluster.engine}${limit}`;
}

/** Says which clients may join. */
function whoMayJoin(server: LoadedConfig["config"]["server"]): string {
  if (!wantsTokens(server)) return "Anyone";
  const listeners = server.without_token === "listen" ? ", and listeners without one," : "";
  return `Clients with a token${listeners}`;
}

function print(text: string): number {
  Deno.stdout.writeSync(new TextEncoder().encode(text));
  return EXIT.ok;
}

if (import.meta.main) {
  let code: number;
  try {
    code = await main(parseFlags(Deno.args));
  } catch (error) {
    console.error((error as Error).message);
    code = error instanceof ConfigError ? EXIT.misconfigured : EXIT.failed;
  }
  Deno.exit(code);
}
