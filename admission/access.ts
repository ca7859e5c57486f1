/**
 * What a client may do: by its token, or without one.
 *
 * @module
 */

import type { Config } from "../config.ts";
import { loadTokens } from "./tokens.ts";

/** What a client may do while it is connected. */
export interface Grant {
  /** Whether it may send messages. */
  readonly mayTalk: boolean;
}

/** Why a client may do nothing, in words for the log and not for the client. */
export interface Denial {
  /** What is wrong; it repeats nothing of a token. */
  readonly denied: string;
}

/** Judges a token, or that there is none. */
export type Access = (token: string | null) => Grant | Denial;

/** What everybody may do where nobody needs a token. */
const ANYTHING: Grant = { mayTalk: true };

/** What a client without a token may do where that is `listen`. */
const LISTEN: Grant = { mayTalk: false };

/**
 * Reads who may join, and who may talk.
 *
 * @throws {ConfigError} If the file of tokens cannot be used.
 */
export async function loadAccess(
  { auth_tokens_file, without_token }: Config["server"],
): Promise<Access> {
  const roleOf = await loadTokens(auth_tokens_file);
  if (!roleOf) return () => ANYTHING;
  return (token) => {
    if (token === null) return without_token === "listen" ? LISTEN : { denied: "it has no token" };
    const role = roleOf(token);
    return role ? { mayTalk: role === "talk" } : { denied: "no line of the file has its token" };
  };
}
