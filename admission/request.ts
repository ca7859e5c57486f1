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

/** Reads a parameter of a query, in which a plus is a plus: tokens may have it. */
export function parameterOf(url: URL | null, name: string): string | null {
  if (!url || name === "") return null;
  return new URLSearchParams(url.search.replaceAll("+", "%2B")).get(name);
}

/** Reads a target (RFC 9112 §3.2) whatever host it names; `null` for one that is no path and no URL. */
export function urlOf(target: string): URL | null {
  const local = target.replace(/^[a-z][a-z\d+.-]*:\/\/[^/?#]*/i, "");
  if (local === target && !target.startsWith("/")) return null;
  return URL.parse(`http://relay${local.startsWith("/") ? "" : "/"}${local}`);
}

/** Reads a comma-separated header; empty items do not count (RFC 9110 §5.6.1). */
export function listOf(header: string | null): string[] {
  return (header ?? "").split(",").map((item) => item.trim()).filter(Boolean);
}

/** Tells whether a comma-separated header has an item, whatever its case. */
export function namesItem(header: string | null, item: string): boolean {
  return listOf(header).some((each) => each.toLowerCase() === item);
}
