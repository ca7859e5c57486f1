/**
 * The warnings at the start of a relay, about settings that work, but perhaps not as expected.
 *
 * @module
 */

import type { Config } from "../config.ts";
import { descriptorLimit } from "../lib/descriptors.ts";
import { log } from "../lib/log.ts";
import type { Certificate } from "./certificate.ts";

/** Warns if descriptors run out before the relay is full, because then clients are refused without an answer. */
export function warnOfFewDescriptors(maxConnections: number, spare: number): void {
  const limit = descriptorLimit();
  if (limit === null || maxConnections + spare <= limit) return;
  log.warn(
    "limits.max_connections is {maxConnections}, but this process may open only {limit} files; " +
      "raise the limit (ulimit -n) or lower the setting",
    { maxConnections, limit },
  );
}

/** Warns of a certificate that has expired, but is served anyway. */
export function warnOfExpiry(certificate: Certificate | null, file: string): void {
  if (!certificate || certificate.expires.getTime() >= Date.now()) return;
  const expires = certificate.expires.toISOString();
  log.warn("The certificate of server.tls.cert_file, {file}, expired on {expires}", {
    file,
    expires,
  });
}

/** Warns of `native` on a public address: strangers can take every descriptor, and stuck clients stay. */
export function warnOfStrangers({ transport, hostname, unix_socket }: Config["server"]): void {
  if (transport !== "native" || unix_socket || /^(localhost|127\..*|\[?::1\]?)$/i.test(hostname)) {
    return;
  }
  log.warn(
    "server.transport native is meant for trusted networks, or for use behind a proxy; " +
      "set it to ws if strangers can reach the port",
  );
}
