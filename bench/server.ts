/**
 * A server under measurement: a process of its own, on the first core; the load is on the others.
 *
 * @module
 */

import { connect } from "node:net";
import { connect as connectTls } from "node:tls";
import type { CertificateFiles } from "../testing/certificate.ts";
import { bounded, sleep } from "../testing/wait.ts";
import type { Job, Result } from "./load.ts";
import { BUN, type Peer } from "./peers.ts";

const LOAD = new URL("load.ts", import.meta.url).pathname;

/** Where `taskset` can keep server and load apart. */
export const PINNED = navigator.hardwareConcurrency > 1 &&
  (await new Deno.Command("taskset", { args: ["--version"] }).output().catch(() => null))
      ?.success ===
    true;

const onCore = (cores: string, command: string[]) =>
  PINNED ? ["taskset", "-c", cores, ...command] : command;

/** What a job leaves open: everything but the server's address. */
export type Load = Omit<Job, "url" | "serverPid" | "protocol">;

/** A running server; disposing of it ends it. */
export class Server implements AsyncDisposable {
  /** From the start of the process to the first answer to a handshake. */
  startSeconds = 0;
  readonly #peer: Peer;
  readonly #url: string;
  readonly #child: Deno.ChildProcess;

  private constructor(peer: Peer, port: number, certificate?: CertificateFiles) {
    this.#peer = peer;
    this.#url = `${certificate ? "wss" : "ws"}://127.0.0.1:${port}/`;
    const [program, ...args] = onCore("0", peer.command(port, certificate));
    this.#child = new Deno.Command(program, {
      args,
      stdin: "null",
      stdout: "null",
      stderr: "null",
      detached: true,
    }).spawn();
  }

  /** Starts a peer on a free port and waits for the first handshake that succeeds. */
  static async start(peer: Peer, certificate?: CertificateFiles): Promise<Server> {
    const probe = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const { port } = probe.addr;
    probe.close();
    const started = performance.now();
    const server = new Server(peer, port, certificate);
    const deadline = started + 20_000;
    while (!await shakesHands(server.#url, peer.protocol)) {
      if (performance.now() > deadline) {
        await server[Symbol.asyncDispose]();
        throw new Error(`${peer.name} did not start within 20 s`);
      }
      await sleep(0.002);
    }
    server.startSeconds = (performance.now() - started) / 1000;
    return server;
  }

  /** Puts a load on it and returns what was seen. */
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

  /** Puts a load on it, and lets the clients stay connected during `look`. */
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

  /** Resident memory of its process tree, in bytes. */
  memory(): number {
    return tree(this.#child.pid).reduce((sum, pid) => {
      const [, kib] = /^VmRSS:\s+(\d+)/m.exec(read(`/proc/${pid}/status`)) ?? [];
      return sum + Number(kib ?? 0) * 1024;
    }, 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const pid of tree(this.#child.pid)) kill(pid);
    await this.#child.status;
  }

  #spawnLoad(load: Load): Deno.ChildProcess {
    const job: Job = {
      ...load,
      url: this.#url,
      protocol: this.#peer.protocol,
      serverPid: this.#child.pid,
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

/** A process and all that it started. */
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
