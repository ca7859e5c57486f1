import { assert, assertEquals, assertRejects } from "@std/assert";
import { DEFAULT_CONFIG } from "../config.ts";
import type { Relay } from "../relay.ts";
import { type CertificateFiles, makeCertificate } from "../testing/certificate.ts";
import { connect } from "../testing/client.ts";
import { Daemon, freePort, has } from "../testing/daemon.ts";
import { ROOT } from "../testing/program.ts";
import { startRelay } from "../testing/start.ts";
import { tempFolder } from "../testing/temp.ts";
import { replaced } from "./replaced.ts";

/** What a proxy is to serve in a test. */
interface Site {
  /** A directory for its files. */
  directory: string;
  /** The port to listen on. */
  port: number;
  /** Host and port of the relay. */
  relay: string;
  /** The certificate to show. */
  certificate: CertificateFiles;
}

/** How to run each proxy with its file of this directory. */
const PROXIES: Record<string, (site: Site) => Promise<string[]>> = {
  async nginx({ directory, port, relay, certificate }) {
    const server = replaced(await Deno.readTextFile(`${ROOT}deploy/nginx.conf`), {
      "listen 443 ssl;": `listen 127.0.0.1:${port} ssl;`,
      "listen [::]:443 ssl;": "",
      "/etc/letsencrypt/live/relay.example.com/fullchain.pem": certificate.cert_file,
      "/etc/letsencrypt/live/relay.example.com/privkey.pem": certificate.key_file,
      "127.0.0.1:8443": relay,
    });
    const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
      .map((name) => `${name}_temp_path ${directory}/${name};`).join("\n");
    const http = `events {}\nhttp {\naccess_log off;\n${temporary}\n${server}}\n`;
    await Deno.writeTextFile(`${directory}/nginx.conf`, http);
    const foreground = `daemon off; pid ${directory}/pid;`;
    return ["nginx", "-e", "stderr", "-c", `${directory}/nginx.conf`, "-g", foreground];
  },

  async caddy({ directory, port, relay, certificate: { cert_file, key_file } }) {
    const options = ["admin off", "auto_https disable_redirects", "default_bind 127.0.0.1"];
    const site = replaced(await Deno.readTextFile(`${ROOT}deploy/Caddyfile`), {
      "relay.example.com {": `https://localhost:${port} {\ntls ${cert_file} ${key_file}`,
      "127.0.0.1:8443": relay,
    });
    await Deno.writeTextFile(`${directory}/Caddyfile`, `{\n${options.join("\n")}\n}\n${site}`);
    return ["caddy", "run", "--adapter", "caddyfile", "--config", `${directory}/Caddyfile`];
  },
};

for (const transport of ["native", "ws"] as const) {
  Deno.test(`relay on ${transport} behind nginx and a Unix socket knows its clients' addresses`, async () => {
    if (!await has("nginx", "nginx")) return;
    await using folder = await tempFolder();
    const certificate = await makeCertificate(folder.path, "proxy");
    const ca = await Deno.readTextFile(certificate.cert_file);
    const unix_socket = `${folder.path}/relay.sock`;
    await using relay = await startRelay({
      server: { transport, unix_socket, trusted_proxies: ["unix"] },
      limits: { max_connections_per_ip: 1 },
    });
    await Deno.chmod(folder.path, 0o711); // Started by root, nginx is somebody else.
    await Deno.chmod(unix_socket, 0o666);
    const port = freePort();
    const site = { directory: folder.path, port, relay: `unix:${unix_socket}:/`, certificate };
    await using _proxy = await Daemon.start(await PROXIES.nginx(site), port);
    await talkThrough(port, ca, relay);
  });
}

for (const [name, prepare] of Object.entries(PROXIES)) {
  Deno.test(`relay behind ${name} knows its clients' addresses, whatever they claim`, async () => {
    if (!await has(name, name)) return;
    await using folder = await tempFolder();
    const certificate = await makeCertificate(folder.path, "proxy");
    const ca = await Deno.readTextFile(certificate.cert_file);
    await using relay = await startRelay({
      server: { trusted_proxies: ["127.0.0.1/32"] },
      limits: { max_connections_per_ip: 1 },
    });
    const port = freePort();
    const site = { directory: folder.path, port, relay: new URL(relay.url).host, certificate };
    await using _proxy = await Daemon.start(await prepare(site), port, { HOME: folder.path });

    await talkThrough(port, ca, relay);
  });
}

/** Lets two addresses talk through a proxy, each of which may have one connection. */
async function talkThrough(port: number, ca: string, relay: Relay): Promise<void> {
  const join = async (localAddress: string, claim: string) => {
    using client = Deno.createHttpClient({ caCerts: [ca], localAddress });
    const headers = { "x-forwarded-for": claim };
    return await connect({ url: `wss://localhost:${port}/` }, { client, headers });
  };
  await using alice = await join("127.0.0.1", "192.0.2.1");
  await assertRejects(() => join("127.0.0.1", "192.0.2.2"));
  assertEquals(relay.stats().rejections.per_ip, 1);
  await using bob = await join("127.0.0.2", "192.0.2.1");
  alice.send("hello");
  assertEquals([await alice.next(), await bob.next()], ["hello", "hello"]);
  const bytes = new Uint8Array([0, 255]);
  bob.send(bytes);
  assertEquals([await alice.next(), await bob.next()], [bytes, bytes]);
}

Deno.test("nginx waits longer for a silent client than the relay does", async () => {
  const conf = await Deno.readTextFile(`${ROOT}deploy/nginx.conf`);
  const timeouts = [...conf.matchAll(/proxy_(?:read|send)_timeout (\d+)s;/g)];
  assertEquals(timeouts.length, 2);
  for (const [, seconds] of timeouts) {
    assert(Number(seconds) > DEFAULT_CONFIG.server.idle_timeout_seconds);
  }
});
