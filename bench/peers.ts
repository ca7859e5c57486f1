/**
 * What the benchmark compares: the relay on both transports, and what people would otherwise use.
 *
 * @module
 */

import type { CertificateFiles } from "../testing/certificate.ts";
import { ROOT } from "../testing/program.ts";

/** One server to measure. */
export interface Peer {
  /** Its name in tables and plots. */
  readonly name: string;
  /** What is spoken on top of WebSocket. */
  readonly protocol?: "socket.io";
  /** Version of what it runs on. */
  readonly version: string;
  /** Whether it can serve TLS. Default: false. */
  readonly tls?: boolean;
  /** The command that serves a port in the foreground, with TLS if there is a certificate. */
  command(port: number, certificate?: CertificateFiles): string[];
}

/** A peer that cannot be measured here. */
export interface Skipped {
  readonly name: string;
  /** What is missing. */
  readonly why: string;
}

const NODE = `${ROOT}bench/peers/node`;
const GORILLA = "/usr/share/gocode/src/github.com/gorilla/websocket";
const NCHAN = "/usr/lib/nginx/modules/ngx_nchan_module.so";

/** Where Bun is, once {@link findPeers} has run. */
export const BUN = `${NODE}/node_modules/.bin/bun`;

async function output(command: string[], options: Deno.CommandOptions = {}): Promise<string> {
  const [program, ...args] = command;
  const { success, stdout, stderr } = await new Deno.Command(program, { args, ...options })
    .output();
  const text = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
  if (!success) throw new Error(`${command.join(" ")}: ${text.trim().split("\n").at(-1)}`);
  return text.trim();
}

function exists(path: string): boolean {
  try {
    return Deno.statSync(path) !== null;
  } catch {
    return false;
  }
}

/** The relay on a transport, from this tree or from another one. */
export function relay(transport: "native" | "ws", root = ROOT): Peer {
  return {
    name: `relay, ${transport}`,
    version: `deno ${Deno.version.deno}`,
    tls: true,
    command: (port, certificate) => [
      "env",
      "RELAY_SERVER_HOSTNAME=127.0.0.1",
      `RELAY_SERVER_TRANSPORT=${transport}`,
      "RELAY_LIMITS_MAX_CONNECTIONS=19000",
      ...certificate
        ? [
          "RELAY_SERVER_TLS_ENABLED=true",
          `RELAY_SERVER_TLS_CERT_FILE=${certificate.cert_file}`,
          `RELAY_SERVER_TLS_KEY_FILE=${certificate.key_file}`,
        ]
        : [],
      ...[Deno.execPath(), "run", "-A", "--quiet", `${root}main.ts`],
      ...[`--config=${root}config.yaml`, `--port=${port}`, "--metrics-port=0"],
    ],
  };
}

/** The arguments of a program that takes a port and, for TLS, two files. */
function portAnd(port: number, certificate?: CertificateFiles): string[] {
  const files = certificate ? [certificate.cert_file, certificate.key_file] : [];
  return [`${port}`, ...files];
}

async function gorilla(directory: string): Promise<Peer> {
  if (!exists(GORILLA)) {
    throw new Error(`there is no ${GORILLA} (golang-github-gorilla-websocket-dev)`);
  }
  const version = await output(["go", "version"]);
  const program = `${directory}/gorilla`;
  await output(["go", "build", "-o", program, `${ROOT}bench/peers/gorilla/main.go`], {
    env: { GO111MODULE: "off", GOPATH: "/usr/share/gocode", GOCACHE: `${directory}/go` },
  });
  return {
    name: "Go, gorilla/websocket",
    version: version.split(" ").slice(2, 3).join(" "),
    tls: true,
    command: (...served) => [program, ...portAnd(...served)],
  };
}

async function nchan(directory: string): Promise<Peer> {
  if (!exists(NCHAN)) throw new Error(`there is no ${NCHAN} (libnginx-mod-nchan)`);
  const version = await output(["nginx", "-v"]);
  const template = await Deno.readTextFile(`${ROOT}bench/peers/nchan.conf`);
  return {
    name: "nginx, nchan",
    version: version.split("version: ").at(-1)!,
    command(port) {
      const file = `${directory}/nchan.conf`;
      Deno.writeTextFileSync(
        file,
        template.replaceAll("PORT", `${port}`).replaceAll("DIRECTORY", directory),
      );
      return ["nginx", "-c", file];
    },
  };
}

/** Installs what comes from npm, builds what has to be built, and says what is missing. */
export async function findPeers(
  directory: string,
): Promise<{ peers: Peer[]; skipped: Skipped[] }> {
  const peers: Peer[] = [relay("ws"), relay("native")];
  const skipped: Skipped[] = [];
  const add = async (name: string, find: () => Peer | Promise<Peer>) => {
    try {
      peers.push(await find());
    } catch (error) {
      skipped.push({ name, why: (error as Error).message });
    }
  };
  await output(["npm", "install", "--no-audit", "--no-fund", "--prefix", NODE]);
  await add("Bun, publish", async () => ({
    name: "Bun, publish",
    version: `bun ${await output([BUN, "--version"])}`,
    tls: true,
    command: (...served) => [BUN, `${ROOT}bench/peers/bun_publish.ts`, ...portAnd(...served)],
  }));
  await add("Go, gorilla/websocket", () => gorilla(directory));
  await add("nginx, nchan", () => nchan(directory));
  await add("Deno.serve, a loop", () => ({
    name: "Deno.serve, a loop",
    version: `deno ${Deno.version.deno}`,
    tls: true,
    command: (...served) => [
      ...[Deno.execPath(), "run", "-A", `${ROOT}bench/peers/deno_serve.ts`],
      ...portAnd(...served),
    ],
  }));
  const node = `node ${await output(["node", "--version"])}`;
  await add("Node, ws, a loop", () => ({
    name: "Node, ws, a loop",
    version: node,
    tls: true,
    command: (...served) => ["node", `${NODE}/ws.mjs`, ...portAnd(...served)],
  }));
  await add("Socket.IO", () => ({
    name: "Socket.IO",
    version: node,
    protocol: "socket.io",
    command: (port) => ["node", `${NODE}/socketio.mjs`, `${port}`],
  }));
  return { peers, skipped };
}
