/**
 * The file of tokens of which a client must have one.
 *
 * @module
 */

import { createHash, timingSafeEqual } from "node:crypto";
import { ConfigError } from "../config.ts";

/** What clients may be allowed to do: send messages and hear them, or only hear them. */
export const ROLES = ["talk", "listen"] as const;

/** One thing that clients may be allowed to do. */
export type Role = typeof ROLES[number];

/** Finds the role of a token; `null` if it is none of those that were read. */
export type RoleOfToken = (token: string) => Role | null;

/** What a token may consist of, so that browsers can send it as part of a subprotocol (RFC 9110 §5.6.2). */
const TOKEN = /^[A-Za-z0-9._~+-]+$/;

/** A token as it is kept. */
interface Known {
  readonly hash: Uint8Array;
  readonly role: Role;
}

/**
 * Reads a file of tokens: one a line, with its role behind it or `talk` where none stands there, empty
 * lines and what follows a `#` left out. Tokens are kept as hashes and compared in constant time; no
 * message repeats one.
 *
 * @param file The path; empty for none.
 * @returns The tokens, or `null` without a file.
 * @throws {ConfigError} If the file cannot be read, holds no token, one that browsers cannot send, one
 * with two roles, or a role that there is not.
 */
export async function loadTokens(file: string): Promise<RoleOfToken | null> {
  if (file === "") return null;
  const problems: string[] = [];
  const tokens = new Map<string, Known>();
  const wrong = (found: string) =>
    problems.push(`server.auth_tokens_file must be a file with one token per line, got ${found}`);
  try {
    const lines = (await Deno.readTextFile(file)).split("\n");
    lines.forEach((line, index) => {
      const read = readLine(line);
      if (read === null) return;
      const problem = typeof read === "string" ? read : add(tokens, read);
      if (problem) wrong(`${problem} in line ${index + 1} of ${file}`);
    });
    if (tokens.size === 0 && problems.length === 0) wrong(`none in ${file}`);
  } catch (error) {
    const missing = error instanceof Deno.errors.NotFound;
    wrong(`${file}: ${missing ? "no such file" : (error as Error).message}`);
  }
  if (problems.length > 0) throw new ConfigError(problems);
  const known = [...tokens.values()];
  return (token) => {
    const presented = hash(token);
    let found: Role | null = null;
    for (const { hash, role } of known) found = timingSafeEqual(hash, presented) ? role : found;
    return found;
  };
}

/** Reads a line; `null` if it has no token, a text that says what is wrong. */
function readLine(line: string): Known | string | null {
  const [token, word = "talk", ...rest] = line.replace(/(^|\s)#.*/, "").trim().split(/\s+/);
  if (token === "") return null;
  if (!TOKEN.test(token)) return "characters other than A-Z a-z 0-9 . _ ~ + -";
  const role = ROLES.find((role) => role === word);
  if (!role || rest.length > 0) return "something other than talk or listen after the token";
  return { hash: hash(token), role };
}

/** Adds a token, or says what is wrong with it. */
function add(tokens: Map<string, Known>, { hash, role }: Known): string | null {
  const name = hash.toString();
  if ((tokens.get(name)?.role ?? role) !== role) return "a second role for a token";
  tokens.set(name, { hash, role });
  return null;
}

function hash(token: string): Uint8Array {
  return createHash("sha256").update(token).digest();
}
