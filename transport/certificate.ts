/**
 * The certificate: how it is read, checked as the server will check it, and watched for changes.
 *
 * @module
 */

import { X509Certificate } from "node:crypto";
import { type Config, ConfigError } from "../config.ts";
import { log } from "../lib/log.ts";

/** A certificate and its key that fit each other. */
export interface Certificate {
  /** The certificate chain, PEM, the server's own certificate first. */
  readonly cert: string;
  /** The private key of the first certificate, PEM. */
  readonly key: string;
  /** When the first certificate expires. */
  readonly expires: Date;
}

/**
 * Reads the files of `server.tls`.
 *
 * @throws {ConfigError} If a file cannot be read, holds no certificate or no key, or the two do not fit.
 */
export async function loadCertificate(
  { cert_file, key_file }: Config["server"]["tls"],
): Promise<Certificate> {
  const problems: string[] = [];
  const cert = await read("server.tls.cert_file", cert_file, problems);
  const key = await read("server.tls.key_file", key_file, problems);
  if (problems.length === 0) {
    const problem = describeFault(cert, key, cert_file, key_file);
    if (problem === null) {
      return { cert, key, expires: new Date(new X509Certificate(cert).validTo) };
    }
    problems.push(problem);
  }
  throw new ConfigError(problems);
}

/** The time between checks; reading two small files costs nothing, and works on every file system. */
const CHECK_MILLISECONDS = 2000;

/** A watch over the files of a certificate. */
export interface CertificateWatcher {
  /** Checks the files now. */
  check(): Promise<void>;
  /** Stops checking, and waits for a check under way. */
  stop(): Promise<void>;
}

/**
 * Watches the files of a certificate, and calls back whenever they hold another one that can be used.
 * One that cannot is logged, once, and the one before stays.
 */
export function watchCertificate(
  tls: Config["server"]["tls"],
  current: Certificate,
  use: (certificate: Certificate) => void,
): CertificateWatcher {
  let seen = current.cert + current.key;
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

/** Reads the texts of both files, or why they cannot be read: anything that differs when they change. */
async function readContents({ cert_file, key_file }: Config["server"]["tls"]): Promise<string> {
  const texts = [cert_file, key_file].map((file) => Deno.readTextFile(file).catch(String));
  return (await Promise.all(texts)).join("");
}

async function read(path: string, file: string, problems: string[]): Promise<string> {
  try {
    return await Deno.readTextFile(file);
  } catch (error) {
    const missing = error instanceof Deno.errors.NotFound;
    const found = missing ? "no such file" : (error as Error).message;
    problems.push(`${path} must be a PEM file that can be read, got ${file}: ${found}`);
    return "";
  }
}

/** Asks the platform's TLS stack itself, with a listener that no one can reach and that is closed at once. */
function describeFault(
  cert: string,
  key: string,
  certFile: string,
  keyFile: string,
): string | null {
  try {
    Deno.listenTls({ hostname: "127.0.0.1", port: 0, cert, key }).close();
    return null;
  } catch (error) {
    const { message } = error as Error;
    if (message.includes("KeyMismatch")) {
      return `server.tls.key_file must be the key of ${certFile}, got the key of another certificate: ${keyFile}`;
    }
    if (message.startsWith("No keys found")) {
      return `server.tls.key_file must be a private key in PEM, got a file without one: ${keyFile}`;
    }
    if (message.startsWith("No certificates found")) {
      return `server.tls.cert_file must be a certificate in PEM, got a file without one: ${certFile}`;
    }
    return `server.tls.cert_file and key_file must be a certificate and its key, got ${certFile} and ${keyFile}: ${message}`;
  }
}
