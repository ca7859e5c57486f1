/**
 * The address of a client, also behind trusted proxies.
 *
 * @module
 */

import ipaddr from "ipaddr.js";

/** The name of clients that come through a Unix socket, in the log and in the list of trusted proxies. */
export const UNIX = "unix";

/** The networks of trusted proxies. */
export class TrustedProxies {
  readonly #networks: readonly [ipaddr.IPv4 | ipaddr.IPv6, number][];
  readonly #unix: boolean;

  /** Takes networks such as `10.0.0.0/8`, which must be valid, and `unix`. */
  constructor(networks: readonly string[]) {
    this.#unix = networks.includes(UNIX);
    this.#networks = networks.filter((network) => network !== UNIX)
      .map((network) => ipaddr.parseCIDR(network));
  }

  /**
   * Finds the client's address: the peer's, or, if that is a trusted proxy, the rightmost untrusted one
   * of `X-Forwarded-For`. If a part of that header cannot be understood, the last proxy before it counts.
   *
   * @param peer The other end of the connection, for example `192.0.2.7`, `::ffff:192.0.2.7` or `unix`.
   * @param forwardedFor The header, several joined by commas; `null` if there is none.
   * @returns The address in its shortest form; IPv4 that was mapped to IPv6 is IPv4 again.
   */
  clientOf(peer: string, forwardedFor: string | null): string {
    let address = parse(peer);
    let trusted = address ? this.#trusts(address) : peer === UNIX && this.#unix;
    const hops = trusted && forwardedFor ? forwardedFor.split(",") : [];
    while (trusted && hops.length > 0) {
      const next = parse(hops.pop()!.trim());
      if (!next) break;
      address = next;
      trusted = this.#trusts(address);
    }
    return address?.toString() ?? peer;
  }

  #trusts(address: ipaddr.IPv4 | ipaddr.IPv6): boolean {
    return this.#networks.some(([network, bits]) =>
      network.kind() === address.kind() && address.match(network, bits)
    );
  }
}

/** Reads an address; some proxies add a port, `192.0.2.7:51034` or `[2001:db8::7]:51034`. */
function parse(text: string): ipaddr.IPv4 | ipaddr.IPv6 | null {
  const [, bracketed, dotted] = /^\[(.+)\](?::\d+)?$|^([\d.]+):\d+$/.exec(text) ?? [];
  const bare = bracketed ?? dotted ?? text;
  return ipaddr.isValid(bare) ? ipaddr.process(bare) : null;
}
