/**
 * A server under measurement. Its processes run on the first core, and the load runs on the others.
 *
 * @module
 */

import { connect } from "node:net";
import { connect as connectTls } from "node:tls";
import type { CertificateFiles } from "../testing/certificate.ts";
import { tempFolder } from "../testing/temp.ts";
import { accepts, freePort } from "../testing/daemon.ts";
import { bounded, sleep, until } from "../testing/wait.ts";
import type { Job, Result } from "./load.ts";
import { BUN, type Peer } from "./peers.ts";

const LOAD = new URL("load.ts", import.meta.url).pathname;

/** Whether `taskset` can keep server and load on different cores. */
export const PINNED = navigator.hardwareConcurrency > 1 &&
  (await new Deno.Command("taskset", { args: ["--version"] }).output().catch(() => null))
      ?.success ===
    true;

const onCore = (cores: string, command: string[]) =>
  PINNED ? ["taskset", "-c", cores, ...command] : command;

/** The parts of a job that do not depend on the server. */
export type Load = Omit<Job, "urls" | "serverPids" | "protocol">;

/** A running server with all its processes. Disposing of it ends them. */
export class Server implements AsyncDisposable {
  /** The time from the start of the last process to the first response to a handshake. */
  startSeconds = 0;
  readonly #peer: Peer;
  readonly #urls: string[] = [];
  readonly #children: Deno.ChildProcess[] = [];
  readonly #stack = new AsyncDisposableStack();

  private constructor(peer: Peer) {
    this.#peer = peer;
  }

  /** Starts a peer on free ports and waits until a handshake succeeds at each. */
  static async start(peer: Peer, certificate?: CertificateFiles): Promise<Server> {
    const server = new Server(peer);
    try {
      const engine = await server.#startEngine();
      for (let i = 0; i < (peer.processes ?? 1); i++) await server.#startOne(certificate, engine);
      return server;
    } catch (error) {
      await server[Symbol.asyncDispose]();
      throw error;
    }
  }

  async #startEngine(): Promise<number | undefined> {
    const { engine } = this.#peer;
    if (!engine) return undefined;
    const folder = this.#stack.use(await tempFolder());
    const port = freePort();
    this.#spawn(engine.command(port, folder.path));
    await until(() => accepts(port), `${engine.name} to start`);
    return port;
  }

  async #startOne(certificate?: CertificateFiles, enginePort?: number): Promise<void> {
    const port = freePort();
    const url = `${certificate ? "wss" : "ws"}://127.0.0.1:${port}/`;
    const started = performance.now();
    this.#spawn(this.#peer.command({ port, certificate, enginePort }));
    this.#urls.push(url);
    const deadline = started + 20_000;
    while (!await shakesHands(url, this.#peer.protocol)) {
      if (performance.now() > deadline) throw new Error(`it did not start within 20 s`);
      await sleep(0.002);
    }
    this.startSeconds = (performance.now() - started) / 1000;
  }

  #spawn(command: string[]): void {
    const [program, ...args] = onCore("0", command);
    const child = new Deno.Command(program, {
      args,
      stdin: "null",
      stdout: "null",
      stderr: "null",
      detached: true,
    }).spawn();
    this.#children.push(child);
    this.#stack.defer(async () => {
      for (const pid of tree(child.pid)) kill(pid);
      await child.status;
    });
  }

  /** Runs a load against it and returns the result. */
  async load(load: Load): Promise<Result> {
    const child = this.#spawnLoad(load);
    child.stdin.close();
    const ended = child.output();
    try {
      const { success, stdout, stderr } = await bounded(ended, "the load generator", 90);
      if (!success) throw new Error(new TextDecoder().decode(stderr).slice(0, 500));
      return JSON.parse(new TextDecoder().decode(stdout));
    } catch (error) {
      kill(child.pid);
      await ended;
      throw error;
    }
  }

  /** Runs a load against it, and keeps the clients connected during `look`. */
  async loadAndHold<T>(load: Load, look: () => Promise<T>): Promise<[Result, T]> {
    const child = this.#spawnLoad({ ...load, hold: true });
    const lines = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
    try {
      let text = "";
      while (!text.includes("\n")) {
        const { value, done } = await bounded(lines.read(), "the load generator", 90);
        if (done) throw new Error("the load generator failed");
        text += value;
      }
      return [JSON.parse(text), await look()];
    } finally {
      kill(child.pid);
      await lines.cancel();
      await child.stdin.close().catch(() => {});
      await child.stderr.cancel();
      await child.status;
    }
  }

  /** Returns the resident memory of its process trees, in bytes. */
  memory(): number {
    return this.#pids.flatMap(tree).reduce((sum, pid) => {
      const [, kib] = /^VmRSS:\s+(\d+)/m.exec(read(`/proc/${pid}/status`)) ?? [];
      return sum + Number(kib ?? 0) * 1024;
    }, 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }

  /** The ids of its main processes. The engine comes first. */
  get #pids(): number[] {
    return this.#children.map(({ pid }) => pid);
  }

  #spawnLoad(load: Load): Deno.ChildProcess {
    const job: Job = {
      ...load,
      urls: this.#urls,
      protocol: this.#peer.protocol,
      serverPids: this.#pids,
    };
    const others = `1-${navigator.hardwareConcurrency - 1}`;
    const [program, ...args] = onCore(others, [BUN, LOAD, JSON.stringify(job)]);
    return new Deno.Command(program, { args, stdin: "piped", stdout: "piped", stderr: "piped" })
      .spawn();
  }
}

function shakesHands(url: string, protocol: Peer["protocol"]): Promise<boolean> {
  return new Promise((resolve) => {
    const path = protocol ? "/socket.io/?EIO=4&transport=websocket" : "/";
    const { protocol: scheme, hostname: host, port } = new URL(url);
    const address = { host, port: Number(port) };
    const tls = scheme === "wss:";
    const socket = tls ? connectTls({ ...address, rejectUnauthorized: false }) : connect(address);
    socket.setTimeout(2000, () => socket.destroy());
    socket.on(tls ? "secureConnect" : "connect", () => {
      socket.write(
        `GET ${path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
          "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
      );
    });
    socket.once("data", (data) => {
      resolve(data.toString().startsWith("HTTP/1.1 101"));
      socket.destroy();
    });
    socket.on("error", () => {});
    socket.on("close", () => resolve(false));
  });
}

function read(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    return "";
  }
}

/** Returns the ids of a process and all its descendants. */
function tree(pid: number): number[] {
  const children = read(`/proc/${pid}/task/${pid}/children`).split(" ").filter(Boolean).map(Number);
  return [pid, ...children.flatMap(tree)];
}

function kill(pid: number): void {
  try {
    Deno.kill(pid, "SIGKILL");
  } catch {
    // It has ended already.
  }
}
