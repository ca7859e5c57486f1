/**
 * Makes a file of this directory fit a test.
 *
 * @module
 */

/** Replaces texts, each of which must be there exactly once outside of comments. */
export function replaced(text: string, changes: Readonly<Record<string, string>>): string {
  let changed = text.replaceAll(/^\s*#.*\n/gm, "");
  for (const [from, to] of Object.entries(changes)) {
    const count = changed.split(from).length - 1;
    if (count !== 1) throw new Error(`Cannot replace "${from}": it is there ${count} times`);
    changed = changed.replace(from, () => to);
  }
  return changed;
}
