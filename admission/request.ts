/**
 * The pieces of a request to join: its target, its lists, its token.
 *
 * @module
 */

/** The prefix of a token among the subprotocols. */
export const TOKEN_PREFIX = "bearer.";

/**
 * Finds a token in `Authorization` (RFC 6750 §2.1) or among the subprotocols; `null` for none. What
 * stands there behind `Bearer` is the token, be it none: who shows one is not taken for who shows nothing.
 */
export function tokenOf(
  authorization: string | null,
  subprotocols: readonly string[],
): string | null {
  const [header, bearer = ""] = /^bearer(?: +(.*))?$/i.exec(authorization ?? "") ?? [];
  if (header !== undefined) return bearer;
  const offered = subprotocols.find((name) => name.startsWith(TOKEN_PREFIX));
  return offered?.slice(TOKEN_PREFIX.length) ?? null;
}

/** Reads the query of a target. */
export function queryOf(target: string): URLSearchParams {
  const [, query = ""] = /^[^?#]*\?([^#]*)/.exec(target) ?? [];
  return new URLSearchParams(query.replaceAll("+", "%2B")); // A plus is a plus: tokens may have it.
}

/**
 * Finds the path of a target (RFC 9112 §3.2) whatever host it names, decoded once and otherwise as it
 * stands there; `null` for a target without a path, and for one that is not UTF-8 in percent-encoding.
 */
export function pathOf(target: string): string | null {
  const [, origin = "", raw] = /^([a-z][a-z\d+.-]*:\/\/[^/?#]*)?([^?#]*)/i.exec(target)!;
  const path = raw === "" && origin !== "" ? "/" : raw;
  if (!/^\/[!-~]*$/.test(path)) return null;
  try {
    return decodeURIComponent(path);
  } catch {
    return null;
  }
}

/** Tells whether a path has a segment `.` or `..`, which clients and proxies take for a way to another path. */
export function hasDots(path: string): boolean {
  return /(^|\/)\.\.?(\/|$)/.test(path);
}

/** Reads a comma-separated header; empty items do not count (RFC 9110 §5.6.1). */
export function listOf(header: string | null): string[] {
  return (header ?? "").split(",").map((item) => item.trim()).filter(Boolean);
}

/** Tells whether a comma-separated header has an item, whatever its case. */
export function namesItem(header: string | null, item: string): boolean {
  return listOf(header).some((each) => each.toLowerCase() === item);
}
