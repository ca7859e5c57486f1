import { assertEquals, assertRejects } from "@std/assert";
import { findDisorder, Speaker } from "../testing/bus.ts";
import { makeCertificate } from "../testing/certificate.ts";
import { Daemon, freePort, has } from "../testing/daemon.ts";
import { ROOT } from "../testing/program.ts";
import { tempFolder } from "../testing/temp.ts";
import { bounded } from "../testing/wait.ts";
import { replaced } from "./replaced.ts";

/** More than NATS sends before it waits to hear that it may go on. */
const MANY_BYTES = 64 * 1024 * 1024;

Deno.test("nats.conf lets relays do their work and nothing else", async () => {
  if (!await has("nats-server", "nats-server")) return;
  await using folder = await tempFolder();
  const { cert_file, key_file } = await makeCertificate(folder.path, "nats");
  const port = freePort();
  const conf = replaced(await Deno.readTextFile(`${ROOT}deploy/nats.conf`), {
    "10.0.0.5:4222": `127.0.0.1:${port}`,
    "127.0.0.1:8222": "127.0.0.1:-1",
    "/var/lib/nats": `${folder.path}/store`,
    "/etc/nats/cert.pem": cert_file,
    "/etc/nats/key.pem": key_file,
  });
  const command = ["nats-server", "-c", await folder.write("nats.conf", conf)];
  await using nats = await Daemon.start(command, port, { NATS_PASSWORD: "secret" });

  const server = (password: string) => ({
    servers: [`tls://relay:${password}@localhost:${port}`],
    tls_ca_file: cert_file,
    patience_seconds: 5,
  });
  await using alice = await Speaker.start("alice", server("secret"));
  await using bob = await Speaker.start("bob", server("secret"));
  const text = "x".repeat(1000 * 1000);
  for (let sent = 0; sent < MANY_BYTES; sent += text.length) {
    await bounded(alice.say(`${sent} ${text}`), "alice to hear herself");
  }
  const last = await bounded(bob.say(), "bob to hear himself");
  for (const each of [alice, bob]) await each.hears(last);
  assertEquals(bob.heard.length, alice.heard.length);
  assertEquals(findDisorder([alice.heard, bob.heard]), null);
  assertEquals(nats.stderr.match(/.*Violation.*/g), null);

  await assertRejects(() => Speaker.start("cathy", server("guess")), Error, "does not accept");
  const other = { ...server("secret"), name: "other" };
  await assertRejects(() => Speaker.start("dave", other), Error, "its user may not");
});
