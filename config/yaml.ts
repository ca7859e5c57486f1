/**
 * Mistakes that YAML accepts silently: tabs, and numbers with leading zeros.
 *
 * @module
 */

import { parse } from "@std/yaml";

/** A number that some programs read as octal and others as decimal. */
export const LEADING_ZERO = /^[+-]?0\d/;

/** Finds the first line that is indented with a tab, which YAML does not allow; JSON does. */
export function findTabbedLine(text: string): number | null {
  if (/^\ufeff?\s*\{/.test(text)) return null;
  const line = text.split("\n").findIndex((line) => /^ *\t\s*[^\s#]/.test(line));
  return line < 0 ? null : line + 1;
}

/** Reads a YAML text with every value as it was written; `null` if it names types, which is not supported. */
export function parseAsText(text: string): unknown {
  try {
    return parse(text, { schema: "failsafe" });
  } catch {
    return null;
  }
}
