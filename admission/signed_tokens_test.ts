import { assertEquals } from "@std/assert";
import { Buffer } from "node:buffer";
import { createHmac } from "node:crypto";
import { exportSPKI, importJWK } from "jose";
import fc from "fast-check";
import { forge, fromNow, Issuer } from "../testing/issuer.ts";
import { sharedTempFolder } from "../testing/temp.ts";
import { loadSignedTokens } from "./signed_tokens.ts";

const { path: directory } = await sharedTempFolder();

async function judgeWith(...issuers: Issuer[]) {
  const file = `${directory}/${crypto.randomUUID()}`;
  await Deno.writeTextFile(file, JSON.stringify({ keys: issuers.map(({ jwk }) => jwk) }));
  return await loadSignedTokens(file);
}

const ed = await Issuer.make("EdDSA", "ed"), ec = await Issuer.make("ES256", "ec");
const rsa = await Issuer.make("RS256", "rsa"), secret = await Issuer.make("HS256", "secret");
const judge = await judgeWith(ed, ec, rsa, secret);
const stranger = await Issuer.make("EdDSA", "ed");

const ALL = { mayTalk: true, rooms: ["/*"] };
const now = fromNow(0);

for (const alg of ["EdDSA", "ES256", "RS256", "PS256", "HS256"]) {
  Deno.test(`signed tokens are accepted with ${alg}`, async () => {
    const issuer = await Issuer.make(alg, "key");
    const exp = fromNow(60);
    const token = await issuer.token({ exp, role: "listen", rooms: ["/", "/team/*"] });
    const verdict = await (await judgeWith(issuer))(token);
    assertEquals(verdict, { mayTalk: false, rooms: ["/", "/team/*"], expires: exp * 1000 });
  });
}

Deno.test("signed tokens without role or rooms may talk everywhere, until they expire", async () => {
  assertEquals(await judge(await ed.token({ exp: now + 60 })), {
    ...ALL,
    expires: (now + 60) * 1000,
  });
});

Deno.test("signed tokens need no kid if one key fits their alg", async () => {
  const nameless = await Issuer.make("EdDSA");
  assertEquals("denied" in await (await judgeWith(nameless))(await nameless.token()), false);
  const token = await ec.token({}, { kid: undefined });
  assertEquals("denied" in await judge(token), false);
});

/** A token that was signed with a public key as the secret of HS256. */
async function confused(kid: string, publicKey: string | Uint8Array) {
  const unsigned = forge({ alg: "HS256", kid }, { exp: fromNow(60) }, "");
  const hmac = createHmac("sha256", publicKey).update(unsigned.slice(0, -1)).digest();
  return await Promise.resolve(forge({ alg: "HS256", kid }, { exp: fromNow(60) }, hmac));
}
const pem = async ({ jwk }: Issuer, alg: string) => {
  return await exportSPKI(await importJWK(jwk, alg) as CryptoKey);
};
const [head, , signature] = (await ed.token()).split(".");
const good = { exp: fromNow(60) };

const ATTACKS: [what: string, token: string, why: string][] = [
  ["alg none", forge({ alg: "none" }, good, ""), "no key fits its alg"],
  ["alg None", forge({ alg: "None", kid: "ed" }, good, ""), "no key fits its alg"],
  ["no alg", forge({ kid: "ed" }, good, ""), "no key fits its alg"],
  ["an empty signature", forge({ alg: "EdDSA", kid: "ed" }, good, ""), "its signature is wrong"],
  [
    "a public key in PEM as the secret",
    await confused("rsa", await pem(rsa, "RS256")),
    "no key for its alg has its kid",
  ],
  [
    "a public key in PEM as the secret, and the kid of the secret",
    await confused("secret", await pem(rsa, "RS256")),
    "its signature is wrong",
  ],
  [
    "the bytes of a public key as the secret",
    await confused("ed", Buffer.from(ed.jwk.x!, "base64url")),
    "no key for its alg has its kid",
  ],
  ["the key of a stranger", await stranger.token(), "its signature is wrong"],
  [
    "a kid that is not there",
    await ed.token({}, { kid: "es" }),
    "no key for its alg has its kid",
  ],
  [
    "the kid of another key",
    await ed.token({}, { kid: "ec" }),
    "no key for its alg has its kid",
  ],
  [
    "a kid that is a path",
    await ed.token({}, { kid: "../../dev/null" }),
    "no key for its alg has its kid",
  ],
  ["an embedded key", await stranger.token({}, { jwk: stranger.jwk }), "its signature is wrong"],
  [
    "a key by URL",
    await stranger.token({}, { jku: "http://127.0.0.1:9/keys" }),
    "its signature is wrong",
  ],
  [
    "other claims behind a signature",
    `${head}.${forge({}, good, "").split(".")[1]}.${signature}`,
    "its signature is wrong",
  ],
  ["an end in the past", await ed.token({ exp: now - 1 }), "it has expired"],
  ["an end at the beginning of time", await ed.token({ exp: 0 }), "it has expired"],
  ["no end", await ed.token({ exp: undefined }), "it has no exp"],
  [
    "an end that is no number",
    await ed.token({ exp: "2099-01-01" }),
    "its exp is invalid",
  ],
  ["an end of null", await ed.token({ exp: null }), "its exp is invalid"],
  [
    "a beginning in the far future",
    await ed.token({ nbf: now + 1e9, exp: now + 2e9 }),
    "its nbf is in the future",
  ],
  [
    "a beginning that is no number",
    await ed.token({ nbf: "now" }),
    "its nbf is invalid",
  ],
  [
    "a role that there is not",
    await ed.token({ role: "admin" }),
    "its role is neither talk nor listen",
  ],
  ["a list of roles", await ed.token({ role: ["talk"] }), "its role is neither talk nor listen"],
  [
    "rooms of one text",
    await ed.token({ rooms: "/*" }),
    "its rooms are not a list of paths that begin with /",
  ],
  [
    "a room that is no path",
    await ed.token({ rooms: ["*"] }),
    "its rooms are not a list of paths that begin with /",
  ],
  [
    "a room that is no text",
    await ed.token({ rooms: ["/", 1] }),
    "its rooms are not a list of paths that begin with /",
  ],
  [
    "an extension that has to be understood",
    await ed.token({}, { crit: ["x"], x: 1 }).catch(() => {
      return forge({ alg: "EdDSA", kid: "ed", crit: ["x"], x: 1 }, good, signature);
    }),
    "it is malformed",
  ],
  [
    "more bytes than a token may have",
    await ed.token({ pad: "x".repeat(8192) }),
    "it has more than 8192 bytes",
  ],
  ["nothing", "", "it is not a signed token, and not in the token file"],
  ["dots", "..", "it is not a signed token, and not in the token file"],
  ["five parts", "a.b.c.d.e", "it is not a signed token, and not in the token file"],
  ["two parts", `${head}.${signature}`, "it is not a signed token, and not in the token file"],
  [
    "a header that is no object",
    forge([], good, signature),
    "it is not a signed token, and not in the token file",
  ],
  [
    "claims that are no object",
    forge({ alg: "EdDSA", kid: "ed" }, [1], signature),
    "its signature is wrong",
  ],
];
for (const [what, token, why] of ATTACKS) {
  Deno.test(`signed tokens are refused for ${what}`, async () => {
    assertEquals(await judge(token), { denied: why });
  });
}

Deno.test("signed tokens are refused without a kid if several keys fit their alg", async () => {
  const twins = await judgeWith(ed, await Issuer.make("EdDSA", "other"));
  const token = await ed.token({}, { kid: undefined });
  assertEquals(await twins(token), { denied: "it has no kid, and several keys fit its alg" });
});

Deno.test("signed tokens for rooms with .. or encoded slashes are accepted, and allow no other rooms", async () => {
  const rooms = ["/team/../*", "/team%2F*", "/%2e%2e/*"];
  assertEquals(await judge(await ed.token({ rooms, exp: now + 60 })), {
    mayTalk: true,
    rooms, // What they allow is tested with allowsRoom.
    expires: (now + 60) * 1000,
  });
});

Deno.test("signed tokens of random bytes are refused without an exception", async () => {
  const valid = await ed.token();
  const base64 = fc.stringMatching(/^[\w-]{0,80}$/);
  const garbage = fc.oneof(
    fc.string({ unit: "binary", maxLength: 100 }),
    fc.tuple(base64, base64, base64).map((parts) => parts.join(".")),
    fc.tuple(fc.json(), fc.json(), base64).map(([header, claims, last]) =>
      `${Buffer.from(header).toString("base64url")}.${
        Buffer.from(claims).toString("base64url")
      }.${last}`
    ),
    fc.tuple(fc.constantFrom("EdDSA", "ES256", "RS256", "PS256", "HS256"), fc.json(), base64)
      .map(([alg, claims, last]) => forge({ alg }, JSON.parse(claims), last)),
    fc.tuple(fc.nat(valid.length - 2), fc.constantFrom(..."Aa0_.")).map(([at, letter]) =>
      valid.slice(0, at) + letter + valid.slice(at + 1)
    ).filter((token) => token !== valid),
  );
  await fc.assert(
    fc.asyncProperty(garbage, async (token) => assertEquals("denied" in await judge(token), true)),
    { numRuns: 500 },
  );
});
