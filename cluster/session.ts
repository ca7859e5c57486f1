/**
 * One connection to NATS, from the handshake until it breaks.
 *
 * The client's own reconnection is not used. It does not notice a broken connection while written data is
 * stuck in the socket, keeps requests of the old connection waiting, and drops messages that are published
 * in between.
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

/** The keys of the section `cluster` that say how to reach the servers. */
export interface ServerSettings {
  /** URLs of one scheme with one user and one password, such as `nats://10.0.0.5:4222`. */
  readonly servers: readonly string[];
  /** The path of a `.creds` file; empty for none. */
  readonly credentials_file: string;
  /** The path of a file with the servers' CA; empty for the CAs that Deno trusts. */
  readonly tls_ca_file: string;
}

/** The time that the servers have for one answer. */
export const ANSWER_MILLISECONDS = 2000;

/** How often a server is pinged, and how many pings in a row it may leave unanswered. */
const PING_MILLISECONDS = 1000, MISSED_PINGS = 2;

/** The pause between two attempts at one server, and the most that chance adds to it in milliseconds. */
const RETRY_MILLISECONDS = 150, RETRY_JITTER = 100;

/** An open connection. */
export class Session {
  /** The API for streams and consumers. */
  readonly manager: JetStreamManager;
  /** The API for publishing. */
  readonly client: JetStreamClient;
  /** Resolves when the connection has ended. */
  readonly ended: Promise<void>;
  /** The first permission error that only the connection's status reports; `null` if there is none. */
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
   * @param signal Ends the attempts when it is aborted. Without it, each server is tried once.
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

  /** Whether the connection has ended. */
  get closed(): boolean {
    return this.connection.isClosed();
  }

  /** A signal that is aborted when the connection ends. */
  get signal(): AbortSignal {
    return this.#end.signal;
  }

  /** Waits for work that needs the connection. Rejects at once when the connection breaks. */
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

/** Returns the servers' addresses for the log, without passwords. */
export function engineOf({ servers }: ServerSettings): string {
  return servers.map((server) => {
    const { protocol, host } = new URL(server);
    return `${protocol}//${host}`;
  }).join(", ");
}

/**
 * Builds the options of the client, which would ignore the credentials before the `@` of a URL.
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
