/**
 * The certificate: read, checked as the server will check it, and when it expires.
 *
 * @module
 */

import { X509Certificate } from "node:crypto";
import { type Config, ConfigError } from "./config.ts";

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
    const problem = faultOf(cert, key, cert_file, key_file);
    if (problem === null) {
      return { cert, key, expires: new Date(new X509Certificate(cert).validTo) };
    }
    problems.push(problem);
  }
  throw new ConfigError(problems);
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
function faultOf(cert: string, key: string, certFile: string, keyFile: string): string | null {
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
