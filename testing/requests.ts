/**
 * Join requests for property tests. Most of their parts are correct, and a few are wrong.
 *
 * @module
 */

import fc from "fast-check";
import { forge, fromNow } from "./issuer.ts";

/** A part of a request, and whether it allows an admission. */
export interface Part {
  /** The line, or a piece of one. */
  text: string;
  /** Whether it is correct. */
  good: boolean;
}

/** Chooses a good text most of the time and a bad one otherwise. An empty text omits the part. */
function part(good: string[], bad: fc.Arbitrary<string>): fc.Arbitrary<Part> {
  return fc.oneof(
    { weight: 12, arbitrary: fc.constantFrom(...good).map((text) => ({ text, good: true })) },
    {
      weight: 1,
      arbitrary: bad.filter((text) => !good.includes(text)).map((text) => ({ text, good: false })),
    },
  );
}

const word = fc.stringMatching(/^[A-Za-z0-9!#$%&'*+.^_|~-]{1,20}$/);
const visible = fc.stringMatching(/^[\x21-\x7e]{1,40}$/);

/** Tokens that the relay must refuse: a signed one with a wrong letter, and some with other faults. */
const forgeriesOf = (signed: string) =>
  fc.oneof(
    fc.tuple(fc.nat(signed.length - 2), word).map(([at, text]) => {
      return signed.slice(0, at) + text[0] + signed.slice(at + 1);
    }).filter((token) => token !== signed),
    fc.tuple(fc.constantFrom("none", "EdDSA", "HS256"), fc.constantFrom("key", undefined), word)
      .map(([alg, kid, last]) => forge({ alg, kid }, { exp: fromNow(60) }, last)),
    fc.constantFrom(
      `${signed}.`,
      `.${signed}`,
      signed.slice(0, -4),
      `${signed}${"x".repeat(9000)}`,
    ),
  );

/**
 * Returns the parts of a request to a relay with rooms. The relay accepts the tokens `secret` and
 * `secret-too`, a signed token, and pages of `https://good.example`. The signed token has to be valid for `/`
 * and `/team/*`.
 */
export function partsWith(signed: string) {
  const forged = forgeriesOf(signed);
  return {
    method: part(
      ["GET"],
      fc.oneof(word, fc.constantFrom("POST", "HEAD", "OPTIONS", "CONNECT", "get")),
    ),
    path: part(
      ["/", "/?x=1", "/team/a", "/team/b%20c?last=5", "/%74eam/%C3%A9?since=1", "/team//"],
      fc.oneof(
        visible.map((text) => `/team/../${text}`),
        visible.map((text) => `/team/%ff${text}`),
        fc.constantFrom(
          "*",
          "?",
          "/.",
          "/team/%2e%2e/x",
          "/team%2F..",
          `/${"x".repeat(200)}`,
          "/a".repeat(2000),
          "/?last=x",
          "/?last=1&since=1",
        ),
      ),
    ),
    upgrade: part(
      ["Upgrade: websocket", "upgrade: WebSocket", "Upgrade: h2c, websocket"],
      fc.constantFrom("", "Upgrade: h2c", "Upgrade:", "Upgrade: websockets"),
    ),
    connection: part(
      ["Connection: Upgrade", "CONNECTION: keep-alive, upgrade"],
      fc.constantFrom("", "Connection: close", "Connection: keep-alive"),
    ),
    version: part(
      ["Sec-WebSocket-Version: 13"],
      fc.oneof(fc.constant(""), visible.map((text) => `Sec-WebSocket-Version: ${text}`)),
    ),
    key: part(
      ["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="],
      fc.oneof(fc.constant(""), visible.map((text) => `Sec-WebSocket-Key: ${text}`)),
    ),
    origin: part(
      ["", "Origin: https://good.example"],
      fc.oneof(
        visible.map((text) => `Origin: ${text}`),
        visible.map((text) => `Origin: https://good.example${text}`),
        fc.constantFrom("Origin:", "Origin: null", "Origin: *", "Origin: http://good.example"),
      ),
    ),
    token: part(
      [
        "Authorization: Bearer secret",
        "Authorization: Bearer secret-too",
        "Sec-WebSocket-Protocol: relay, bearer.secret",
        `Authorization: Bearer ${signed}`,
        `Sec-WebSocket-Protocol: bearer.${signed}, relay`,
      ],
      fc.oneof(
        forged.map((token) => `Authorization: Bearer ${token}`),
        forged.map((token) => `Sec-WebSocket-Protocol: relay, bearer.${token}`),
        visible.map((text) => `Authorization: Bearer ${text}`),
        visible.map((text) => `Authorization: ${text}`),
        word.map((text) => `Sec-WebSocket-Protocol: relay, bearer.${text}`),
        fc.constantFrom(
          "",
          "Authorization: Bearer",
          "Authorization: Bearer secret secret",
          "Cookie: token=secret",
        ),
      ),
    ),
  };
}

/** Header lines without an effect, which the relay may refuse if they are malformed. */
export const EXTRAS = fc.array(
  fc.oneof(
    fc.tuple(word, visible).map(([name, value]) => `X-${name}: ${value}`),
    fc.string({ unit: "binary", minLength: 1, maxLength: 40 }).map((text) =>
      text.replace(/[\r\n]/g, "")
    ),
    fc.constantFrom(
      "Content-Length: -1",
      "Content-Length: 5",
      "Transfer-Encoding: chunked",
      "Expect: 100-continue",
      "Host: another",
      "X-Forwarded-For: , ,unknown",
      "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
      `Cookie: ${"x".repeat(8000)}`,
      " folded",
      ": no name",
    ),
  ),
  { maxLength: 3 },
);
