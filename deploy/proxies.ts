/**
 * The proxies of this directory, started for a test.
 *
 * @module
 */

import type { CertificateFiles } from "../testing/certificate.ts";
import { Daemon, freePort } from "../testing/daemon.ts";
import { ROOT } from "../testing/program.ts";
import type { TempFolder } from "../testing/temp.ts";
import { replaced } from "./replaced.ts";

/** What a proxy is to serve. */
export interface Site {
  /** A folder for its files. */
  readonly folder: TempFolder;
  /** The relays, each as host and port or, for nginx only, `unix:` and a path. */
  readonly relays: readonly string[];
  /** The certificate to show. Default: no TLS. */
  readonly certificate?: CertificateFiles;
}

/** A proxy with its file of this directory, in the foreground. */
type Prepare = (site: Site, port: number) => Promise<{
  command: string[];
  env: Record<string, string>;
}>;

const PREPARE: Record<string, Prepare> = {
  async nginx({ folder, relays, certificate }, port) {
    const servers = relays.map((relay) => `server ${relay} max_fails=0;`);
    const site = replaced(await Deno.readTextFile(`${ROOT}deploy/nginx.conf`), {
      "listen 443 ssl;": `listen 127.0.0.1:${port}${certificate ? " ssl" : ""};`,
      "listen [::]:443 ssl;": "",
      "ssl_certificate /etc/letsencrypt/live/relay.example.com/fullchain.pem;": certificate
        ? `ssl_certificate ${certificate.cert_file};`
        : "",
      "ssl_certificate_key /etc/letsencrypt/live/relay.example.com/privkey.pem;": certificate
        ? `ssl_certificate_key ${certificate.key_file};`
        : "",
      "server 127.0.0.1:8443 max_fails=0;": servers.join("\n"),
      "server 127.0.0.1:8444 max_fails=0;": "",
    });
    const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
      .map((name) => `${name}_temp_path ${folder.path}/${name};`).join("\n");
    const http = `events {}\nhttp {\naccess_log off;\n${temporary}\n${site}}\n`;
    const file = await folder.write("nginx.conf", http);
    const foreground = `daemon off; pid ${folder.path}/pid;`;
    return { command: ["nginx", "-e", "stderr", "-c", file, "-g", foreground], env: {} };
  },

  async caddy({ folder, relays, certificate }, port) {
    const options = ["admin off", "auto_https disable_redirects", "default_bind 127.0.0.1"];
    const head = "{$SITE:relay.example.com} {";
    const tls = certificate && `tls ${certificate.cert_file} ${certificate.key_file}`;
    const site = replaced(await Deno.readTextFile(`${ROOT}deploy/Caddyfile`), {
      [head]: tls ? `${head}\n${tls}` : head,
    });
    const file = await folder.write("Caddyfile", `{\n${options.join("\n")}\n}\n${site}`);
    const SITE = tls ? `https://localhost:${port}` : `http://:${port}`;
    return {
      command: ["caddy", "run", "--adapter", "caddyfile", "--config", file],
      env: { HOME: folder.path, SITE, RELAYS: relays.join(" ") },
    };
  },
};

/** The names of the proxies: their commands, and those of their Debian packages. */
export const PROXIES: readonly string[] = Object.keys(PREPARE);

/** A running proxy; disposing of it ends it. */
export interface Proxy extends AsyncDisposable {
  /** Where clients connect. */
  readonly url: string;
}

/** Starts a proxy on a free port of loopback. */
export async function startProxy(name: string, site: Site): Promise<Proxy> {
  const port = freePort();
  const { command, env } = await PREPARE[name](site, port);
  const daemon = await Daemon.start(command, port, env);
  return {
    url: `${site.certificate ? "wss" : "ws"}://localhost:${port}/`,
    [Symbol.asyncDispose]: () => daemon[Symbol.asyncDispose](),
  };
}
