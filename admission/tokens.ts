/**
 * The tokens of which a client must have one.
 *
 * @module
 */

import { createHash, timingSafeEqual } from "node:crypto";
import { ConfigError } from "../config.ts";

/** Tells whether a client's token is one of those that were read. */
export type AcceptsToken = (token: string) => boolean;

/** What a token may consist of, so that browsers can send it as part of a subprotocol (RFC 9110 §5.6.2). */
const TOKEN = /^[A-Za-z0-9._~+-]+$/;

/**
 * Reads a file of tokens: one a line, empty lines and what follows a `#` left out. Tokens are kept as
 * hashes and compared in constant time; no message repeats one.
 *
 * @param file The path; empty for none.
 * @returns The check, or `null` without a file: anyone may connect.
 * @throws {ConfigError} If the file cannot be read, holds no token, or one that browsers cannot send.
 */
export async function loadTokens(file: string): Promise<AcceptsToken | null> {
  if (file === "") return null;
  const problems: string[] = [];
  const hashes: Uint8Array[] = [];
  const wrong = (found: string) =>
    problems.push(`server.auth_tokens_file must be a file with one token a line, got ${found}`);
  try {
    const lines = (await Deno.readTextFile(file)).split("\n");
    lines.forEach((line, index) => {
      const token = line.replace(/(^|\s)#.*/, "").trim();
      if (TOKEN.test(token)) hashes.push(hash(token));
      else if (token) {
        wrong(`characters other than A-Z a-z 0-9 . _ ~ + - in line ${index + 1} of ${file}`);
      }
    });
    if (hashes.length === 0 && problems.length === 0) wrong(`none in ${file}`);
  } catch (error) {
    const missing = error instanceof Deno.errors.NotFound;
    wrong(`${file}: ${missing ? "no such file" : (error as Error).message}`);
  }
  if (problems.length > 0) throw new ConfigError(problems);
  return (token) => {
    const presented = hash(token);
    let accepted = false;
    for (const known of hashes) accepted = timingSafeEqual(known, presented) || accepted;
    return accepted;
  };
}

function hash(token: string): Uint8Array {
  return createHash("sha256").update(token).digest();
}
