/**
 * Conditions between the keys of the cluster.
 *
 * @module
 */

import type { Config } from "./schema.ts";

/** Finds keys that do not fit together. The client of NATS has one user, and uses TLS for all servers or none. */
export function findClusterProblems(
  { servers, tls_ca_file }: Config["cluster"],
): [path: string, want: string][] {
  const urls = servers.map((server) => new URL(server));
  const differ = (part: (url: URL) => string) => new Set(urls.map(part)).size > 1;
  const problems: [path: string, want: string][] = [];
  if (differ(({ protocol }) => protocol)) {
    problems.push(["cluster.servers", "all nats:// or all tls://"]);
  }
  if (differ(({ username, password }) => `${username}:${password}`)) {
    problems.push(["cluster.servers", "URLs that all have the same user and password"]);
  }
  if (tls_ca_file !== "" && urls.every(({ protocol }) => protocol !== "tls:")) {
    const want = "empty where cluster.servers do not begin with tls://";
    problems.push(["cluster.tls_ca_file", want]);
  }
  return problems;
}

/** Replaces users and passwords in URLs, also in wrong ones. */
export function hidePasswords(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(hidePasswords);
  return typeof value === "string" ? value.replace(/(?<=:\/\/).*@/s, "…@") : value;
}
