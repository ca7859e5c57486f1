/**
 * The keys with which signed tokens are checked.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { importJWK, type JWK } from "jose";
import { ConfigError } from "../config.ts";

/** A key, and the only algorithm for which it is used, whatever a token asks for. */
export interface Key {
  /** The name of the key, if it has one. */
  readonly kid?: string;
  /** The algorithm (RFC 7518 §3.1). */
  readonly alg: string;
  /** The key in the form that `jose` needs. */
  readonly material: CryptoKey | Uint8Array;
}

/** The algorithms for each kind of key, by `kty` and `crv`. */
const ALGORITHMS: ReadonlyMap<string, readonly string[]> = new Map([
  ["OKP Ed25519", ["EdDSA"]],
  ["EC P-256", ["ES256"]],
  ["RSA", ["RS256", "PS256"]],
  ["oct", ["HS256"]],
]);

/** The shortest secret for HS256 (RFC 7518 §3.2). */
const MIN_SECRET_BYTES = 32;

/** The shortest modulus of an RSA key (RFC 7518 §3.3). */
const MIN_MODULUS_BITS = 2048;

/**
 * Reads a file of keys (JWKS, RFC 7517 §5). Keys for encryption are left out. Every other key has to be
 * usable, so that nobody relies on a key that the relay ignores. No error message repeats a key.
 *
 * @throws {ConfigError} If the file cannot be read, holds no key, a private, weak or broken one, one of
 * another kind, or two that could not be told apart.
 */
export async function loadKeys(file: string): Promise<readonly Key[]> {
  const problems: string[] = [];
  const wrong = (found: string) =>
    problems.push(`server.auth_keys_file must be a file of keys (JWKS), got ${found}`);
  const keys: Key[] = [];
  const list = await read(file).catch((error: Error) => void wrong(`${file}: ${error.message}`));
  for (const [index, jwk] of list?.entries() ?? []) {
    const read = await readKey(jwk);
    const found = typeof read === "string" ? read : findTwin(keys, read);
    if (found) wrong(`${found} as key ${index + 1} of ${file}`);
    else keys.push(...read as Key[]);
  }
  if (keys.length === 0 && problems.length === 0) wrong(`none in ${file}`);
  if (problems.length > 0) throw new ConfigError(problems);
  return keys;
}

async function read(file: string): Promise<unknown[]> {
  const text = await Deno.readTextFile(file).catch((error) => {
    throw error instanceof Deno.errors.NotFound ? new Error("no such file") : error;
  });
  try {
    const { keys } = JSON.parse(text);
    if (Array.isArray(keys)) return keys;
  } catch {
    // The parser's own error would repeat a part of the file.
  }
  throw new Error('no JSON of the form {"keys": [...]}');
}

/** Reads a key, once for each of its algorithms, or says what is wrong with it. */
async function readKey(value: unknown): Promise<Key[] | string> {
  if (typeof value !== "object" || value === null) return "something other than an object";
  const jwk = value as JWK;
  if (jwk.use === "enc") return [];
  const { kty, crv, kid } = jwk;
  const fitting = ALGORITHMS.get([kty, crv].filter(Boolean).join(" "));
  if (!fitting) return "something other than Ed25519, P-256, RSA or oct";
  const algorithms = jwk.alg === undefined ? fitting : fitting.filter((alg) => alg === jwk.alg);
  if (algorithms.length === 0) return `an alg other than ${fitting.join(" or ")}`;
  if (kid !== undefined && typeof kid !== "string") return "a kid that is not a text";
  if (kty !== "oct" && "d" in jwk) return "a private key, where the public one is enough,";
  try {
    const keys: Key[] = [];
    for (const alg of algorithms) {
      const material = await importJWK(jwk, alg) as Key["material"];
      keys.push({ kid, alg, material });
    }
    return findWeakness(keys[0].material, jwk) ?? keys;
  } catch {
    return "one that cannot be read";
  }
}

function findWeakness(material: CryptoKey | Uint8Array, { e }: JWK): string | null {
  if (material instanceof Uint8Array) {
    const weak = material.length < MIN_SECRET_BYTES;
    return weak ? `a secret of less than ${MIN_SECRET_BYTES} bytes` : null;
  }
  const { modulusLength } = material.algorithm as Partial<RsaHashedKeyAlgorithm>;
  if (modulusLength === undefined) return null;
  if (modulusLength < MIN_MODULUS_BITS) return `an RSA key of less than ${MIN_MODULUS_BITS} bits`;
  const exponent = Buffer.from(e!, "base64url");
  return exponent.length === 1 && exponent[0] < 3 ? "an RSA key whose exponent is 1" : null;
}

/** Says that a new key cannot be told apart from an earlier one; `null` if it can. */
function findTwin(keys: readonly Key[], added: readonly Key[]): string | null {
  const twins = added.some(({ kid, alg }) =>
    keys.some((key) => key.kid === kid && key.alg === alg)
  );
  return twins ? "one that cannot be told apart from an earlier key" : null;
}
