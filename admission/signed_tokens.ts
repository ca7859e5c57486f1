/**
 * Signed tokens (JWT, RFC 7519). The owner of the key writes into each token what its bearer may do, and how
 * long.
 *
 * @module
 */

import { decodeProtectedHeader, errors, type JWTPayload, jwtVerify } from "jose";
import type { Denial, Verdict } from "./access.ts";
import { type Key, loadKeys } from "./keys.ts";
import { EVERY_ROOM, isRoomPattern } from "./rooms.ts";
import { ROLES } from "./tokens.ts";

/** The longest token that is checked. */
const MAX_TOKEN_BYTES = 8 * 1024;

/** Judges a signed token. It is a promise only if a signature has to be checked. */
export type JudgeSigned = (token: string) => Denial | Promise<Verdict>;

/**
 * Reads the keys, and returns the check of the tokens that were signed with them. The cheap checks come
 * first, and at most one signature is checked for each token: by the key that its `kid` names, or by the
 * only one for its algorithm.
 *
 * @throws {ConfigError} If the keys cannot be used.
 */
export async function loadSignedTokens(file: string): Promise<JudgeSigned> {
  const keys = await loadKeys(file);
  return (token) => {
    if (token.length > MAX_TOKEN_BYTES) return deny(`it has more than ${MAX_TOKEN_BYTES} bytes`);
    const key = findKey(keys, token);
    return "denied" in key ? key : verify(token, key);
  };
}

function findKey(keys: readonly Key[], token: string): Key | Denial {
  let header;
  try {
    header = decodeProtectedHeader(token);
  } catch {
    return deny("it is not a signed token, and not in the token file");
  }
  const { alg, kid } = header;
  const fitting = keys.filter((key) => key.alg === alg && (kid === undefined || key.kid === kid));
  if (fitting.length === 1) return fitting[0];
  if (fitting.length > 1) return deny("it has no kid, and several keys fit its alg");
  const known = keys.some((key) => key.alg === alg);
  return deny(known ? "no key for its alg has its kid" : "no key fits its alg");
}

async function verify(token: string, { alg, material }: Key): Promise<Verdict> {
  try {
    const options = { algorithms: [alg], requiredClaims: ["exp"] };
    const { payload } = await jwtVerify(token, material, options);
    return grant(payload);
  } catch (error) {
    return deny(describe(error));
  }
}

function grant({ exp, role: wanted = "talk", rooms = EVERY_ROOM }: JWTPayload): Verdict {
  const role = ROLES.find((role) => role === wanted);
  if (!role) return deny("its role is neither talk nor listen");
  if (!Array.isArray(rooms) || !rooms.every(isRoomPattern)) {
    return deny("its rooms are not a list of paths that begin with /");
  }
  return { mayTalk: role === "talk", rooms, expires: exp! * 1000 };
}

/** Says which check failed; what `jose` itself says might repeat what stands in the token. */
function describe(error: unknown): string {
  if (error instanceof errors.JWSSignatureVerificationFailed) return "its signature is wrong";
  if (error instanceof errors.JWTExpired) return "it has expired";
  if (error instanceof errors.JWTClaimValidationFailed) {
    if (error.reason === "missing") return `it has no ${error.claim}`;
    if (error.claim === "nbf" && error.reason === "check_failed") return "its nbf is in the future";
    return `its ${error.claim} is invalid`;
  }
  return "it is malformed";
}

function deny(denied: string): Denial {
  return { denied };
}
