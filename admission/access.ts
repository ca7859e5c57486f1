/**
 * What a client may do with its token, or without one.
 *
 * @module
 */

import { type Config, ConfigError } from "../config.ts";
import { EVERY_ROOM } from "./rooms.ts";
import type { JudgeSigned, loadSignedTokens } from "./signed_tokens.ts";
import { loadTokens } from "./tokens.ts";

/** The parts of the module that are imported only when they are needed. */
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
  /** What is wrong. It never repeats a part of a token. */
  readonly denied: string;
}

/** The result of judging a token, or the lack of one. */
export type Verdict = Grant | Denial;

/** Judges a token, or the lack of one. It is a promise only if a signature has to be checked. */
export type Access = (token: string | null) => Verdict | Promise<Verdict>;

/** A grant without an end, for every room. */
const TALK: Grant = { mayTalk: true, rooms: EVERY_ROOM, expires: Infinity };
const LISTEN: Grant = { ...TALK, mayTalk: false };

/** Tells whether clients need a token to do everything. */
export function wantsTokens({ auth_tokens_file, auth_keys_file }: Config["server"]): boolean {
  return auth_tokens_file !== "" || auth_keys_file !== "";
}

/**
 * Reads the files that say which clients may join, and which of them may talk.
 *
 * @throws {ConfigError} If the file of tokens or the file of keys cannot be used.
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

/** Reads the keys of signed tokens, if there are any. Only then is their library loaded. */
async function loadSigned(file: string): Promise<JudgeSigned | null> {
  if (file === "") return null;
  // Deno downloads what it finds in a whole path before it runs anything, so this path has two parts.
  const { loadSignedTokens }: SignedTokens = await import("./signed" + "_tokens.ts");
  return await loadSignedTokens(file);
}

/** Waits for both, so that the problems of both are reported at once. */
async function bothOf<A, B>(first: Promise<A>, second: Promise<B>): Promise<[A, B]> {
  const [a, b] = await Promise.allSettled([first, second]);
  if (a.status === "fulfilled" && b.status === "fulfilled") return [a.value, b.value];
  const reasons = [a, b].flatMap((each) => each.status === "rejected" ? [each.reason] : []);
  throw reasons.find((reason) => !(reason instanceof ConfigError)) ??
    new ConfigError(reasons.flatMap(({ problems }: ConfigError) => problems));
}
