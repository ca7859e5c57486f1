/**
 * Processes under test, especially the relay: starting, watching, signalling and ending them.
 *
 * @module
 */

import { bounded, until } from "./wait.ts";

/** The path of the project's folder. */
export const ROOT = new URL("..", import.meta.url).pathname;

/** The options of a program. */
export interface ProgramOptions {
  /** The command and its arguments. Default: the relay from source, with all permissions. */
  command?: string[];
  /** Arguments after the command. Default: none. */
  args?: string[];
  /** Environment variables to add. Default: none. */
  env?: Record<string, string>;
  /** The working directory. Default: the project's. */
  cwd?: string;
  /** The standard input: `null` for none, `piped` for the text of {@link Process.write}. Default: `null`. */
  stdin?: "null" | "piped";
}

/** A finished program. */
export interface Finished {
  /** Its exit code. */
  code: number;
  /** Its standard output. */
  stdout: string;
  /** Its standard error. */
  stderr: string;
}

/**
 * The environment that makes glibc return freed memory, so that leaks can be found. By default, its heap
 * becomes fragmented and keeps tens of MiB.
 */
export const LEAN_ALLOCATOR: Readonly<Record<string, string>> = {
  MALLOC_MMAP_THRESHOLD_: `${16 * 1024}`,
  MALLOC_TRIM_THRESHOLD_: `${64 * 1024}`,
};

/** The command of the relay from source, with all permissions. */
export const RELAY = [Deno.execPath(), "run", "-A", "--quiet", `${ROOT}main.ts`];

function spawn(options: ProgramOptions) {
  const { command = RELAY, args = [], env = {}, cwd = ROOT, stdin = "null" } = options;
  const [program, ...first] = command;
  return new Deno.Command(program, {
    args: [...first, ...args],
    env: { NO_COLOR: "1", ...env },
    cwd,
    stdin,
    stdout: "piped",
    stderr: "piped",
    detached: true, // A process group of its own, so that a wrapper's children can be ended with it.
  }).spawn();
}

function killGroup({ pid }: Deno.ChildProcess): void {
  try {
    Deno.kill(-pid, "SIGKILL");
  } catch {
    // It has ended already.
  }
}

/** Runs a program to its end. */
export async function run(options: ProgramOptions, seconds = 60): Promise<Finished> {
  const child = spawn(options);
  const ended = child.output();
  try {
    const { code, stdout, stderr } = await bounded(ended, "a program to end", seconds);
    const decoder = new TextDecoder();
    return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
  } catch (error) {
    killGroup(child);
    await ended;
    throw error;
  }
}

/** A running program. Disposing of it kills the process. */
export class Process implements AsyncDisposable {
  /** Its standard output so far. */
  stdout = "";
  /** Its standard error so far. */
  stderr = "";
  /** Whether it has ended. */
  ended = false;
  readonly #child: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array> | null;
  readonly #drained: Promise<unknown>;

  /** Starts a program. */
  constructor(options: ProgramOptions) {
    this.#child = spawn(options);
    this.#child.status.then(() => this.ended = true);
    this.#input = options.stdin === "piped" ? this.#child.stdin.getWriter() : null;
    this.#drained = Promise.all([this.#read("stdout"), this.#read("stderr")]);
  }

  /** The process id. */
  get pid(): number {
    return this.#child.pid;
  }

  /** Writes to its standard input. */
  async write(text: string): Promise<void> {
    await this.#input!.write(new TextEncoder().encode(text));
  }

  /** Closes its standard input. */
  async endInput(): Promise<void> {
    await this.#input!.close();
  }

  /** Sends a signal. */
  signal(signal: Deno.Signal): void {
    this.#child.kill(signal);
  }

  /** Waits for the end, and returns the exit code. */
  async exited(): Promise<number> {
    const { code } = await bounded(this.#child.status, "a program to exit", 60);
    await this.#drained;
    return code;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    killGroup(this.#child);
    await this.exited();
    await this.#input?.close().catch(() => {}); // It may be closed or broken.
  }

  async #read(stream: "stdout" | "stderr"): Promise<void> {
    for await (const text of this.#child[stream].pipeThrough(new TextDecoderStream())) {
      this[stream] += text;
    }
  }
}

/** A line of the relay's log: its level, its message, and the values in the message under their names. */
export interface LogEntry extends Readonly<Record<string, unknown>> {
  /** The level, for example `WARN`. */
  readonly level: string;
  /** The complete text. */
  readonly message: string;
}

/** A relay in a process of its own that logs JSON. */
export class Program extends Process {
  /** Starts a relay and waits until it reports its start. */
  static async start(options: ProgramOptions = {}): Promise<Program> {
    const args = options.args ?? ["--port", "0", "--metrics-port", "0"];
    const env = { RELAY_LOG_FORMAT: "json", ...options.env };
    const program = new Program({ ...options, args, env });
    try {
      await until(() => program.#started !== undefined || program.ended, "the relay to start", 60);
      if (!program.#started) throw new Error("the relay did not start");
    } catch (error) {
      await program[Symbol.asyncDispose]();
      throw new Error(`${(error as Error).message}; it said: ${program.stderr}`);
    }
    return program;
  }

  /** The URL for clients. */
  get url(): string {
    return this.#started!.url as string;
  }

  /** The URL of the metrics server. */
  get metricsUrl(): string {
    const [url] = /http:\S+\//.exec(this.#started!.metrics as string)!;
    return url;
  }

  /** The lines of its log, without output of the platform. */
  get log(): LogEntry[] {
    return this.stderr.split("\n").slice(0, -1).filter((line) => line.startsWith("{"))
      .map((line) => JSON.parse(line));
  }

  /** Tells whether it has logged a message that contains a text. */
  logged(text: string): boolean {
    return this.log.some(({ message }) => message.includes(text));
  }

  get #started(): LogEntry | undefined {
    return this.log.find(({ url }) => url !== undefined);
  }
}
