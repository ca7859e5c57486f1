/**
 * The keys of the configuration: their types, bounds, defaults and descriptions.
 *
 * @module
 */

import ipaddr from "ipaddr.js";
import * as v from "valibot";
import { originOf } from "./origin.ts";

const MIB = 1024 * 1024;

const origin = v.pipe(v.string(), v.check((text) => text === "*" || text === originOf(text)));
/** A name that is allowed in a list header (RFC 9110 §5.6.2), and that is not a client's token. */
const subprotocol = v.pipe(v.string(), v.regex(/^(?!bearer\.)[\w!#$%&'*+.^`|~-]+$/));
/** A network, or `unix` for clients that come through the Unix socket. */
const network = v.pipe(
  v.string(),
  v.check((text) => text === "unix" || ipaddr.isValidCIDR(text)),
);
/** The URL of a NATS server, with or without user, password and port. */
const natsServer = v.pipe(
  v.string(),
  v.regex(
    /^(nats|tls):\/\/(([^\s/@%]|%[\da-fA-F]{2})+@)?([\w.-]+|\[[\da-fA-F:.]+\])(:\d{1,5})?$/,
  ),
  v.check((text) => URL.canParse(text)),
);

const anyText = v.string();
const filledText = v.pipe(v.string(), v.nonEmpty());

/** A number from `min` to `max`. */
function number(min: number, max: number) {
  return v.pipe(v.number(), v.minValue(min), v.maxValue(max));
}

/** A whole number from `min` to `max`. */
function whole(min: number, max: number) {
  return v.pipe(v.number(), v.integer(), v.minValue(min), v.maxValue(max));
}

/** A value that messages describe as `title`. */
function titled<Value>(title: string, schema: v.GenericSchema<Value>) {
  return v.pipe(schema, v.title(title));
}

/** A key with the value `byDefault` if it is absent. */
function key<Value>(
  schema: v.GenericSchema<Value>,
  byDefault: NoInfer<Value>,
  description: string,
) {
  return v.optional(v.pipe(schema, v.description(description)), () => byDefault);
}

/** A mapping of keys that are all known. If it is absent, all of them have their defaults. */
function section<Keys extends v.ObjectEntries>(
  description: string,
  keys: Keys,
): v.GenericSchema<unknown, v.InferOutput<v.StrictObjectSchema<Keys, undefined>>> {
  const schema: v.GenericSchema = v.strictObject(keys); // Otherwise the types want more than {}.
  return v.optional(v.pipe(schema, v.description(description)), {}) as ReturnType<
    typeof section<Keys>
  >;
}

const server = section("The relay's own port.", {
  hostname: key(
    filledText,
    "0.0.0.0",
    "The address to listen on. 0.0.0.0 means all IPv4 addresses, and :: means all IPv4 and " +
      "IPv6 addresses.",
  ),
  port: key(whole(0, 65535), 8443, "The port to listen on. 0 picks a free port."),
  reuse_port: key(
    v.boolean(),
    false,
    "Whether several relays on this machine may share the port. Each connection reaches one " +
      "of them.",
  ),
  unix_socket: key(
    anyText,
    "",
    "The path of a Unix socket to listen on instead of a port, for a proxy on the same " +
      "machine. Empty: none.",
  ),
  transport: key(v.picklist(["native", "ws"]), "native", "The implementation of the WebSockets."),
  tls: section("The certificate.", {
    enabled: key(v.boolean(), false, "Whether to serve wss:// instead of ws://."),
    cert_file: key(
      filledText,
      "cert.pem",
      "The certificate chain in PEM, relative to the working directory.",
    ),
    key_file: key(
      filledText,
      "key.pem",
      "The private key of the certificate in PEM, relative to the working directory.",
    ),
  }),
  allowed_origins: key(
    titled('origins such as https://example.com, or "*"', v.array(origin)),
    ["*"],
    'The origins whose web pages may connect. "*" allows every web page. Requests without an ' +
      "origin do not come from web pages and are not restricted.",
  ),
  subprotocols: key(
    titled("subprotocols such as chat.v1, without bearer. at the beginning", v.array(subprotocol)),
    [],
    "The subprotocols that the relay knows in addition to relay. It answers the first one " +
      "that a client offers.",
  ),
  auth_tokens_file: key(
    anyText,
    "",
    "A file with one token per line. The word talk (the default) or listen may follow each " +
      "token. Empty: no such tokens.",
  ),
  auth_keys_file: key(
    anyText,
    "",
    "A file with keys (JWKS) for signed tokens (JWT), which are accepted in addition to those " +
      "of the token file. Empty: no signed tokens.",
  ),
  without_token: key(
    v.picklist(["refuse", "listen"]),
    "refuse",
    "What happens to a client without a token if tokens or keys are configured: it is " +
      "refused, or it may listen.",
  ),
  auth_token_parameter: key(
    titled("text of letters, digits and . _ ~ -, or empty", v.pipe(anyText, v.regex(/^[\w.~-]*$/))),
    "",
    "A query parameter that may hold the token, for clients that can set nothing but a URL. " +
      "Empty: none. Proxies, browsers and tools write URLs to their logs and histories, so use " +
      "it only if there is no other way.",
  ),
  trusted_proxies: key(
    titled("networks such as 10.0.0.0/8 or fd00::/8, or unix", v.array(network)),
    [],
    "The networks of proxies whose X-Forwarded-For header is believed. unix means every " +
      "connection through unix_socket.",
  ),
  demo_page: key(
    v.boolean(),
    false,
    "Whether browsers that open the relay's address get the chat page, to try the relay.",
  ),
  idle_timeout_seconds: key(
    whole(1, 86400),
    30,
    "A silent client is pinged after half of this time and evicted after all of it.",
  ),
});

const relay = section("How the relay treats messages.", {
  echo: key(v.boolean(), true, "Whether a sender receives its own messages."),
  rooms: key(
    v.boolean(),
    false,
    "Whether each path, such as /team, is a room of its own. Otherwise / is the only room.",
  ),
  history_seconds: key(
    number(0, 86400),
    0,
    "How long messages are kept for clients that ask for them. 0: not at all.",
  ),
  history_bytes: key(
    whole(1, 64 * 1024 * MIB),
    64 * MIB,
    "How many bytes of the history are kept, over all rooms. Beyond that the oldest messages go.",
  ),
});

const limits = section("Limits for clients, rooms and messages.", {
  max_connections: key(
    whole(1, 1_000_000),
    10_000,
    "The number of clients that may be connected. Keep it below ulimit -n.",
  ),
  max_connections_per_ip: key(
    whole(0, 1_000_000),
    0,
    "The number of clients that may be connected from one address. 0: no limit.",
  ),
  max_rooms: key(
    whole(1, 1_000_000),
    10_000,
    "The number of rooms that may have clients at the same time, if relay.rooms is true.",
  ),
  max_message_bytes: key(
    whole(1, 64 * MIB),
    MIB,
    "The size of the largest message. Text counts as UTF-8.",
  ),
  max_backlog_bytes: key(
    whole(1, 1024 * MIB),
    MIB,
    "The unsent bytes that the relay holds for one client. A client with more than that is slow.",
  ),
  max_messages_per_second: key(
    whole(0, 1_000_000),
    0,
    "The messages that a client may send per second; it may send those of one second at once. " +
      "0: no limit.",
  ),
  slow_client: key(
    v.picklist(["disconnect", "drop"]),
    "disconnect",
    "What happens to a slow client: it is evicted, or it stays and the messages that it " +
      "cannot be given are dropped.",
  ),
});

const cluster = section("The cluster in which several relays act as one.", {
  servers: key(
    titled(
      "NATS servers such as nats://10.0.0.5:4222 or tls://nats.example.com:4222",
      v.array(natsServer),
    ),
    [],
    "The NATS servers of the cluster, with user and password if they need them. Empty: this " +
      "relay is alone.",
  ),
  name: key(
    titled("1 to 64 letters, digits and _ -", v.pipe(anyText, v.regex(/^[\w-]{1,64}$/))),
    "relay",
    "The name of the cluster. Relays with the same name act as one. The stream in NATS and " +
      "its subject have the same name.",
  ),
  credentials_file: key(
    anyText,
    "",
    "A NATS .creds file, relative to the working directory. Empty: none.",
  ),
  tls_ca_file: key(
    anyText,
    "",
    "The CA of NATS servers whose URLs begin with tls://, in PEM, relative to the working " +
      "directory. Empty: the CAs that Deno trusts.",
  ),
  storage: key(
    v.picklist(["file", "memory"]),
    "file",
    "Where NATS keeps the stream. A stream in memory ends with its server.",
  ),
  replicas: key(
    whole(1, 5),
    1,
    "The number of NATS servers that keep a copy of the stream. Use 3 if there are three " +
      "servers.",
  ),
  retention_seconds: key(
    whole(1, 86400),
    120,
    "How long the stream keeps messages. A relay that was cut off for longer cannot catch up.",
  ),
  max_bytes: key(
    whole(MIB, 1024 * 1024 * MIB),
    256 * MIB,
    "How many bytes the stream keeps. Beyond that the oldest messages are removed.",
  ),
  patience_seconds: key(
    number(0.1, 3600),
    10,
    "How long clients stay connected while NATS does not answer.",
  ),
});

const metrics = section("The port for metrics and health checks.", {
  enabled: key(v.boolean(), true, "Whether to serve metrics, health checks and the status page."),
  hostname: key(filledText, "0.0.0.0", "The address to listen on, as in server.hostname."),
  port: key(whole(0, 65535), 9090, "The port to listen on. 0 picks a free port."),
});

const shutdown = section("The steps of a shutdown.", {
  delay_seconds: key(
    number(0, 3600),
    0,
    "The time between /readyz turning to 503 and the first close frame.",
  ),
  spread_seconds: key(
    number(0, 3600),
    0,
    "The time over which the close frames are spread, so that clients do not all come back at " +
      "once.",
  ),
  timeout_seconds: key(
    number(0, 3600),
    10,
    "How long to wait, after the delay, for clients to disconnect.",
  ),
});

const log = section("The log.", {
  level: key(
    v.picklist(["debug", "info", "warn", "error"]),
    "info",
    "The least severe level that is logged.",
  ),
  format: key(
    v.picklist(["text", "json"]),
    "text",
    "The form of the log lines: text for people, or one JSON object per line.",
  ),
});

/** The effective configuration; keys as in the file, sizes in bytes, times in seconds. */
export interface Config {
  /** The relay's own port. */
  server: {
    hostname: string;
    port: number;
    reuse_port: boolean;
    unix_socket: string;
    transport: "native" | "ws";
    tls: { enabled: boolean; cert_file: string; key_file: string };
    allowed_origins: string[];
    subprotocols: string[];
    auth_tokens_file: string;
    auth_keys_file: string;
    without_token: "refuse" | "listen";
    auth_token_parameter: string;
    trusted_proxies: string[];
    demo_page: boolean;
    idle_timeout_seconds: number;
  };
  /** How the relay treats messages. */
  relay: { echo: boolean; rooms: boolean; history_seconds: number; history_bytes: number };
  /** Limits for clients, rooms and messages. */
  limits: {
    max_connections: number;
    max_connections_per_ip: number;
    max_rooms: number;
    max_message_bytes: number;
    max_backlog_bytes: number;
    max_messages_per_second: number;
    slow_client: "disconnect" | "drop";
  };
  /** The cluster in which several relays act as one. */
  cluster: {
    servers: string[];
    name: string;
    credentials_file: string;
    tls_ca_file: string;
    storage: "file" | "memory";
    replicas: number;
    retention_seconds: number;
    max_bytes: number;
    patience_seconds: number;
  };
  /** The port for metrics and health checks. */
  metrics: { enabled: boolean; hostname: string; port: number };
  /** The steps of a shutdown. */
  shutdown: { delay_seconds: number; spread_seconds: number; timeout_seconds: number };
  /** The log. */
  log: { level: "debug" | "info" | "warn" | "error"; format: "text" | "json" };
}

/** The schema of the whole configuration. */
export const SCHEMA: v.GenericSchema<unknown, Config> = v.pipe(
  v.strictObject({ server, relay, limits, cluster, metrics, shutdown, log }),
  v.title("Relay"),
  v.description("The configuration of the relay."),
);

/** Fills in the defaults of a configuration from a file; `null` if a key or a value in it is wrong. */
export function fillDefaults(tree: unknown): Config | null {
  const { success, output } = v.safeParse(SCHEMA, tree);
  return success ? output : null;
}

/** The configuration that runs when nothing is configured. */
export const DEFAULT_CONFIG: Config = v.parse(SCHEMA, {});
