/**
 * Other servers that work with the relay, such as proxies and Prometheus.
 *
 * @module
 */

import { bounded, until } from "./wait.ts";

/** Tells whether a command is installed. If not, logs the skipped test and the missing package. */
export async function has(command: string, debianPackage: string): Promise<boolean> {
  const { success } = await new Deno.Command("sh", { args: ["-c", `command -v ${command}`] })
    .output();
  if (!success) {
    console.warn(
      `SKIPPED: ${command} is not installed (Debian: apt-get install ${debianPackage})`,
    );
  }
  return success;
}

/** Finds a port on loopback for a server that cannot choose one itself. */
export function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

/** A server in a process of its own. Disposing of it ends the process. */
export class Daemon implements AsyncDisposable {
  /** Its standard error so far. */
  stderr = "";
  readonly #child: Deno.ChildProcess;
  readonly #drained: Promise<void>;

  private constructor(command: string[], env: Record<string, string>) {
    const [program, ...args] = command;
    const streams = { stdin: "null", stdout: "null", stderr: "piped" } as const;
    this.#child = new Deno.Command(program, { args, env, ...streams }).spawn();
    this.#drained = this.#read();
  }

  /** Starts a server that stays in the foreground, and waits until it accepts connections. */
  static async start(
    command: string[],
    port: number,
    env: Record<string, string> = {},
  ): Promise<Daemon> {
    const daemon = new Daemon(command, env);
    try {
      await until(() => accepts(port), `${command[0]} to listen`);
    } catch (error) {
      await daemon[Symbol.asyncDispose]();
      throw new Error(`${(error as Error).message}; it said: ${daemon.stderr}`);
    }
    return daemon;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGTERM");
    } catch {
      // It has ended already.
    }
    await bounded(this.#child.status, "a server to end");
    await this.#drained;
  }

  async #read(): Promise<void> {
    for await (const text of this.#child.stderr.pipeThrough(new TextDecoderStream())) {
      this.stderr += text;
    }
  }
}

/** Tells whether a server accepts connections at a port on loopback. */
export async function accepts(port: number): Promise<boolean> {
  try {
    (await Deno.connect({ hostname: "127.0.0.1", port })).close();
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.ConnectionRefused) return false;
    throw error;
  }
}
