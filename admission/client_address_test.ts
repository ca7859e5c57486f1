import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { TrustedProxies } from "./client_address.ts";

const CASES: [
  what: string,
  proxies: string[],
  peer: string,
  forwardedFor: string | null,
  client: string,
][] = [
  ["the peer where nobody is trusted", [], "192.0.2.7", "203.0.113.5", "192.0.2.7"],
  ["the peer where it is not trusted", ["10.0.0.0/8"], "192.0.2.7", "203.0.113.5", "192.0.2.7"],
  ["a trusted peer without the header", ["10.0.0.0/8"], "10.1.2.3", null, "10.1.2.3"],
  ["what a trusted proxy says", ["10.0.0.0/8"], "10.1.2.3", "203.0.113.5", "203.0.113.5"],
  [
    "the rightmost untrusted address, whatever a client put before it",
    ["10.0.0.0/8"],
    "10.1.2.3",
    "1.1.1.1, 203.0.113.5, 10.9.9.9",
    "203.0.113.5",
  ],
  [
    "the leftmost where all are trusted",
    ["10.0.0.0/8"],
    "10.1.1.1",
    "10.3.3.3,10.2.2.2",
    "10.3.3.3",
  ],
  ["IPv6 proxies and clients", ["fd00::/8"], "fd00::1", "2001:db8:0:0::7", "2001:db8::7"],
  [
    "IPv4 inside IPv6 as IPv4",
    ["10.0.0.0/8"],
    "::ffff:10.1.2.3",
    "::ffff:cb00:7105",
    "203.0.113.5",
  ],
  ["addresses with ports", ["::1/128"], "::1", "203.0.113.5:443", "203.0.113.5"],
  ["bracketed addresses with ports", ["::1/128"], "::1", "[2001:db8::7]:443", "2001:db8::7"],
  ["the proxy where the header is rubbish", ["10.0.0.0/8"], "10.1.2.3", "unknown", "10.1.2.3"],
  [
    "the last proxy before the rubbish",
    ["10.0.0.0/8"],
    "10.1.2.3",
    "1.1.1.1, <script>, 10.2.2.2",
    "10.2.2.2",
  ],
  ["one address by its network", ["192.0.2.7/32"], "192.0.2.7", "203.0.113.5", "203.0.113.5"],
  ["what a Unix socket's end says, where that is trusted", ["unix"], "unix", "x, ::1", "::1"],
  [
    "the rightmost untrusted address behind a Unix socket",
    ["unix", "10.0.0.0/8"],
    "unix",
    "1.1.1.1, 203.0.113.5, 10.9.9.9",
    "203.0.113.5",
  ],
  ["a trusted Unix socket without the header", ["unix"], "unix", null, "unix"],
  ["a trusted Unix socket where the header is rubbish", ["unix"], "unix", "1.1.1.1, x", "unix"],
  ["a Unix socket that is not trusted", ["10.0.0.0/8"], "unix", "203.0.113.5", "unix"],
  ["no Unix socket where a client claims one", ["10.0.0.0/8"], "10.1.2.3", "unix", "10.1.2.3"],
  ["what is no address, as it is", ["10.0.0.0/8"], "unknown", "203.0.113.5", "unknown"],
];

for (const [what, proxies, peer, forwardedFor, client] of CASES) {
  Deno.test(`TrustedProxies finds ${what}`, () => {
    assertEquals(new TrustedProxies(proxies).clientOf(peer, forwardedFor), client);
  });
}

Deno.test("TrustedProxies never lets a client choose its address", () => {
  const proxies = new TrustedProxies(["10.0.0.0/8", "fd00::/8"]);
  const hop = fc.oneof(fc.ipV4(), fc.ipV6(), fc.string());
  fc.assert(fc.property(fc.array(hop), (forged) => {
    // The proxy adds the address that it sees, so that comes last.
    const header = [...forged, "203.0.113.5"].join(", ");
    assertEquals(proxies.clientOf("10.0.0.1", header), "203.0.113.5");
    assertEquals(proxies.clientOf("203.0.113.5", forged.join(", ")), "203.0.113.5");
  }));
});
