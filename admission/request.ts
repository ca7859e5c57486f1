/**
 * The pieces of a request to join: its target, its lists, its token.
 *
 * @module
 */

/** The prefix of a token among the subprotocols. */
export const TOKEN_PREFIX = "bearer.";

/**
 * Finds a token in `Authorization` (RFC 6750 §2.1) or among the subprotocols; `null` for none. The text
 * after `Bearer` is the token, even if it is empty: such a client has sent a token, a wrong one.
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
  return new URLSearchParams(query.replaceAll("+", "%2B")); // A plus stays a plus, because tokens may contain it.
}

/** The part of the history that a request asks for: a number of last messages, or a time in milliseconds. */
export type Replay = { readonly last: number } | { readonly milliseconds: number };

/**
 * Reads `last` and `since` from a query; `null` if it has neither.
 *
 * @throws {RangeError} If a value is not a whole number, or there is more than one; the message says which.
 */
export function replayOf(query: URLSearchParams): Replay | null {
  const asked = (["last", "since"] as const).flatMap((name) =>
    query.getAll(name).map((value) => ({ name, value }))
  );
  if (asked.length === 0) return null;
  if (asked.length > 1) {
    throw new RangeError("the query must have only one of last and since, once");
  }
  const [{ name, value }] = asked;
  if (!/^\d{1,9}$/.test(value)) {
    throw new RangeError(`${name} must be a whole number of at most nine digits`);
  }
  return name === "last" ? { last: Number(value) } : { milliseconds: Number(value) * 1000 };
}

/**
 * Finds the path of a target (RFC 9112 §3.2), whatever host it names. The path is decoded once and otherwise
 * unchanged. `null` if the target has no path, or if the path is not UTF-8 in percent-encoding.
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

/** Tells whether a path has a segment `.` or `..`, which clients and proxies resolve to another path. */
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
