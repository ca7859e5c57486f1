/**
 * Issuers of signed tokens, for tests.
 *
 * @module
 */

import { exportJWK, generateKeyPair, generateSecret, type JWK, SignJWT } from "jose";

/** The claims of a token. */
export type Claims = Record<string, unknown>;

/** An issuer that signs tokens with one key. */
export class Issuer {
  private constructor(
    /** The key in the relay's file: a public key, or the secret of HS256. */
    readonly jwk: JWK,
    /** The private key, which must not be in that file. */
    readonly privateJwk: JWK,
    /** Signs claims without adding any. */
    readonly sign: (claims: Claims, header: Record<string, unknown>) => Promise<string>,
  ) {}

  /** Creates an issuer with a new key. */
  static async make(alg: string, kid?: string): Promise<Issuer> {
    const name = kid === undefined ? {} : { kid };
    const pair = alg.startsWith("HS")
      ? await generateSecret(alg, { extractable: true }).then((key) => [key, key])
      : await generateKeyPair(alg, { extractable: true }).then((pair) => [
        pair.publicKey,
        pair.privateKey,
      ]);
    const [publicJwk, privateJwk] = await Promise.all(pair.map((key) => exportJWK(key)));
    return new Issuer(
      { ...publicJwk, ...name },
      { ...privateJwk, ...name },
      (claims, header) =>
        new SignJWT(claims).setProtectedHeader({ alg, ...name, ...header }).sign(pair[1]),
    );
  }

  /** Signs a token that is valid for an hour, with changes. A claim of `undefined` is omitted. */
  async token(claims: Claims = {}, header: Record<string, unknown> = {}): Promise<string> {
    const all = { exp: fromNow(3600), ...claims };
    return await this.sign(
      Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)),
      header,
    );
  }
}

/** Returns the Unix time in a number of seconds from now. */
export function fromNow(seconds: number): number {
  return Math.floor(Date.now() / 1000) + seconds;
}

/** Builds a token with an arbitrary signature. */
export function forge(header: unknown, claims: unknown, signature: Uint8Array | string): string {
  const encode = (part: unknown) =>
    new TextEncoder().encode(JSON.stringify(part)).toBase64(URL_SAFE);
  const last = typeof signature === "string" ? signature : signature.toBase64(URL_SAFE);
  return `${encode(header)}.${encode(claims)}.${last}`;
}

const URL_SAFE = { alphabet: "base64url", omitPadding: true } as const;
