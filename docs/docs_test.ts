import { assert, assertEquals } from "@std/assert";
import { Admission } from "../admission/admission.ts";
import { REJECTIONS } from "../admission/handshake.ts";
import { DEFAULT_CONFIG, HELP } from "../config.ts";
import { describeWanted, KEYS } from "../config/schema.ts";
import { EVICTIONS, Hub } from "../hub.ts";
import { createMetrics } from "../metrics.ts";
import { CLOSE } from "../transport/close.ts";
import { anchorsOf, documents, linksOf, tablesOf } from "../testing/markdown.ts";
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

/** What a row says, by the headings of the columns; the first is what it is about. */
type Row = Record<string, string>;

function settings(): Row[] {
  return [...KEYS].filter(([, key]) => !key.properties).map(([path, key]) => {
    const value = path.split(".").reduce<unknown>(
      (node, name) => (node as Record<string, unknown>)[name],
      DEFAULT_CONFIG,
    );
    const shown = Array.isArray(value) || value === "" ? JSON.stringify(value) : `${value}`;
    return { key: path, default: shown, wanted: describeWanted(key) };
  });
}

/** Every metric that a relay may have, with TLS and in a cluster: its name with its labels, and its type. */
async function metrics(): Promise<Row[]> {
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
  return [...text.matchAll(/^# TYPE (\w+) (\w+)\n\w+(\{.*\})?/gm)].map(([, name, type, labels]) => {
    const names = [...(labels ?? "").matchAll(/(\w+)="/g)].map(([, label]) => label);
    return { metric: type === "histogram" || !labels ? name : `${name}{${names}}`, type };
  });
}

/** Every line that the program logs, as the source has it, and its level. */
function logLines(): Row[] {
  const lines: Row[] = [];
  for (const [path, text] of SOURCES) {
    const calls = [...text.matchAll(/\blog\.(debug|info|warn|error)\(\s*((?:"[^"]*"[\s+]*)*)/g)];
    for (const [call, level, parts] of calls) {
      const line = [...parts.matchAll(/"([^"]*)"/g)].map(([, part]) => part).join("");
      assert(line, `${path} logs something that is not a text: ${call}`);
      lines.push({ "log line": line, level });
    }
  }
  return lines;
}

/** Every module at the root and the first paragraph of its documentation. */
function files(): Row[] {
  return [...SOURCES].filter(([path]) => !path.includes("/")).map(([path, text]) => {
    const [, documentation] = /\/\*\*(.*?)\*\//s.exec(text)!;
    const lines = documentation.split("\n").map((line) => line.replace(/^ \*/, "").trim());
    const [paragraph] = lines.join("\n").trim().split("\n\n");
    return { file: path, "its one job": paragraph.replaceAll("\n", " ").replaceAll("`", "") };
  });
}

const TASK = /^ {4}"(\w+)": \{\s+"description": "(.*)"/gm;

const METRICS = await metrics();

/** All that tables may repeat. */
const TRUTH: Row[][] = [
  settings(),
  METRICS.filter(({ metric }) => !metric.startsWith("process_")),
  METRICS.filter(({ metric }) => metric.startsWith("process_"))
    .map(({ metric }) => ({ "metric of the process": metric })),
  logLines(),
  files(),
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

/** Which tables there must be, with those of their columns that repeat the code. */
const WANTED: Record<string, string[]> = {
  "README.md": ["key default", "flag", "close code reason", "metric type"],
  "AGENTS.md": ["task what it does", "file its one job", "folder"],
  "docs/operations.md": [
    "log line level",
    "exit code",
    "metric",
    "metric of the process",
    "eviction",
    "rejection",
  ],
  ".agents/summary/data_models.md": ["key default wanted", "metric type"],
  ".agents/summary/interfaces.md": ["rejection", "close code reason", "flag", "exit code"],
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
