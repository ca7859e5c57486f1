import { assert, assertEquals, assertRejects } from "@std/assert";
import { ConfigError } from "../config.ts";
import { connect } from "../testing/client.ts";
import { makeCertificate } from "../testing/certificate.ts";
import { scrape } from "../testing/scrape.ts";
import { run } from "../testing/program.ts";
import { startRelay } from "../testing/start.ts";
import { sharedTempFolder } from "../testing/temp.ts";
import { loadCertificate } from "./certificate.ts";

const { path: directory } = await sharedTempFolder();
const good = await makeCertificate(directory, "good", 30);
const other = await makeCertificate(directory, "other");
const junk = `${directory}/junk.pem`;
await Deno.writeTextFile(junk, "this is no PEM");
const missing = `${directory}/missing.pem`;

Deno.test("loadCertificate reads a certificate, its key and when it expires", async () => {
  const certificate = await loadCertificate({ enabled: true, ...good });
  assertEquals(certificate.cert, await Deno.readTextFile(good.cert_file));
  assertEquals(certificate.key, await Deno.readTextFile(good.key_file));
  const days = (certificate.expires.getTime() - Date.now()) / 86_400_000;
  assert(days > 29.9 && days <= 30, `expires in ${days} days`);
});

const encrypted = `${directory}/encrypted.key`, oldEncrypted = `${directory}/old.key`;
await openssl(`pkcs8 -topk8 -in ${good.key_file} -passout pass:x -out ${encrypted}`);
await openssl(`ec -in ${good.key_file} -aes128 -passout pass:x -out ${oldEncrypted}`);

async function openssl(command: string) {
  assertEquals((await run({ command: ["openssl", ...command.split(" ")] })).code, 0);
}

for (const transport of ["native", "ws"] as const) {
  Deno.test(`relay on ${transport} finds certificate and key anywhere in their files`, async () => {
    const traditional = `${directory}/sec1.key`;
    await openssl(`ec -in ${good.key_file} -out ${traditional}`);
    const parameters =
      "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
    const cert = await Deno.readTextFile(good.cert_file),
      key = await Deno.readTextFile(good.key_file);
    const oldKey = await Deno.readTextFile(traditional);
    const both = `${directory}/both.pem`;
    for (
      const text of [
        key + cert,
        cert + key,
        `Bag Attributes\r\n${(key + cert).replaceAll("\n", "\r\n")}`,
        `\ufeffsubject=CN\n${parameters}${oldKey.trimEnd()}\nissuer: x\n${cert.trimEnd()}`,
      ]
    ) {
      await Deno.writeTextFile(both, text);
      const tls = { enabled: true, cert_file: both, key_file: both };
      await using relay = await startRelay({ server: { transport, tls } });
      using client = Deno.createHttpClient({ caCerts: [cert] });
      await using alice = await connect(relay, { client });
      alice.send("secret");
      assertEquals(await alice.next(), "secret");
    }
  });
}

const FAULTS: [what: string, files: typeof good, problems: string[]][] = [
  ["both files missing", { cert_file: missing, key_file: missing }, [
    `server.tls.cert_file must be a PEM file that can be read, got ${missing}: no such file`,
    `server.tls.key_file must be a PEM file that can be read, got ${missing}: no such file`,
  ]],
  ["a certificate that is none", { ...good, cert_file: junk }, [
    `server.tls.cert_file must be a certificate in PEM, got a file without one: ${junk}`,
  ]],
  ["a key that is none", { ...good, key_file: junk }, [
    `server.tls.key_file must be a private key in PEM, got a file without one: ${junk}`,
  ]],
  ["both at once", { cert_file: junk, key_file: junk }, [
    `server.tls.cert_file must be a certificate in PEM, got a file without one: ${junk}`,
    `server.tls.key_file must be a private key in PEM, got a file without one: ${junk}`,
  ]],
  ["a key in place of the certificate", { ...good, cert_file: good.key_file }, [
    `server.tls.cert_file must be a certificate in PEM, got a file without one: ${good.key_file}`,
  ]],
  ["a key with a passphrase", { ...good, key_file: encrypted }, [
    `server.tls.key_file must be a private key without a passphrase, got an encrypted one: ${encrypted}`,
  ]],
  ["an older key with a passphrase", { ...good, key_file: oldEncrypted }, [
    `server.tls.key_file must be a private key without a passphrase, got an encrypted one: ${oldEncrypted}`,
  ]],
  ["a folder in place of the key", { ...good, key_file: directory }, [
    `server.tls.key_file must be a PEM file that can be read, got ${directory}: ` +
    `Is a directory (os error 21): readfile '${directory}'`,
  ]],
  ["the key of another certificate", { ...good, key_file: other.key_file }, [
    `server.tls.key_file must be the key of ${good.cert_file}, ` +
    `got the key of another certificate: ${other.key_file}`,
  ]],
];
for (const [what, files, problems] of FAULTS) {
  Deno.test(`loadCertificate names ${what}`, async () => {
    const error = await assertRejects(
      () => loadCertificate({ enabled: true, ...files }),
      ConfigError,
    );
    assertEquals(error.problems, problems);
  });
}

Deno.test("loadCertificate names a certificate that is not valid inside", async () => {
  const rubbish = `${directory}/rubbish.pem`;
  await Deno.writeTextFile(
    rubbish,
    "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
  );
  const { problems } = await assertRejects(
    () => loadCertificate({ enabled: true, ...good, cert_file: rubbish }),
    ConfigError,
  );
  assertEquals(problems, [
    "server.tls.cert_file and key_file must be a certificate and its key, " +
    `got ${rubbish} and ${good.key_file}: invalid peer certificate: BadEncoding`,
  ]);
});

Deno.test("relay serves wss and says when its certificate expires", async () => {
  await using relay = await startRelay({ server: { tls: { enabled: true, ...good } } });
  assert(relay.url.startsWith("wss://"), relay.url);
  using client = Deno.createHttpClient({ caCerts: [await Deno.readTextFile(good.cert_file)] });
  await using alice = await connect(relay, { client });
  await using bob = await connect(relay, { client });
  alice.send("secret");
  assertEquals(await bob.next(), "secret");

  const metrics = await scrape(relay);
  const { expires } = await loadCertificate({ enabled: true, ...good });
  const expiry = metrics.get("websocket_tls_certificate_expiry_timestamp_seconds");
  assertEquals(expiry, expires.getTime() / 1000);
});

Deno.test("relay on native keeps its certificate until a restart, whatever happens to its files", async () => {
  const files = await makeCertificate(directory, "replaced");
  const caCerts = [await Deno.readTextFile(files.cert_file)];
  await using relay = await startRelay({ server: { tls: { enabled: true, ...files } } });
  await Deno.writeTextFile(files.cert_file, "broken");
  await relay.reload();
  using client = Deno.createHttpClient({ caCerts });
  await using alice = await connect(relay, { client });
  alice.send("still here");
  assertEquals(await alice.next(), "still here");
});
