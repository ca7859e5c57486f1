/**
 * One connection to NATS, from the handshake until it breaks.
 *
 * The client's own reconnection is not used: it does not notice an end while what it has written is stuck
 * in a socket, keeps requests of the old connection waiting, and drops what is published in between.
 *
 * @module
 */

import {
  jetstream,
  type JetStreamClient,
  type JetStreamManager,
  jetstreamManager,
} from "@nats-io/jetstream";
import {
  type Authenticator,
  type ConnectionOptions,
  credsAuthenticator,
  errors,
  type NatsConnection,
} from "@nats-io/transport-node";
import { UnusableFile } from "./bus.ts";
import { connect } from "./transport.ts";

/** How the servers are reached: keys of the section `cluster` of the configuration. */
export interface ServerSettings {
  /** URLs of one scheme with one user and one password, such as `nats://10.0.0.5:4222`. */
  readonly servers: readonly string[];
  /** A `.creds` file; empty: none. */
  readonly credentials_file: string;
  /** The CA of the servers; empty: those that Deno trusts. */
  readonly tls_ca_file: string;
}

/** The time in milliseconds that the servers have for one answer. */
export const ANSWER_MILLISECONDS = 2000;

/** A server that answers no ping in this many milliseconds twice is gone. */
const PING_MILLISECONDS = 1000, MISSED_PINGS = 2;

/** The time in milliseconds between two attempts at one server, and what chance adds to it at most. */
const RETRY_MILLISECONDS = 150, RETRY_JITTER = 100;

/** A connection that was made. */
export class Session {
  /** The streams and consumers. */
  readonly manager: JetStreamManager;
  /** What publishes. */
  readonly client: JetStreamClient;
  /** Resolves when the connection has ended. */
  readonly ended: Promise<void>;
  /** What the user was not permitted, where nothing but this says so; `null` if there is nothing. */
  forbidden: Error | null = null;
  readonly #broken: Promise<never>;
  readonly #end = new AbortController();

  private constructor(
    /** The connection. */
    readonly connection: NatsConnection,
    manager: JetStreamManager,
  ) {
    this.manager = manager;
    this.client = jetstream(connection, { timeout: ANSWER_MILLISECONDS });
    this.ended = connection.closed().then(() => this.#end.abort());
    this.#broken = this.ended.then(() => {
      throw new Error("the connection broke");
    });
    this.#broken.catch(() => {});
    this.#watch();
  }

  /**
   * Connects.
   *
   * @param signal What ends the attempts; without it each server is tried once.
   */
  static async open(options: ConnectionOptions, signal?: AbortSignal): Promise<Session> {
    const connection = await connect({
      ...options,
      waitOnFirstConnect: signal !== undefined,
      reconnectToServer: () => {
        signal?.throwIfAborted();
        return null;
      },
    });
    const lenient = { checkAPI: false, timeout: ANSWER_MILLISECONDS };
    return new Session(connection, await jetstreamManager(connection, lenient));
  }

  /** Whether it has ended. */
  get closed(): boolean {
    return this.connection.isClosed();
  }

  /** What is aborted when it ends. */
  get signal(): AbortSignal {
    return this.#end.signal;
  }

  /** Waits for something that needs the connection; rejects at once when it breaks. */
  during<T>(work: Promise<T>): Promise<T> {
    return Promise.race([work, this.#broken]);
  }

  /** Disconnects. */
  async close(): Promise<void> {
    await this.connection.close();
  }

  async #watch(): Promise<void> {
    for await (const status of this.connection.status()) {
      if (status.type === "staleConnection") this.close();
      if (status.type === "error" && status.error instanceof errors.PermissionViolationError) {
        this.forbidden ??= status.error;
      }
    }
  }
}

/** Names the servers as the log does, without passwords. */
export function engineOf({ servers }: ServerSettings): string {
  return servers.map((server) => {
    const { protocol, host } = new URL(server);
    return `${protocol}//${host}`;
  }).join(", ");
}

/**
 * Makes the options of the client, which ignores what stands before the `@` of a URL.
 *
 * @throws {UnusableFile} If a file cannot be read.
 */
export async function connectionOptions(settings: ServerSettings): Promise<ConnectionOptions> {
  const urls = settings.servers.map((server) => new URL(server));
  const [{ protocol, username, password }] = urls;
  const user = decodeURIComponent(username);
  return {
    servers: urls.map(({ host }) => host),
    name: "relay",
    ...password === "" && user !== "" ? { token: user } : {},
    ...password !== "" ? { user, pass: decodeURIComponent(password) } : {},
    ...settings.credentials_file ? { authenticator: await readCredentials(settings) } : {},
    ...protocol === "tls:"
      ? { tls: settings.tls_ca_file ? { ca: await readText("tls_ca_file", settings) } : {} }
      : {},
    reconnect: false,
    maxReconnectAttempts: -1,
    ignoreAuthErrorAbort: true,
    reconnectDelayHandler: () => RETRY_MILLISECONDS + Math.random() * RETRY_JITTER,
    timeout: ANSWER_MILLISECONDS,
    pingInterval: PING_MILLISECONDS,
    maxPingOut: MISSED_PINGS,
    noAsyncTraces: true,
  };
}

async function readCredentials(settings: ServerSettings): Promise<Authenticator> {
  const authenticator = credsAuthenticator(await readFile("credentials_file", settings));
  try {
    authenticator("nonce");
    return authenticator;
  } catch (error) {
    const file = settings.credentials_file;
    const why = "it must be a .creds file of NATS";
    const problem = `Cannot use ${file} of cluster.credentials_file: ${why}`;
    throw new UnusableFile(problem, { cause: error });
  }
}

type FileKey = "credentials_file" | "tls_ca_file";

async function readFile(key: FileKey, settings: ServerSettings): Promise<Uint8Array> {
  const file = settings[key];
  try {
    return await Deno.readFile(file);
  } catch (error) {
    const why = error instanceof Deno.errors.NotFound
      ? "there is no such file"
      : (error as Error).message.split(": readfile")[0];
    throw new UnusableFile(`Cannot read ${file} of cluster.${key}: ${why}`, { cause: error });
  }
}

async function readText(key: FileKey, settings: ServerSettings): Promise<string> {
  return new TextDecoder().decode(await readFile(key, settings));
}
