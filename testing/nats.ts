/**
 * A real NATS server for tests, with accidents of the server and of its network.
 *
 * @module
 */

import { freePort } from "./daemon.ts";
import { bounded, until } from "./wait.ts";
import { type TempFolder, tempFolder } from "./temp.ts";

/** The options of a server. */
export interface NatsOptions {
  /** Settings of JetStream besides its store; `null` for a server without JetStream. Default: none. */
  jetStream?: string | null;
  /** The rest of its configuration file. Default: nothing. */
  config?: string;
}

/** A server on loopback with a store of its own. Disposing of it ends the server and removes the store. */
export class NatsServer implements AsyncDisposable {
  /** Its port, which stays the same. */
  port = -1;
  readonly #folder: TempFolder;
  readonly #file: string;
  readonly #jetStream: string; // The section of the configuration file.
  #child: Deno.ChildProcess | null = null;
  #said = "";
  #drained: Promise<void> = Promise.resolve();

  private constructor(folder: TempFolder, file: string, jetStream: string) {
    this.#folder = folder;
    this.#file = file;
    this.#jetStream = jetStream;
  }

  /** Starts a server on a free port. */
  static async start({ jetStream = "", config = "" }: NatsOptions = {}): Promise<NatsServer> {
    const folder = await tempFolder();
    const store = jetStream === null
      ? ""
      : `jetstream { store_dir: "${folder.path}/store", ${jetStream} }\n`;
    const server = new NatsServer(folder, await folder.write("nats.conf", store + config), store);
    try {
      await server.restart();
    } catch (error) {
      await server[Symbol.asyncDispose]();
      throw error;
    }
    return server;
  }

  /** Starts servers that form one JetStream cluster. */
  static async startCluster(count: number): Promise<NatsServer[]> {
    const ports = Array.from({ length: count }, freePort);
    const routes = ports.map((port) => `nats-route://127.0.0.1:${port}`).join(", ");
    return await Promise.all(ports.map((port, i) =>
      NatsServer.start({
        config: `server_name: n${i}\n` +
          `cluster { name: test, listen: "127.0.0.1:${port}", routes: [${routes}] }\n`,
      })
    ));
  }

  /** The URL for clients. */
  get url(): string {
    return `nats://127.0.0.1:${this.port}`;
  }

  /** Starts the server again after {@link stop} or {@link kill}, with the same port and store. */
  async restart(): Promise<void> {
    this.#said = "";
    this.#child = new Deno.Command("nats-server", {
      args: ["-a", "127.0.0.1", "-p", `${this.port}`, "-c", this.#file],
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).spawn();
    this.#drained = this.#read(this.#child);
    const child = this.#child;
    const gone = child.status.then(() => {
      throw new Error(`nats-server ended; it said: ${this.#said}`);
    });
    gone.catch(() => {});
    const ready = until(() => this.#said.includes("Server is ready"), "nats-server to be ready");
    await Promise.race([ready, gone]);
    const [, port] = /client connections on 127\.0\.0\.1:(\d+)/.exec(this.#said)!;
    this.port = Number(port);
  }

  /** Shuts the server down like an operator. */
  async stop(): Promise<void> {
    await this.#end("SIGTERM");
  }

  /** Kills the server. */
  async kill(): Promise<void> {
    await this.#end("SIGKILL");
  }

  /** Pauses the server while its connections stay open. */
  pause(): void {
    this.#child!.kill("SIGSTOP");
  }

  /** Lets the server continue after {@link pause}. */
  resume(): void {
    this.#child!.kill("SIGCONT");
  }

  /** Copies the current state of the store. */
  async copyStore(): Promise<void> {
    this.pause();
    await copy(`${this.#folder.path}/store`, `${this.#folder.path}/copy`);
    this.resume();
  }

  /** Restores the copy of {@link copyStore}. The server must be stopped. */
  async restoreStore(): Promise<void> {
    await Deno.remove(`${this.#folder.path}/store`, { recursive: true });
    await copy(`${this.#folder.path}/copy`, `${this.#folder.path}/store`);
  }

  /** Replaces the configuration of the running server, except for JetStream. */
  async reconfigure(config: string): Promise<void> {
    await Deno.writeTextFile(this.#file, this.#jetStream + config);
    const before = this.#said.length;
    this.#child!.kill("SIGHUP");
    const done = () => this.#said.slice(before).includes("Reloaded server configuration");
    await until(done, "nats-server to reload");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    await this.#folder[Symbol.asyncDispose]();
  }

  async #end(signal: Deno.Signal): Promise<void> {
    const child = this.#child;
    if (!child) return;
    this.#child = null;
    try {
      child.kill(signal);
    } catch {
      // It has ended already.
    }
    await bounded(child.status, "nats-server to end");
    await this.#drained;
  }

  async #read(child: Deno.ChildProcess): Promise<void> {
    for await (const text of child.stderr.pipeThrough(new TextDecoderStream())) this.#said += text;
  }
}

async function copy(from: string, to: string): Promise<void> {
  const { success } = await new Deno.Command("cp", { args: ["-a", from, to] }).output();
  if (!success) throw new Error(`Cannot copy ${from} to ${to}`);
}

/** A network path to a server that can be cut. Disposing of it closes it. */
export class Wire implements AsyncDisposable {
  /** The URL for clients. */
  readonly url: string;
  /** Whether data from the server is lost on the way. */
  deaf = false;
  /** Whether data from the client is lost on the way. */
  mute = false;
  readonly #target: number;
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #open = new Set<Deno.TcpConn>();
  readonly #tasks = new Set<Promise<void>>();
  #whole = true;

  /** Creates a path to a port of this machine. */
  constructor(target: number) {
    this.#target = target;
    this.url = `nats://127.0.0.1:${this.#listener.addr.port}`;
    this.#start(this.#accept());
  }

  /** Breaks all existing and new connections. */
  cut(): void {
    this.#whole = false;
    for (const connection of this.#open) close(connection);
    this.#open.clear();
  }

  /** Lets all data through again. */
  mend(): void {
    this.deaf = this.mute = false;
    this.#whole = true;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    this.cut();
    await bounded(Promise.all(this.#tasks), "the connections of a wire to end");
  }

  async #accept(): Promise<void> {
    try {
      for await (const client of this.#listener) {
        if (this.#whole) this.#start(this.#carry(client));
        else close(client);
      }
    } catch {
      // It was closed.
    }
  }

  async #carry(client: Deno.TcpConn): Promise<void> {
    this.#open.add(client);
    try {
      const server = await Deno.connect({ hostname: "127.0.0.1", port: this.#target });
      if (!this.#open.has(client)) return close(server);
      this.#open.add(server);
      await Promise.all([
        pump(client, server, () => this.mute),
        pump(server, client, () => this.deaf),
      ]);
      this.#open.delete(server);
    } catch {
      close(client); // The server is down.
    }
    this.#open.delete(client);
  }

  #start(task: Promise<void>): void {
    this.#tasks.add(task);
    task.finally(() => this.#tasks.delete(task));
  }
}

/** Carries bytes in one direction until either end closes, and then closes both. */
async function pump(from: Deno.TcpConn, to: Deno.TcpConn, lost: () => boolean): Promise<void> {
  const buffer = new Uint8Array(64 * 1024);
  try {
    for (let read; (read = await from.read(buffer)) !== null;) {
      for (let sent = 0; sent < read && !lost();) {
        sent += await to.write(buffer.subarray(sent, read));
      }
    }
  } catch {
    // It was closed, or reset.
  }
  close(from);
  close(to);
}

function close(connection: Deno.TcpConn): void {
  try {
    connection.close();
  } catch {
    // It was closed before.
  }
}
