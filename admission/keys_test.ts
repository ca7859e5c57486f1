import { assertEquals, assertRejects } from "@std/assert";
import fc from "fast-check";
import { exportJWK } from "jose";
import { ConfigError } from "../config.ts";
import { Issuer } from "../testing/issuer.ts";
import { sharedTempFolder } from "../testing/temp.ts";
import { loadKeys } from "./keys.ts";

const { path: directory } = await sharedTempFolder();
const file = `${directory}/keys.json`;

async function load(content: unknown) {
  await Deno.writeTextFile(file, typeof content === "string" ? content : JSON.stringify(content));
  return await loadKeys(file);
}

async function problemsOf(content: unknown): Promise<string[]> {
  const { problems }: ConfigError = await assertRejects(() => load(content), ConfigError);
  const start = "server.auth_keys_file must be a file of keys (JWKS), got ";
  return problems.map((problem) => {
    assertEquals(problem.slice(0, start.length), start);
    return problem.slice(start.length).replaceAll(file, "keys");
  });
}

const ed = await Issuer.make("EdDSA", "ed"), ec = await Issuer.make("ES256", "ec");
const rsa = await Issuer.make("RS256", "rsa"), secret = await Issuer.make("HS256", "secret");

Deno.test("loadKeys takes every kind of key, each for its own algorithms", async () => {
  const keys = await load({ keys: [ed, ec, rsa, secret].map(({ jwk }) => jwk) });
  assertEquals(keys.map(({ kid, alg }) => `${kid} ${alg}`), [
    "ed EdDSA",
    "ec ES256",
    "rsa RS256",
    "rsa PS256",
    "secret HS256",
  ]);
});

Deno.test("loadKeys uses a key only for the algorithm that it names, and no key for encryption", async () => {
  const keys = await load({
    more: "is left out",
    keys: [{ ...rsa.jwk, alg: "PS256", use: "sig" }, { ...ec.jwk, alg: "ECDH-ES", use: "enc" }],
  });
  assertEquals(keys.map(({ alg }) => alg), ["PS256"]);
});

Deno.test("loadKeys says what is wrong with each key, and never repeats a key", async () => {
  const { publicKey } = await crypto.subtle.generateKey(
    {
      name: "RSASSA-PKCS1-v1_5",
      modulusLength: 1024,
      publicExponent: new Uint8Array([1, 0, 1]),
      hash: "SHA-256",
    },
    true,
    ["sign", "verify"],
  ) as CryptoKeyPair;
  const keys = [
    ed.jwk,
    ed.privateJwk,
    rsa.privateJwk,
    { kty: "oct", kid: "weak", k: "c2hvcnQ" },
    await exportJWK(publicKey),
    { ...rsa.jwk, kid: "one", e: "AQ" },
    { ...ed.jwk, kid: "broken", x: "AAAA" },
    { kty: "oct", kid: "nothing" },
    { kty: "EC", crv: "P-384", x: "AA", y: "AA" },
    { ...ec.jwk, kid: "confused", alg: "HS256" },
    { ...rsa.jwk, kid: "none", alg: "none" },
    { ...ed.jwk },
    { ...ec.jwk, kid: 7 },
    "key",
    null,
  ];
  assertEquals(await problemsOf({ keys }), [
    "a private key, where the public one is enough, as key 2 of keys",
    "a private key, where the public one is enough, as key 3 of keys",
    "a secret of less than 32 bytes as key 4 of keys",
    "an RSA key of less than 2048 bits as key 5 of keys",
    "an RSA key whose exponent is 1 as key 6 of keys",
    "one that cannot be read as key 7 of keys",
    "one that cannot be read as key 8 of keys",
    "something other than Ed25519, P-256, RSA or oct as key 9 of keys",
    "an alg other than ES256 as key 10 of keys",
    "an alg other than RS256 or PS256 as key 11 of keys",
    "one that cannot be told apart from an earlier key as key 12 of keys",
    "a kid that is not a text as key 13 of keys",
    "something other than an object as key 14 of keys",
    "something other than an object as key 15 of keys",
  ]);
});

Deno.test("loadKeys reads any text, or says in its own words what is wrong with it", async () => {
  const field = fc.oneof(
    fc.string(),
    fc.jsonValue(),
    fc.constantFrom("sig", "EdDSA", "RSA", "AQAB"),
  );
  const mutated = fc.tuple(
    fc.constantFrom(ed.jwk, ec.jwk, rsa.jwk, secret.jwk, ed.privateJwk),
    fc.constantFrom("kty", "crv", "alg", "kid", "use", "x", "y", "n", "e", "k", "key_ops", "ext"),
    field,
  ).map(([jwk, name, value]) => ({ ...jwk, [name]: value }));
  const texts = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.json(),
    fc.array(fc.oneof(mutated, fc.jsonValue()), { maxLength: 3 })
      .map((keys) => JSON.stringify({ keys })),
  );
  await fc.assert(
    fc.asyncProperty(texts, async (text) => {
      const problems = await load(text).then(() => [], (error) => {
        if (!(error instanceof ConfigError)) throw error;
        return error.problems;
      });
      for (const { jwk: { x, n, k } } of [ed, ec, rsa, secret]) {
        for (const part of [x, n, k]) if (part) assertEquals(problems.join().includes(part), false);
      }
    }),
    { numRuns: 60 },
  );
});

Deno.test("loadKeys says what is wrong with a file", async () => {
  const form = 'keys: no JSON of the form {"keys": [...]}';
  for (const text of ["", "{", "secret", "null", "[]", '{"keys": {}}', JSON.stringify(ed.jwk)]) {
    assertEquals(await problemsOf(text), [form], text);
  }
  assertEquals(await problemsOf({ keys: [] }), ["none in keys"]);
  await Deno.remove(file);
  const { problems }: ConfigError = await assertRejects(() => loadKeys(file), ConfigError);
  assertEquals(problems, [
    `server.auth_keys_file must be a file of keys (JWKS), got ${file}: no such file`,
  ]);
});
