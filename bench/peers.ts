/**
 * The servers that the benchmark compares: the relay on both transports, and alternatives.
 *
 * @module
 */

import type { CertificateFiles } from "../testing/certificate.ts";
import { ROOT } from "../testing/program.ts";

/** The engine that connects servers so that they act as one. */
export interface Engine {
  /** Its name in tables. */
  readonly name: string;
  /** Returns the command that serves a port in the foreground, with a folder for its data. */
  command(port: number, directory: string): string[];
}

/** The port of a server, and its files. */
export interface Place {
  /** Its port on loopback. */
  readonly port: number;
  /** The certificate and key for TLS. Default: no TLS. */
  readonly certificate?: CertificateFiles;
  /** The port of its engine, if it has one. */
  readonly enginePort?: number;
}

/** A server to measure, or several that act as one. */
export interface Peer {
  /** Its name in tables and plots. */
  readonly name: string;
  /** The protocol on top of WebSocket. Default: none. */
  readonly protocol?: "socket.io";
  /** The version of its runtime. */
  readonly version: string;
  /** Whether it can serve TLS. Default: false. */
  readonly tls?: boolean;
  /** The number of processes, each with a port of its own. Default: 1. */
  readonly processes?: number;
  /** The engine that makes them act as one. Default: none. */
  readonly engine?: Engine;
  /** Returns the command that serves in the foreground. */
  command(place: Place): string[];
}

/** A peer that cannot be measured here. */
export interface Skipped {
  readonly name: string;
  /** The missing requirement. */
  readonly why: string;
}

const NODE = `${ROOT}bench/peers/node`;
const GORILLA = "/usr/share/gocode/src/github.com/gorilla/websocket";
const NCHAN = "/usr/lib/nginx/modules/ngx_nchan_module.so";

const NATS: Engine = {
  name: "NATS",
  command: (port, directory) => [
    ...["nats-server", "--addr", "127.0.0.1", "--port", `${port}`],
    ...["--jetstream", "--store_dir", directory],
  ],
};

const REDIS: Engine = {
  name: "Redis",
  command: (port, directory) => [
    ...["redis-server", "--bind", "127.0.0.1", "--port", `${port}`, "--dir", directory],
    ...["--save", "", "--appendonly", "no"],
  ],
};

/** The path of Bun after {@link installPackages} has run. */
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

/** The peer that several relays are compared with. */
export const SOCKET_IO_WITH_REDIS = "2 Socket.IO with Redis";

export const NCHAN_WITH_REDIS = "2 nginx, nchan with Redis";

/** Returns the relay on a transport, from this tree or from another one. */
export function relay(transport: "native" | "ws", root = ROOT): Peer {
  return {
    name: `relay, ${transport}`,
    version: `deno ${Deno.version.deno}`,
    tls: true,
    command: ({ port, certificate }) => [
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

/** Returns several relays that share a NATS server with default settings, so the stream is on disk. */
export function cluster(processes: number, version: string, root = ROOT): Peer {
  const alone = relay("ws", root);
  return {
    name: processes === 1 ? "one relay with NATS" : `${processes} relays with NATS`,
    version: `${alone.version}, ${version}`,
    processes,
    engine: NATS,
    command: (place) => [
      ...["env", `RELAY_CLUSTER_SERVERS=nats://127.0.0.1:${place.enginePort}`],
      ...alone.command(place),
    ],
  };
}

/** Returns the arguments of a program that takes a port and, for TLS, two files. */
function portAnd({ port, certificate }: Place): string[] {
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
    command: (place) => [program, ...portAnd(place)],
  };
}

async function nchan(directory: string): Promise<Peer> {
  if (!exists(NCHAN)) throw new Error(`there is no ${NCHAN} (libnginx-mod-nchan)`);
  const version = await output(["nginx", "-v"]);
  const template = await Deno.readTextFile(`${ROOT}bench/peers/nchan.conf`);
  return {
    name: "nginx, nchan",
    version: version.split("version: ").at(-1)!,
    command({ port, enginePort }) {
      const own = Deno.makeTempDirSync({ dir: directory });
      const [upstream, pass] = enginePort === undefined ? ["", ""] : [
        `upstream redis { nchan_redis_server redis://127.0.0.1:${enginePort}; }`,
        "nchan_redis_pass redis;",
      ];
      const text = template.replaceAll("DIRECTORY", own).replaceAll("PORT", `${port}`)
        .replaceAll("UPSTREAM", upstream).replaceAll("PASS", pass);
      Deno.writeTextFileSync(`${own}/nchan.conf`, text);
      return ["nginx", "-c", `${own}/nchan.conf`];
    },
  };
}

/** Installs the packages from npm, which the load generator needs, too. */
export async function installPackages(): Promise<void> {
  await output(["npm", "install", "--no-audit", "--no-fund", "--prefix", NODE]);
}

/** Finds the peers of the cluster benchmark, and lists those that cannot be measured. */
export async function findClusterPeers(
  directory: string,
): Promise<{ peers: Peer[]; skipped: Skipped[] }> {
  const peers: Peer[] = [{ ...relay("ws"), name: "one relay alone" }];
  const skipped: Skipped[] = [];
  await installPackages();
  try {
    const nats = await output(["nats-server", "--version"]);
    peers.push(cluster(1, nats), cluster(2, nats), cluster(3, nats));
  } catch {
    skipped.push({ name: "relays with NATS", why: "nats-server is not installed" });
  }
  const nginx = await nchan(directory).catch(({ message }: Error) => message);
  try {
    const redis = / v=(\S+)/.exec(await output(["redis-server", "--version"]))![1];
    if (typeof nginx === "string") skipped.push({ name: NCHAN_WITH_REDIS, why: nginx });
    else {
      const version = `${nginx.version}, redis ${redis}`;
      peers.push({ ...nginx, name: NCHAN_WITH_REDIS, version, processes: 2, engine: REDIS });
    }
    peers.push({
      name: SOCKET_IO_WITH_REDIS,
      protocol: "socket.io",
      version: `node ${await output(["node", "--version"])}, redis ${redis}`,
      processes: 2,
      engine: REDIS,
      command: ({ port, enginePort }) => [
        ...["node", `${NODE}/socketio.mjs`, `${port}`, `${enginePort}`],
      ],
    });
  } catch {
    const why = "redis-server is not installed";
    skipped.push({ name: NCHAN_WITH_REDIS, why }, { name: SOCKET_IO_WITH_REDIS, why });
  }
  return { peers, skipped };
}

/** Installs packages from npm, builds programs, and lists the peers that cannot be measured. */
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
  await installPackages();
  await add("Bun, publish", async () => ({
    name: "Bun, publish",
    version: `bun ${await output([BUN, "--version"])}`,
    tls: true,
    command: (place) => [BUN, `${ROOT}bench/peers/bun_publish.ts`, ...portAnd(place)],
  }));
  await add("Go, gorilla/websocket", () => gorilla(directory));
  await add("nginx, nchan", () => nchan(directory));
  await add("Deno.serve, a loop", () => ({
    name: "Deno.serve, a loop",
    version: `deno ${Deno.version.deno}`,
    tls: true,
    command: (place) => [
      ...[Deno.execPath(), "run", "-A", `${ROOT}bench/peers/deno_serve.ts`],
      ...portAnd(place),
    ],
  }));
  const node = `node ${await output(["node", "--version"])}`;
  await add("Node, ws, a loop", () => ({
    name: "Node, ws, a loop",
    version: node,
    tls: true,
    command: (place) => ["node", `${NODE}/ws.mjs`, ...portAnd(place)],
  }));
  await add("Socket.IO", () => ({
    name: "Socket.IO",
    version: node,
    protocol: "socket.io",
    command: ({ port }) => ["node", `${NODE}/socketio.mjs`, `${port}`],
  }));
  return { peers, skipped };
}
