import { assert, assertEquals } from "@std/assert";
import { Admission } from "../admission/admission.ts";
import { REJECTIONS } from "../admission/decision.ts";
import { DEFAULT_CONFIG, HELP } from "../config.ts";
import { describeWanted, KEYS } from "../config/keys.ts";
import { EVICTIONS, Hub } from "../hub.ts";
import { createMetrics } from "../metrics.ts";
import { CLOSE } from "../transport/close.ts";
import {
  anchorsOf,
  documents,
  entriesOf,
  type Entry,
  linksOf,
  tablesOf,
} from "../testing/markdown.ts";
import { ROOT } from "../testing/program.ts";

const DOCUMENTS = await documents();

/** The folders at the root that are part of the project. */
const FOLDERS = [...Deno.readDirSync(ROOT)]
  .filter(({ name, isDirectory }) => isDirectory && /^[a-z]/.test(name) && name !== "coverage")
  .map(({ name }) => `${name}/`);

/** Those of them that are no part of the program itself. */
const ASIDE = ["bench/", "deploy/", "docs/", "examples/", "testing/"];

/** The texts of the program's modules by their paths. */
const SOURCES = new Map<string, string>();
const collect = (folder: string) => {
  for (const { name, isDirectory } of Deno.readDirSync(`${ROOT}${folder}`)) {
    const path = `${folder}${name}`;
    if (isDirectory && folder !== "") collect(`${path}/`);
    if (!name.endsWith(".ts") || name.endsWith("_test.ts")) continue;
    SOURCES.set(path, Deno.readTextFileSync(`${ROOT}${path}`));
  }
};
for (const folder of ["", ...FOLDERS]) if (!ASIDE.includes(folder)) collect(folder);

/** The cells of a table row by the headings of their columns; the first one is what the row is about. */
type Row = Record<string, string>;

/** Every key of the configuration as docs/configuration.md lists it. */
function settings(): Entry[] {
  return [...KEYS].filter(([, key]) => !key.properties).map(([name, key]) => {
    const value = name.split(".").reduce<unknown>(
      (node, part) => (node as Record<string, unknown>)[part],
      DEFAULT_CONFIG,
    );
    const shown = Array.isArray(value) || value === "" ? JSON.stringify(value) : `${value}`;
    return { name, note: `${shown}; ${describeWanted(key)}`, text: key.description };
  });
}

/** Every metric that a relay may have, with TLS and in a cluster, by its name with its labels; the note is its type. */
async function metrics(): Promise<Entry[]> {
  const hub = new Hub({
    encode: () => ({ all: [], slice: () => [], payloadBytes: () => 0 }),
    maxMessageBytes: 1,
    maxBacklogBytes: 1,
  });
  const none = { in: 0, out: 0 };
  using metrics = createMetrics({
    stats: () => hub.stats(),
    rejections: () =>
      new Admission({ ...DEFAULT_CONFIG, access: () => ({ denied: "" }) }).rejections(),
    transport: "native",
    cluster: {
      name: "relay",
      stats: () => ({ connected: true, batches: none, bytes: none, gaps: 0 }),
    },
    certificateExpires: () => new Date(),
  });
  const text = await metrics.scrape();
  return [...text.matchAll(/^# TYPE (\w+) (\w+)\n\w+(\{.*\})?/gm)].map(([, name, note, labels]) => {
    const names = [...(labels ?? "").matchAll(/(\w+)="/g)].map(([, label]) => label);
    return { name: note === "histogram" || !labels ? name : `${name}{${names}}`, note, text: "" };
  });
}

/** Every line that the program logs, as the source has it; the note is its level. */
function logLines(): Entry[] {
  const lines: Entry[] = [];
  for (const [path, text] of SOURCES) {
    const calls = [...text.matchAll(/\blog\.(debug|info|warn|error)\(\s*((?:"[^"]*"[\s+]*)*)/g)];
    for (const [call, note, parts] of calls) {
      const name = [...parts.matchAll(/"([^"]*)"/g)].map(([, part]) => part).join("");
      assert(name, `${path} logs something that is not a text: ${call}`);
      lines.push({ name, note, text: "" });
    }
  }
  return lines;
}

const TASK = /^ {4}"(\w+)": \{\s+"description": "(.*)"/gm;

/** The rows of the tables that repeat the code. */
const TRUTH: Row[][] = [
  FOLDERS.map((folder) => ({ folder })),
  Object.values(CLOSE).map(({ code, reason }) => ({ "close code": `${code}`, reason })),
  EVICTIONS.map((eviction) => ({ eviction })),
  REJECTIONS.map((rejection) => ({ rejection })),
  [...HELP.matchAll(/^ {2}(--[\w-]+(?: [A-Z]+)?) {2}/gm)].map(([, flag]) => ({ flag })),
  [.../^const EXIT = \{.*\}/m.exec(SOURCES.get("main.ts")!)![0].matchAll(/\d+/g)]
    .map(([code]) => ({ "exit code": code })),
  [...(await Deno.readTextFile(`${ROOT}deno.json`)).matchAll(TASK)]
    .map(([, task, description]) => ({ task, "what it does": description })),
];

/** The tables that there must be, and those of their columns that repeat the code. */
const WANTED: Record<string, string[]> = {
  "AGENTS.md": ["task what it does", "folder"],
  "docs/configuration.md": ["flag"],
  "docs/operations.md": ["exit code", "eviction", "rejection"],
  "docs/protocol.md": ["close code reason"],
};

/** Documents that a program writes. */
const GENERATED = ["bench/RESULTS.md"];

/** The lists that repeat the code: the page, what an entry has to be told apart by, and all entries. */
const LISTS: Record<string, { note: RegExp; entries: Entry[] }[]> = {
  "docs/configuration.md": [{ note: /; /, entries: settings() }],
  "docs/operations.md": [
    { note: /^(gauge|counter|histogram)$/, entries: await metrics() },
    { note: /^(debug|info|warn|error)$/, entries: logLines() },
  ],
};

for (const [path, markdown] of DOCUMENTS) {
  Deno.test(`${path} has no table that differs from the code`, () => {
    const repeated: string[] = [];
    for (const { headings, rows } of tablesOf(markdown)) {
      const truth = TRUTH.find(([row]) => Object.keys(row)[0] === headings[0]);
      if (!truth) continue;
      const columns = headings.filter((heading) => heading in truth[0]);
      repeated.push(columns.join(" "));
      const found = rows.map((row) => columns.map((each) => row[headings.indexOf(each)]));
      const wanted = truth.map((row) => columns.map((each) => row[each]));
      assertEquals(found.toSorted(), wanted.toSorted(), `the table of ${headings[0]}s`);
    }
    assertEquals(repeated, WANTED[path] ?? []);
  });

  Deno.test(`${path} has no list that differs from the code`, () => {
    const found = entriesOf(markdown);
    for (const { note, entries } of LISTS[path] ?? []) {
      const listed = found.filter((entry) => note.test(entry.note));
      const shown = entries[0].text ? listed : listed.map((entry) => ({ ...entry, text: "" }));
      const sorted = (list: Entry[]) => list.toSorted((a, b) => a.name < b.name ? -1 : 1);
      assertEquals(sorted(shown), sorted(entries));
    }
    const known = (LISTS[path] ?? []).map(({ note }) => note);
    const strangers = found.filter((entry) => !known.some((note) => note.test(entry.note)));
    assertEquals(strangers, [], "entries that repeat nothing");
  });

  if (!GENERATED.includes(path)) {
    Deno.test(`${path} has no table that is wider than 100 columns`, () => {
      const wide = markdown.split("\n").filter((line) => line.startsWith("|") && line.length > 100);
      assertEquals(wide, []);
    });
  }

  Deno.test(`${path} has no link that leads nowhere`, () => {
    const anchors = anchorsOf(markdown);
    assertEquals(anchors.filter((each, at) => anchors.indexOf(each) !== at), [], "headings");
    for (const link of linksOf(markdown)) {
      if (/^https?:/.test(link)) continue;
      const { pathname, hash } = new URL(link, `file://${ROOT}${path}`);
      assert(Deno.statSync(decodeURIComponent(pathname)), link);
      const target = DOCUMENTS.get(pathname.slice(ROOT.length));
      if (hash) assert(target && anchorsOf(target).includes(hash.slice(1)), `${path}: ${link}`);
    }
  });
}

Deno.test("README.md is short enough to be read", () => {
  const lines = DOCUMENTS.get("README.md")!.split("\n").length;
  assert(lines < 180, `it has ${lines} lines`);
});

Deno.test("docs/SECURITY.md names a test for each threat, and only tests that exist", () => {
  const [, ...threats] = DOCUMENTS.get("docs/SECURITY.md")!.split(/^### /m);
  const untested = ["Clients that pretend to be others"];
  for (const threat of threats) {
    const [name] = threat.split("\n");
    const tests = [...threat.matchAll(/`([\w/]+_test\.ts)`/g)].map(([, file]) => file);
    assertEquals(tests.length === 0, untested.includes(name), name);
    for (const file of tests) assert(Deno.statSync(`${ROOT}${file}`).isFile, file);
  }
  assert(threats.length > 10, "the threats have gone");
});

Deno.test("deploy/README.md names each file there, and no other", () => {
  const items = DOCUMENTS.get("deploy/README.md")!.split(/^- /m).slice(1)
    .map((item) => item.split(":")[0]);
  const named = items.flatMap((item) =>
    [...item.matchAll(/\[([\w.@]+)\]|`([\w.@]+)`/g)].map(([, link, code]) => link ?? code)
  );
  const files = [...Deno.readDirSync(`${ROOT}deploy`)].map(({ name }) => name)
    .filter((name) => !name.endsWith(".ts") && name !== "README.md");
  assertEquals(named.toSorted(), files.toSorted());
});
