/**
 * The contents of the project's documents: their tables, lists, commands and links.
 *
 * @module
 */

import { ROOT } from "./program.ts";

/** Reads every Markdown file that people and assistants read, by its path. */
export async function documents(): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const folder of ["", "docs/", "deploy/", "bench/", ".agents/summary/"]) {
    for await (const { name } of Deno.readDir(`${ROOT}${folder}`)) {
      const path = `${folder}${name}`;
      if (name.endsWith(".md")) found.set(path, await Deno.readTextFile(`${ROOT}${path}`));
    }
  }
  return found;
}

/** A table of a document. */
export interface Table {
  /** The headings of its columns. */
  readonly headings: readonly string[];
  /** The cells without code marks. A row about several names, separated by commas, counts once for each. */
  readonly rows: readonly (readonly string[])[];
}

/** Reads the tables of a document. */
export function tablesOf(markdown: string): Table[] {
  return markdown.split("\n\n").filter((block) => block.startsWith("| ")).map((block) => {
    const lines = block.trim().split("\n").map((line) =>
      line.split("|").slice(1, -1).map((cell) => cell.trim())
    );
    const [headings, , ...rows] = lines;
    const each = rows.flatMap(([first, ...others]) =>
      first.split(/(?<=`), (?=`)/).map((one) => [one, ...others])
    );
    return { headings, rows: each.map((row) => row.map((cell) => cell.replaceAll("`", ""))) };
  });
}

/** A list item about a name, such as a configuration key. */
export interface Entry {
  /** The name that it begins with. */
  readonly name: string;
  /** The words in brackets after the name. */
  readonly note: string;
  /** The rest, in one line. */
  readonly text: string;
}

/** Reads a document's list items of the form "`name` (note): text", without the code marks. */
export function entriesOf(markdown: string): Entry[] {
  return prose(markdown).split(/\n(?=- |#)|\n\n/).flatMap((block) => {
    const item = /^- `([^`]+)` \((.*?)\): (.*)$/.exec(block.trim().replace(/\s+/g, " "));
    if (!item) return [];
    const [note, text] = item.slice(2).map((words) => words.replaceAll("`", ""));
    return [{ name: item[1], note, text }];
  });
}

/** Reads the commands of a document: the lines of its `sh` blocks, but not of `sh ignore` blocks. */
export function commandsOf(markdown: string): string[] {
  return [...markdown.matchAll(/```sh\n(.*?)```/gs)].flatMap(([, block]) =>
    block.trim().split("\n")
  );
}

/** The commands of a document. Tests take one after another until none is left. */
export class Commands {
  /** The commands that no test has taken. */
  readonly left: Set<string>;
  readonly #all: readonly string[];

  /** Reads the commands. */
  constructor(markdown: string) {
    this.#all = commandsOf(markdown);
    this.left = new Set(this.#all);
  }

  /** Takes all commands that begin with a text. */
  takeAll(start: string): string[] {
    const found = this.#all.filter((line) => line.startsWith(start));
    for (const line of found) this.left.delete(line);
    return found;
  }

  /**
   * Takes the command that equals a text, or else the only one that begins with it.
   *
   * @throws {Error} If there is not exactly one.
   */
  take(start: string): string {
    if (this.left.delete(start)) return start;
    const found = this.takeAll(start);
    if (found.length === 1) return found[0];
    throw new Error(`${found.length} commands begin with "${start}"`);
  }
}

/** Reads the targets of a document's links and images. */
export function linksOf(markdown: string): string[] {
  return [...prose(markdown).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target]) => target);
}

/** Reads the anchors that GitHub makes for a document's headings. */
export function anchorsOf(markdown: string): string[] {
  return [...prose(markdown).matchAll(/^#+ (.*)$/gm)].map(([, heading]) =>
    heading.toLowerCase().replace(/[^\p{L}\p{N}\p{M} _-]/gu, "").replaceAll(" ", "-")
  );
}

/** Removes the blocks of code from a document. */
function prose(markdown: string): string {
  return markdown.replace(/^```.*?^```/gms, "");
}
