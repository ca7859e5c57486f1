import { assert, assertEquals, assertRejects } from "@std/assert";
import { DEFAULT_CONFIG } from "../config.ts";
import type { Relay } from "../relay.ts";
import { makeCertificate } from "../testing/certificate.ts";
import { type Client, closeAll, connect } from "../testing/client.ts";
import { has } from "../testing/daemon.ts";
import { ROOT } from "../testing/program.ts";
import { startRelay } from "../testing/start.ts";
import { tempFolder } from "../testing/temp.ts";
import { until } from "../testing/wait.ts";
import { PROXIES, type Proxy, startProxy } from "./proxies.ts";

const PROXY = { trusted_proxies: ["127.0.0.1/32"] };

for (const transport of ["native", "ws"] as const) {
  Deno.test(`relay on ${transport} behind nginx and a Unix socket knows its clients' addresses`, async () => {
    if (!await has("nginx", "nginx")) return;
    await using folder = await tempFolder();
    const certificate = await makeCertificate(folder.path, "proxy");
    const unix_socket = `${folder.path}/relay.sock`;
    await using relay = await startRelay({
      server: { transport, unix_socket, trusted_proxies: ["unix"] },
      limits: { max_connections_per_ip: 1 },
    });
    await Deno.chmod(folder.path, 0o711); // Started by root, nginx is somebody else.
    await Deno.chmod(unix_socket, 0o666);
    const site = { folder, relays: [`unix:${unix_socket}`], certificate };
    await using proxy = await startProxy("nginx", site);
    await talkThrough(proxy, await Deno.readTextFile(certificate.cert_file), relay);
  });
}

for (const name of PROXIES) {
  Deno.test(`relay behind ${name} knows its clients' addresses, whatever they claim`, async () => {
    if (!await has(name, name)) return;
    await using folder = await tempFolder();
    const certificate = await makeCertificate(folder.path, "proxy");
    await using relay = await startRelay({ server: PROXY, limits: { max_connections_per_ip: 1 } });
    const site = { folder, relays: [new URL(relay.url).host], certificate };
    await using proxy = await startProxy(name, site);
    await talkThrough(proxy, await Deno.readTextFile(certificate.cert_file), relay);
  });

  Deno.test(`${name} spreads clients over two relays, and avoids one that refuses or is gone`, async () => {
    if (!await has(name, name)) return;
    await using folder = await tempFolder();
    const certificate = await makeCertificate(folder.path, "proxy");
    const caCerts = [await Deno.readTextFile(certificate.cert_file)];
    await using one = await startRelay({ server: PROXY, shutdown: { delay_seconds: 2 } });
    await using two = await startRelay({ server: PROXY, limits: { max_connections_per_ip: 10 } });
    const relays = [one, two].map(({ url }) => new URL(url).host);
    await using proxy = await startProxy(name, { folder, relays, certificate });
    const clients: Client[] = [];
    const come = async (count: number) => {
      for (let i = 0; i < count; i++) {
        using client = Deno.createHttpClient({ caCerts });
        const headers = { "x-forwarded-for": `192.0.2.${clients.length}` };
        clients.push(await connect(proxy, { client, headers }));
      }
    };
    const connected = (relay: Relay) => relay.stats().connected;

    await come(4);
    assertEquals([connected(one), connected(two)], [2, 2]);

    const stopped = one.stop();
    await come(4);
    assertEquals([connected(one), connected(two)], [2, 6]);
    assert(one.stats().rejections.draining > 0, "nobody was sent to the relay that refuses");

    await stopped;
    await come(4);
    assertEquals(connected(two), 10);
    await assertRejects(() => come(1));
    assertEquals(two.stats().rejections.per_ip, 1);

    const { port } = new URL(one.url);
    await using back = await startRelay({ server: { ...PROXY, port: Number(port) } });
    await until(async () => {
      await come(1).catch(() => {}); // The other has as many of this address as it may.
      return connected(back) > 0;
    }, "a client to be sent to the relay that is back");
    await closeAll(clients);
  });
}

/** Lets two addresses talk through a proxy, each of which may have one connection. */
async function talkThrough({ url }: Proxy, ca: string, relay: Relay): Promise<void> {
  const join = async (localAddress: string, claim: string) => {
    using client = Deno.createHttpClient({ caCerts: [ca], localAddress });
    const headers = { "x-forwarded-for": claim };
    return await connect({ url }, { client, headers });
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
