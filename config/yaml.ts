/**
 * What YAML takes in silence and people do not mean: tabs, and numbers with leading zeros.
 *
 * @module
 */

import { parse } from "@std/yaml";

/** A number that some read as octal and some as decimal. */
export const LEADING_ZERO = /^[+-]?0\d/;

/** Finds the first line that a tab indents, which to YAML is no indentation; JSON may have them. */
export function findTabbedLine(text: string): number | null {
  if (/^\ufeff?\s*\{/.test(text)) return null;
  const line = text.split("\n").findIndex((line) => /^ *\t\s*[^\s#]/.test(line));
  return line < 0 ? null : line + 1;
}

/** Reads a YAML text with every value as it was written; `null` where types are named, which cannot be. */
export function parseAsText(text: string): unknown {
  try {
    return parse(text, { schema: "failsafe" });
  } catch {
    return null;
  }
}
