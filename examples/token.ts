/**
 * Makes a signed token with a role, and a key for it when there is none yet: `keys.json` for the relay
 * (`server.auth_keys_file`), `private.json` for the program that makes tokens.
 *
 *     deno run --allow-read --allow-write examples/token.ts talk '/team/*'
 *
 * It is for the rooms that are named, or for all of them, and ends after an hour.
 *
 * @module
 */

import { exportJWK, generateKeyPair, importJWK, SignJWT } from "jose";

async function makeKey() {
  const { privateKey } = await generateKeyPair("EdDSA", { extractable: true });
  const { d, ...open } = { ...await exportJWK(privateKey), kid: crypto.randomUUID() };
  await Deno.writeTextFile("keys.json", JSON.stringify({ keys: [open] }));
  await Deno.writeTextFile("private.json", JSON.stringify({ ...open, d }), { mode: 0o600 });
  return { ...open, d };
}

const key = await Deno.readTextFile("private.json").then(JSON.parse, makeKey);
const [role = "talk", ...rooms] = Deno.args;
const token = new SignJWT({ role, rooms: rooms.length > 0 ? rooms : ["/*"] })
  .setProtectedHeader({ alg: "EdDSA", kid: key.kid })
  .setExpirationTime("1 hour");
console.log(await token.sign(await importJWK(key, "EdDSA")));
