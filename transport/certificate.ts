/**
 * The certificate: reads it, checks it like the server does, and watches it for changes.
 *
 * @module
 */

import { X509Certificate } from "node:crypto";
import { createSecureContext } from "node:tls";
import { type Config, ConfigError } from "../config.ts";
import { log } from "../lib/log.ts";

/** A certificate and its key. */
export interface Certificate {
  /** The certificate chain, PEM, the server's own certificate first. */
  readonly cert: string;
  /** The private key of the first certificate, PEM. */
  readonly key: string;
  /** When the first certificate expires. */
  readonly expires: Date;
  /** The contents of both files, to notice changes. */
  readonly contents: string;
}

/**
 * Reads the files of `server.tls`. Certificate and key may be anywhere in them, also in the same file, in any
 * order and with other text.
 *
 * @throws {ConfigError} If a file cannot be read, holds no certificate or no key, or the two do not fit.
 */
export async function loadCertificate(tls: Config["server"]["tls"]): Promise<Certificate> {
  const { cert_file, key_file } = tls;
  const problems: string[] = [];
  const certText = await read("server.tls.cert_file", cert_file, problems);
  const keyText = await read("server.tls.key_file", key_file, problems);
  const cert = certText === null ? "" : takeChain(certText, cert_file, problems);
  const key = keyText === null ? "" : takeKey(keyText, key_file, problems);
  if (problems.length === 0) {
    const problem = describeFault(cert, key, tls);
    if (problem === null) {
      const expires = new Date(new X509Certificate(cert).validTo);
      return { cert, key, expires, contents: `${certText}${keyText}` };
    }
    problems.push(problem);
  }
  throw new ConfigError(problems);
}

/** The time between checks. Reading two small files costs nothing, and works on every file system. */
const CHECK_MILLISECONDS = 2000;

/** A watch over the files of a certificate. */
export interface CertificateWatcher {
  /** Checks the files now. */
  check(): Promise<void>;
  /** Stops checking, and waits for a check that has begun. */
  stop(): Promise<void>;
}

/**
 * Watches the files of a certificate, and calls back when they hold another one that can be used. One that
 * cannot be used is logged once, and the previous one stays.
 */
export function watchCertificate(
  tls: Config["server"]["tls"],
  current: Certificate,
  use: (certificate: Certificate) => void,
): CertificateWatcher {
  let seen = current.contents;
  let checking: Promise<void> = Promise.resolve();

  async function check(): Promise<void> {
    const found = await readContents(tls);
    if (found === seen) return;
    seen = found;
    try {
      const next = await loadCertificate(tls);
      use(next);
      log.info("Certificate replaced, expires {expires}", { expires: next.expires.toISOString() });
    } catch (error) {
      const reason = error instanceof ConfigError ? error.problems.join("; ") : String(error);
      log.error("Certificate not replaced: {reason}", { reason });
    }
  }
  const timer = setInterval(() => void again(), CHECK_MILLISECONDS);
  const again = () => checking = checking.then(check);
  return {
    check: again,
    async stop() {
      clearInterval(timer);
      await checking;
    },
  };
}

/** Reads the contents of both files, or why they cannot be read; the result differs when they change. */
async function readContents({ cert_file, key_file }: Config["server"]["tls"]): Promise<string> {
  const texts = [cert_file, key_file].map((file) => Deno.readTextFile(file).catch(String));
  return (await Promise.all(texts)).join("");
}

async function read(path: string, file: string, problems: string[]): Promise<string | null> {
  try {
    return await Deno.readTextFile(file);
  } catch (error) {
    const missing = error instanceof Deno.errors.NotFound;
    const found = missing ? "no such file" : (error as Error).message;
    problems.push(`${path} must be a PEM file that can be read, got ${file}: ${found}`);
    return null;
  }
}

/** One block of a PEM file (RFC 7468), anywhere in the file. */
interface Block {
  /** The kind of its contents, for example `CERTIFICATE`. */
  readonly label: string;
  /** The block with its first and last line. */
  readonly text: string;
}

function blocksOf(text: string): Block[] {
  const blocks = text.matchAll(/-----BEGIN ([A-Z\d ]+)-----.*?-----END \1-----/gs);
  return [...blocks].map(([text, label]) => ({ label, text: `${text}\n` }));
}

/** Takes the certificates out of a PEM file; empty, with a problem, if there are none. */
function takeChain(text: string, file: string, problems: string[]): string {
  const chain = blocksOf(text).filter(({ label }) => label === "CERTIFICATE");
  if (chain.length === 0) {
    problems.push(
      `server.tls.cert_file must be a certificate in PEM, got a file without one: ${file}`,
    );
  }
  return chain.map(({ text }) => text).join("");
}

/** Takes the first private key out of a PEM file; empty, with a problem, if none can be used. */
function takeKey(text: string, file: string, problems: string[]): string {
  const keys = blocksOf(text).filter(({ label }) => label.endsWith("PRIVATE KEY"));
  const open = keys.find((key) => !/ENCRYPTED/.test(key.label + key.text));
  if (!open) {
    problems.push(
      keys.length > 0
        ? `server.tls.key_file must be a private key without a passphrase, got an encrypted one: ${file}`
        : `server.tls.key_file must be a private key in PEM, got a file without one: ${file}`,
    );
  }
  return open?.text ?? "";
}

/**
 * Asks the platform's own TLS stacks. The one of `native` is asked with a listener that is closed at once and
 * that nobody can reach.
 */
function describeFault(
  cert: string,
  key: string,
  { cert_file, key_file }: Config["server"]["tls"],
): string | null {
  try {
    Deno.listenTls({ hostname: "127.0.0.1", port: 0, cert, key }).close();
    createSecureContext({ cert, key });
    new X509Certificate(cert);
    return null;
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) throw error;
    const { message } = error as Error;
    if (/KeyMismatch|key values mismatch/.test(message)) {
      return `server.tls.key_file must be the key of ${cert_file}, got the key of another certificate: ${key_file}`;
    }
    return `server.tls.cert_file and key_file must be a certificate and its key, got ${cert_file} and ${key_file}: ${message}`;
  }
}
