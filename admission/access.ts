/**
 * What a client may do: by its token, or without one.
 *
 * @module
 */

import { type Config, ConfigError } from "../config.ts";
import { EVERY_ROOM } from "./rooms.ts";
import type { JudgeSigned, loadSignedTokens } from "./signed_tokens.ts";
import { loadTokens } from "./tokens.ts";

/** What is imported late. */
type SignedTokens = { loadSignedTokens: typeof loadSignedTokens };

/** What a client may do while it is connected. */
export interface Grant {
  /** Whether it may send messages. */
  readonly mayTalk: boolean;
  /** The rooms that it may join, see {@link allowsRoom}. */
  readonly rooms: readonly string[];
  /** When all of that ends, in milliseconds of Unix time; `Infinity` for never. */
  readonly expires: number;
}

/** Why a client may do nothing, in words for the log and not for the client. */
export interface Denial {
  /** What is wrong; it repeats nothing of a token. */
  readonly denied: string;
}

/** What a token, or the lack of one, comes to. */
export type Verdict = Grant | Denial;

/** Judges a token, or that there is none; a promise only where a signature has to be checked. */
export type Access = (token: string | null) => Verdict | Promise<Verdict>;

/** What somebody may do without an end and in every room. */
const TALK: Grant = { mayTalk: true, rooms: EVERY_ROOM, expires: Infinity };
const LISTEN: Grant = { ...TALK, mayTalk: false };

/** Tells whether clients need a token for all that they may do. */
export function wantsTokens({ auth_tokens_file, auth_keys_file }: Config["server"]): boolean {
  return auth_tokens_file !== "" || auth_keys_file !== "";
}

/**
 * Reads who may join, and who may talk.
 *
 * @throws {ConfigError} If the file of tokens or that of keys cannot be used.
 */
export async function loadAccess(server: Config["server"]): Promise<Access> {
  if (!wantsTokens(server)) return () => TALK;
  const { auth_tokens_file, auth_keys_file, without_token } = server;
  const [roleOf, judgeSigned] = await bothOf(
    loadTokens(auth_tokens_file),
    loadSigned(auth_keys_file),
  );
  return (token) => {
    if (token === null) return without_token === "listen" ? LISTEN : { denied: "it sent none" };
    const role = roleOf?.(token);
    if (role) return role === "talk" ? TALK : LISTEN;
    return judgeSigned?.(token) ?? { denied: "it is not in the file" };
  };
}

/** Reads the keys of signed tokens, if there are any; the library for them is loaded only then. */
async function loadSigned(file: string): Promise<JudgeSigned | null> {
  if (file === "") return null;
  // In one piece the path would tell Deno to download the library before it runs anything.
  const { loadSignedTokens }: SignedTokens = await import("./signed" + "_tokens.ts");
  return await loadSignedTokens(file);
}

/** Waits for both, so that the problems of both are told at once. */
async function bothOf<A, B>(first: Promise<A>, second: Promise<B>): Promise<[A, B]> {
  const [a, b] = await Promise.allSettled([first, second]);
  if (a.status === "fulfilled" && b.status === "fulfilled") return [a.value, b.value];
  const reasons = [a, b].flatMap((each) => each.status === "rejected" ? [each.reason] : []);
  throw reasons.find((reason) => !(reason instanceof ConfigError)) ??
    new ConfigError(reasons.flatMap(({ problems }: ConfigError) => problems));
}
