/**
 * Origins as they are written in the configuration.
 *
 * @module
 */

/**
 * Finds the origin that a client sends (RFC 6454 §6.2) for a text that has more, or less, than an origin;
 * `null` if there is none. Pages that were opened from disk have the origin `null`, and in some apps
 * `file://`. Extensions and apps have schemes of their own, for which `URL` does not know an origin.
 */
export function originOf(text: string): string | null {
  if (text === "null") return text;
  if (text.includes("*")) return null;
  const full = /^[a-z][a-z\d+.-]*:\/\//i.test(text) ? text : `https://${text}`;
  const url = URL.parse(full);
  if (!url) return null;
  if (url.protocol === "file:") return "file://";
  if (url.origin !== "null") return url.origin;
  return url.host ? `${url.protocol}//${url.host}` : null;
}

/** Says how to correct the items of a list that can be corrected; empty if there are none. */
export function describeRepair(path: string, value: unknown): string {
  if (path !== "server.allowed_origins" || !Array.isArray(value)) return "";
  const repairs = value.flatMap((item) => {
    const meant = typeof item === "string" && item !== "*" ? originOf(item) : null;
    return meant === null || meant === item ? [] : [`"${meant}" instead of "${item}"`];
  });
  return repairs.length > 0 ? `; write ${repairs.join(", ")}` : "";
}
