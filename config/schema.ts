/**
 * The keys of the configuration: their types, bounds, defaults and descriptions.
 *
 * @module
 */

import ipaddr from "ipaddr.js";
import * as z from "zod";

const MIB = 1024 * 1024;

const origin = z.string().refine((text) => text === "*" || text === originOf(text));
/** A name that may stand in a header's list (RFC 9110 §5.6.2), and is no token of a client. */
const subprotocol = z.string().regex(/^(?!bearer\.)[\w!#$%&'*+.^`|~-]+$/);
/** A network, or `unix` for who comes through the Unix socket. */
const network = z.string().refine((text) => text === "unix" || ipaddr.isValidCIDR(text));
/** A NATS server, with or without user, password (in the form of URLs) and port. */
const natsServer = z.string()
  .regex(/^(nats|tls):\/\/(([^\s/@%]|%[\da-fA-F]{2})+@)?([\w.-]+|\[[\da-fA-F:.]+\])(:\d{1,5})?$/)
  .refine((text) => URL.canParse(text));

const server = z.strictObject({
  hostname: z.string().min(1).default("0.0.0.0")
    .describe("The address to bind; 0.0.0.0 is all of IPv4, :: all of IPv4 and IPv6."),
  port: z.int().min(0).max(65535).default(8443)
    .describe("The port to bind; 0 takes a free one."),
  reuse_port: z.boolean().default(false)
    .describe(
      "Whether several relays on this machine may share the port; each connection reaches one of them.",
    ),
  unix_socket: z.string().default("")
    .describe(
      "A path to listen on instead, as a Unix socket, for a proxy on the same machine; empty: none.",
    ),
  transport: z.enum(["native", "ws"]).default("native")
    .describe("What carries the WebSockets."),
  tls: z.strictObject({
    enabled: z.boolean().default(false)
      .describe("Whether to serve wss:// instead of ws://."),
    cert_file: z.string().min(1).default("cert.pem")
      .describe(
        "The certificate chain, PEM, relative to the working directory.",
      ),
    key_file: z.string().min(1).default("key.pem")
      .describe("Its private key, PEM, relative to the working directory."),
  }).prefault({}).describe("The certificate."),
  allowed_origins: z.array(origin).default(["*"])
    .meta({ title: 'origins such as https://example.com, or "*"' })
    .describe(
      'The origins whose pages may connect; "*" is any. Requests without an origin pass.',
    ),
  subprotocols: z.array(subprotocol).default([])
    .meta({ title: "subprotocols such as chat.v1, without bearer. at the beginning" })
    .describe(
      "The subprotocols that the relay knows besides relay; the first that a client offers is answered.",
    ),
  auth_tokens_file: z.string().default("")
    .describe(
      "A file with one token a line, of which a client must have one, and talk (the default) or " +
        "listen behind it: what it may do; empty: anyone may connect.",
    ),
  auth_keys_file: z.string().default("")
    .describe(
      "A file of keys (JWKS) for signed tokens (JWT), which are taken beside those of the file; empty: none.",
    ),
  without_token: z.enum(["refuse", "listen"]).default("refuse")
    .describe(
      "What becomes of a client without a token where tokens or keys are configured: it is refused, " +
        "or may listen.",
    ),
  auth_token_parameter: z.string().regex(/^[\w.~-]*$/).default("")
    .meta({ title: "text of letters, digits and . _ ~ -, or empty" })
    .describe(
      "A query parameter that may hold the token, for clients that can set nothing but a URL; " +
        "empty: none. Proxies, browsers and tools write URLs into their logs and histories, so " +
        "name one only where there is no other way.",
    ),
  trusted_proxies: z.array(network).default([])
    .meta({ title: "networks such as 10.0.0.0/8 or fd00::/8, or unix" })
    .describe(
      "The networks of proxies whose X-Forwarded-For is believed; unix is who comes through unix_socket.",
    ),
  idle_timeout_seconds: z.int().min(1).max(86400).default(30)
    .describe(
      "A silent client is pinged at half of this and evicted after it.",
    ),
});

const relay = z.strictObject({
  echo: z.boolean().default(true)
    .describe("Whether a sender receives its own messages."),
  rooms: z.boolean().default(false)
    .describe("Whether each path is a room of its own, such as /team; else there is only /."),
  history_seconds: z.number().min(0).max(86400).default(0)
    .describe("How long messages are kept for clients that ask for them; 0: not at all."),
  history_bytes: z.int().min(1).max(64 * 1024 * MIB).default(64 * MIB)
    .describe("How much of them is kept, over all rooms; what is older goes."),
});

const limits = z.strictObject({
  max_connections: z.int().min(1).max(1_000_000).default(10_000)
    .describe("How many clients may be connected."),
  max_connections_per_ip: z.int().min(0).max(1_000_000).default(0)
    .describe("How many of them from one address; 0: no limit."),
  max_rooms: z.int().min(1).max(1_000_000).default(10_000)
    .describe("How many rooms there may be, where relay.rooms is true."),
  max_message_bytes: z.int().min(1).max(64 * MIB).default(MIB)
    .describe("The largest message; text counts as UTF-8."),
  max_backlog_bytes: z.int().min(1).max(1024 * MIB).default(MIB)
    .describe("The unsent bytes that are held for one client; over it the client is slow."),
  max_messages_per_second: z.int().min(0).max(1_000_000).default(0)
    .describe("How many messages a client may send; 0: no limit."),
  slow_client: z.enum(["disconnect", "drop"]).default("disconnect")
    .describe("Evict a slow client, or keep it and skip the messages that it could not be given."),
});

const cluster = z.strictObject({
  servers: z.array(natsServer).default([])
    .meta({ title: "NATS servers such as nats://10.0.0.5:4222 or tls://nats.example.com:4222" })
    .describe(
      "The NATS servers, with user and password where they ask for them; empty: the relay is alone.",
    ),
  name: z.string().regex(/^[\w-]{1,64}$/).default("relay")
    .meta({ title: "1 to 64 letters, digits and _ -" })
    .describe("Relays of one name act as one; it is also the name of the stream and its subject."),
  credentials_file: z.string().default("")
    .describe("A NATS .creds file, relative to the working directory; empty: none."),
  tls_ca_file: z.string().default("")
    .describe(
      "The CA of servers whose URLs begin with tls://, PEM, relative to the working directory; " +
        "empty: those that Deno trusts.",
    ),
  storage: z.enum(["file", "memory"]).default("file")
    .describe("Where the stream is kept; in memory it ends with its server."),
  replicas: z.int().min(1).max(5).default(1)
    .describe("On how many servers the stream is kept; 3 where there are three."),
  retention_seconds: z.int().min(1).max(86400).default(120)
    .describe("How long the stream keeps messages: longer than a relay may be away and go on."),
  max_bytes: z.int().min(MIB).max(1024 * 1024 * MIB).default(256 * MIB)
    .describe("How much the stream keeps; what is older goes."),
  patience_seconds: z.number().min(0.1).max(3600).default(10)
    .describe("How long clients are kept while NATS does not answer."),
});

const metrics = z.strictObject({
  enabled: z.boolean().default(true)
    .describe("Whether to serve metrics and health checks."),
  hostname: z.string().min(1).default("0.0.0.0")
    .describe("The address to bind; 0.0.0.0 is all of IPv4, :: all of IPv4 and IPv6."),
  port: z.int().min(0).max(65535).default(9090)
    .describe("The port to bind; 0 takes a free one."),
});

const shutdown = z.strictObject({
  delay_seconds: z.number().min(0).max(3600).default(0)
    .describe("Time between /readyz turning 503 and the first close frame."),
  spread_seconds: z.number().min(0).max(3600).default(0)
    .describe("Time over which clients are told to go away, so that they do not come back at once"),
  timeout_seconds: z.number().min(0).max(3600).default(10)
    .describe("How long to wait, after the delay, for clients to go away."),
});

const log = z.strictObject({
  level: z.enum(["debug", "info", "warn", "error"]).default("info")
    .describe("The least severe level that is written."),
  format: z.enum(["text", "json"]).default("text")
    .describe("Lines for people, or one JSON object a line."),
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
    idle_timeout_seconds: number;
  };
  /** What the relay does with messages. */
  relay: { echo: boolean; rooms: boolean; history_seconds: number; history_bytes: number };
  /** How much a client may do. */
  limits: {
    max_connections: number;
    max_connections_per_ip: number;
    max_rooms: number;
    max_message_bytes: number;
    max_backlog_bytes: number;
    max_messages_per_second: number;
    slow_client: "disconnect" | "drop";
  };
  /** The relays that act as one. */
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
  /** How a shutdown goes. */
  shutdown: { delay_seconds: number; spread_seconds: number; timeout_seconds: number };
  /** What is logged, and how. */
  log: { level: "debug" | "info" | "warn" | "error"; format: "text" | "json" };
}

const schema: z.ZodType<Config> = z.strictObject({
  server: server.prefault({}).describe("The relay's own port."),
  relay: relay.prefault({}).describe("What the relay does with messages."),
  limits: limits.prefault({}).describe("How much a client may do."),
  cluster: cluster.prefault({}).describe("The relays that act as one."),
  metrics: metrics.prefault({}).describe("The port for metrics and health checks."),
  shutdown: shutdown.prefault({}).describe("How a shutdown goes."),
  log: log.prefault({}).describe("What is logged, and how."),
}).meta({ title: "Relay" }).describe("The configuration of the relay.");

/**
 * Finds the origin that a client sends (RFC 6454 §6.2) of which somebody wrote more, or not all; `null`
 * if there is none. Pages opened from disk have the origin `null`, in some apps `file://`; extensions and
 * apps have schemes of their own, which `URL` knows no origin of.
 */
function originOf(text: string): string | null {
  if (text === "null") return text;
  if (text.includes("*")) return null;
  const full = /^[a-z][a-z\d+.-]*:\/\//i.test(text) ? text : `https://${text}`;
  const url = URL.parse(full);
  if (!url) return null;
  if (url.protocol === "file:") return "file://";
  if (url.origin !== "null") return url.origin;
  return url.host ? `${url.protocol}//${url.host}` : null;
}

/** Says in words how to mend the items of a list that can be mended; empty if there are none. */
export function describeRepair(path: string, value: unknown): string {
  if (path !== "server.allowed_origins" || !Array.isArray(value)) return "";
  const repairs = value.flatMap((item) => {
    const meant = typeof item === "string" && item !== "*" ? originOf(item) : null;
    return meant === null || meant === item ? [] : [`"${meant}" instead of "${item}"`];
  });
  return repairs.length > 0 ? `; write ${repairs.join(", ")}` : "";
}

/** Fills in the defaults of a configuration as the file has it; `null` if a key or a value in it is wrong. */
export function fillDefaults(tree: unknown): Config | null {
  return schema.safeParse(tree).data ?? null;
}

/** The configuration that runs when nothing is configured. */
export const DEFAULT_CONFIG: Config = schema.parse({});

/** The JSON Schema of the configuration file; `config/schema.json` holds it for editors. */
export const CONFIG_SCHEMA: Readonly<Record<string, unknown>> = {
  $id: "schema.json",
  ...z.toJSONSchema(schema, { io: "input" }),
};

/** A value for a key as the environment or a flag gives it, and where it came from. */
export interface TextSetting {
  /** The key's path, for example `server.port`. */
  readonly path: string;
  /** The value; it stands for a number, a boolean or a list with commas where the key wants one. */
  readonly value: string;
  /** The source as messages name it, for example `flag --port`. */
  readonly source: string;
}

/** One key as the schema describes it, in the terms of JSON Schema. */
export interface Key {
  /** `object` for a section; else the type of the value. */
  readonly type: string;
  /** The items of a list in words, or the form of a text. */
  readonly title?: string;
  /** The shortest text allowed. */
  readonly minLength?: number;
  /** The keys of a section. */
  readonly properties?: Readonly<Record<string, Key>>;
  /** The only values allowed. */
  readonly enum?: readonly string[];
  /** The smallest number allowed. */
  readonly minimum?: number;
  /** The largest number allowed. */
  readonly maximum?: number;
}

/** Every key by its path, for example `server.port`; sections are among them, the root is `""`. */
export const KEYS: ReadonlyMap<string, Key> = new Map(
  flatten("", CONFIG_SCHEMA as unknown as Key),
);

function* flatten(path: string, key: Key): Generator<[string, Key]> {
  yield [path, key];
  for (const [name, child] of Object.entries(key.properties ?? {})) {
    yield* flatten(path ? `${path}.${name}` : name, child);
  }
}

/** Says in words which values a key takes. */
export function describeWanted(key: Key): string {
  if (key.enum) return `one of ${key.enum.join(", ")}`;
  switch (key.type) {
    case "boolean":
      return "true or false";
    case "integer":
      return `a whole number from ${key.minimum} to ${key.maximum}`;
    case "number":
      return `a number from ${key.minimum} to ${key.maximum}`;
    case "array":
      return `a list of ${key.title}`;
    default:
      if (key.title) return key.title;
      return key.minLength ? "text that is not empty" : "text";
  }
}
