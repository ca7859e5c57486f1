/**
 * The effective configuration: the sources that it is read from, and the problems in them.
 *
 * Sources in order, later wins: built-in defaults, the file, the environment, flags. Every value of
 * every source is checked, and all problems are reported at once.
 *
 * @module
 */

import { closestString } from "@std/text";
import { parse, stringify } from "@std/yaml";
import { findClusterProblems, hidePasswords } from "./config/cluster.ts";
import { describeWanted, KEYS, type TextSetting } from "./config/keys.ts";
import { describeRepair } from "./config/origin.ts";
import { type Config, fillDefaults } from "./config/schema.ts";
import { findTabbedLine, LEADING_ZERO, parseAsText } from "./config/yaml.ts";

export { type Action, type Flags, HELP, parseFlags } from "./config/flags.ts";
export { CONFIG_SCHEMA, type TextSetting } from "./config/keys.ts";
export { type Config, DEFAULT_CONFIG } from "./config/schema.ts";

/** The file that is read if no other file is named, and if it exists. */
export const DEFAULT_CONFIG_FILE = "config.yaml";

/** Everything that is wrong with a configuration, reported at once. */
export class ConfigError extends Error {
  /** One sentence per problem: the place, the wanted and the found value, and the source. */
  readonly problems: readonly string[];

  /** Makes an error whose message lists all problems, one per line. */
  constructor(problems: readonly string[]) {
    const count = problems.length === 1 ? "1 problem" : `${problems.length} problems`;
    const list = problems.map((problem) => `\n  ${problem}`).join("");
    super(`Cannot use the configuration: ${count}${list}`);
    this.name = "ConfigError";
    this.problems = problems;
  }
}

/** The sources of {@link loadConfig}. */
export interface Sources {
  /** The file that was named; it must exist. Default: `config.yaml`, if there is one. */
  readonly file?: string;
  /** The environment, of which only variables that begin with `RELAY_` are read. Default: none. */
  readonly env?: Readonly<Record<string, string>>;
  /** The values that flags set. Default: none. */
  readonly flags?: readonly TextSetting[];
  /** Problems found before, to be reported together with those found here. Default: none. */
  readonly problems?: readonly string[];
}

/** A configuration, and where it came from. */
export interface LoadedConfig {
  /** The effective configuration. */
  readonly config: Config;
  /** The paths of the keys that a source sets, even to their defaults, for example `server.port`. */
  readonly explicit: ReadonlySet<string>;
  /** Its sources in words, for the log: for example `config.yaml, variable RELAY_SERVER_PORT`. */
  readonly origin: string;
}

/** A value of its key's type, if the source was right. */
interface Setting {
  readonly path: string;
  readonly value: unknown;
  readonly source: string;
}

/**
 * Reads the configuration from its sources.
 *
 * @example
 * ```ts
 * import { loadConfig } from "./config.ts";
 *
 * const { config } = await loadConfig({ env: { RELAY_SERVER_PORT: "9000" } });
 * if (config.server.port !== 9000) throw new Error("not 9000");
 * ```
 *
 * @throws {ConfigError} If a source cannot be read, has an unknown key or a value that is not allowed.
 */
export async function loadConfig(sources: Sources = {}): Promise<LoadedConfig> {
  const problems = [...sources.problems ?? []];
  const file = sources.file ?? DEFAULT_CONFIG_FILE;
  const text = await readFile(file, sources.file === undefined, problems);
  const inFile = text === null ? [] : readFileSettings(text, file, problems);
  const aside = [
    ...readEnvSettings(sources.env ?? {}, problems),
    ...sources.flags ?? [],
  ];
  const settings = [...inFile, ...aside.map(parseText)];

  const tree = {};
  for (const setting of settings) {
    const { path, value } = setting;
    if (fillDefaults(assign({}, path, value))) {
      assign(tree, path, value);
    } else problems.push(describeProblem(setting, wantedOf(path, value)));
  }
  const config = fillDefaults(tree)!;
  if (problems.length === 0) {
    problems.push(...findConflicts(config, settings));
    for (const [path, want] of findClusterProblems(config.cluster)) {
      problems.push(describeProblem(settings.findLast((each) => each.path === path)!, want));
    }
  }
  if (problems.length > 0) throw new ConfigError(problems);

  const origin = [
    ...text === null ? [] : [file],
    ...aside.map(({ source }) => source),
  ].join(", ");
  return {
    config,
    explicit: new Set(settings.map(({ path }) => path)),
    origin: origin || `built-in defaults, there is no ${file} here`,
  };
}

/** Writes a configuration as YAML that {@link loadConfig} reads back. */
export function printConfig(config: Config): string {
  return stringify(config);
}

async function readFile(
  file: string,
  optional: boolean,
  problems: string[],
): Promise<string | null> {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(
      await Deno.readFile(file),
    );
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) {
      const [why] = (error as Error).message.split(": readfile");
      problems.push(
        `Cannot read ${file}: ${error instanceof TypeError ? "it must be UTF-8 text" : why}`,
      );
    } else if (!optional) {
      problems.push(`Cannot read ${file}: there is no such file`);
    }
    return null;
  }
}

/** Reads the settings from a YAML text, and adds problems of its form to `problems`. */
function readFileSettings(
  text: string,
  source: string,
  problems: string[],
): Setting[] {
  const settings: Setting[] = [];
  const paths = [...KEYS.keys()].filter(Boolean);

  function visit(path: string, value: unknown, written: unknown): void {
    const { properties } = KEYS.get(path)!;
    if (!properties) {
      // A number with a leading zero would be read as octal; as the text that was written it is refused.
      const octal = typeof value === "number" && LEADING_ZERO.test(`${written}`);
      settings.push({ path, value: octal ? written : value, source });
    } else if (isMapping(value)) {
      for (const [name, child] of Object.entries(value)) {
        const childPath = path ? `${path}.${name}` : name;
        const childWritten = isMapping(written) ? written[name] : undefined;
        if (Object.hasOwn(properties, name)) visit(childPath, child, childWritten);
        else if (KEYS.has(childPath)) {
          problems.push(
            `${childPath} must be nested, with one level per word, got one key (${source})`,
          );
        } else problems.push(describeUnknown("key", childPath, paths, ` in ${source}`));
      }
    } else if (value !== null) { // An empty file or section leaves everything at its default.
      problems.push(
        describeProblem(
          { path: path || "The file", value, source },
          "a mapping of keys to values",
        ),
      );
    }
  }

  const tabbed = findTabbedLine(text);
  if (tabbed !== null) {
    problems.push(`Cannot parse ${source}: line ${tabbed} must be indented with spaces, got a tab`);
    return [];
  }
  try {
    visit("", parse(text), parseAsText(text));
  } catch (error) {
    problems.push(
      `Cannot parse ${source}: ${(error as Error).message.trimEnd()}`,
    );
  }
  return settings;
}

function isMapping(value: unknown): value is Record<string, unknown> {
  return value !== null && typeof value === "object" &&
    Object.getPrototypeOf(value) === Object.prototype;
}

function readEnvSettings(
  env: Readonly<Record<string, string>>,
  problems: string[],
): TextSetting[] {
  const leaves = [...KEYS].filter(([, key]) => !key.properties);
  const paths = new Map(leaves.map(([path]) => [variableOf(path), path]));
  const settings: TextSetting[] = [];
  for (const [name, value] of Object.entries(env).sort()) {
    if (!name.startsWith("RELAY_")) continue;
    const path = paths.get(name);
    if (path) settings.push({ path, value, source: `variable ${name}` });
    else problems.push(describeUnknown("variable", name, [...paths.keys()]));
  }
  return settings;
}

function variableOf(path: string): string {
  return `RELAY_${path.replaceAll(".", "_").toUpperCase()}`;
}

/** Says in words which value a key wants, with regard to the value that it was given. */
function wantedOf(path: string, value: unknown): string {
  const key = KEYS.get(path)!;
  const number = key.type === "integer" || key.type === "number";
  const zero = number && typeof value === "string" && LEADING_ZERO.test(value);
  return describeWanted(key) + (zero ? " without a leading zero" : "");
}

/** Turns text into the type that its key wants; text that does not fit stays, to be found wrong later. */
function parseText({ path, value, source }: TextSetting): Setting {
  const { type } = KEYS.get(path)!;
  const number = type === "integer" || type === "number";
  if (number && /^-?\d+(\.\d+)?$/.test(value) && !LEADING_ZERO.test(value)) {
    return { path, value: Number(value), source };
  }
  if (type === "boolean" && /^(true|false)$/.test(value)) {
    return { path, value: value === "true", source };
  }
  if (type === "array") {
    return { path, value: value.split(",").map((item) => item.trim()).filter(Boolean), source };
  }
  return { path, value, source };
}

/** Finds keys that do not go together, and which source set the last of them. */
function findConflicts({ server, relay, cluster, metrics }: Config, settings: Setting[]): string[] {
  const problems: string[] = [];
  const last = (...paths: string[]) => settings.findLast(({ path }) => paths.includes(path))!;
  if (server.unix_socket) {
    const others = {
      "server.tls.enabled": server.tls.enabled,
      "server.reuse_port": server.reuse_port,
    };
    for (const [key, on] of Object.entries(others)) {
      const want = `empty where ${key} is true`;
      if (on) problems.push(describeProblem(last("server.unix_socket"), want));
    }
  } else if (
    metrics.enabled && metrics.hostname === server.hostname &&
    metrics.port === server.port && server.port !== 0
  ) {
    const setting = { ...last("server.port", "metrics.port"), path: "metrics.port" };
    problems.push(describeProblem(setting, "another port than server.port"));
  }
  if (cluster.servers.length > 0 && cluster.retention_seconds < relay.history_seconds) {
    const setting = last("relay.history_seconds", "cluster.retention_seconds");
    const want = setting.path === "relay.history_seconds"
      ? `at most cluster.retention_seconds, ${cluster.retention_seconds}`
      : `at least relay.history_seconds, ${relay.history_seconds}`;
    problems.push(describeProblem(setting, want));
  }
  return problems;
}

/** Says what a key must be, and which value it has instead, without passwords. */
function describeProblem({ path, value, source }: Setting, want: string): string {
  const found = path === "cluster.servers" ? hidePasswords(value) : value;
  const shown = Deno.inspect(found, {
    depth: 1,
    breakLength: Infinity,
    strAbbreviateSize: 60,
  });
  return `${path} must be ${want}, got ${shown}${describeRepair(path, value)} (${source})`;
}

/** Says that a name is unknown, and which known name is meant: one with the same last word, or the most similar one. */
function describeUnknown(
  what: "key" | "variable",
  name: string,
  known: string[],
  where = "",
): string {
  const separator = what === "key" ? "." : "_";
  const word = separator + name.split(separator).at(-1);
  const meant = known.find((each) => each.endsWith(word)) ?? closestString(name, known);
  const shown = /^[\w.-]+$/.test(name) ? name : JSON.stringify(name);
  return `Unknown ${what} ${shown}${where} (did you mean ${meant}?)`;
}

/** Sets the value at a path such as `server.port`, and returns the tree. */
function assign(
  tree: Record<string, unknown>,
  path: string,
  value: unknown,
): unknown {
  const names = path.split(".");
  const last = names.pop()!;
  let node = tree;
  for (const name of names) {
    node = (node[name] ??= {}) as Record<string, unknown>;
  }
  node[last] = value;
  return tree;
}
