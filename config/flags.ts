/**
 * The command line: its flags, its help text, and the action that it asks for.
 *
 * @module
 */

import { closestString } from "@std/text";
import { parseArgs } from "@std/cli";
import { KEYS, type TextSetting } from "./keys.ts";

/** The text of `--help`. */
export const HELP =
  `A WebSocket relay: whatever one client sends, every client receives, in the same order.

Usage: relay [flags]

Flags:
  --config PATH     Read the configuration from PATH (default: config.yaml, if it exists)
  --port N          Listen on port N (overrides server.port)
  --metrics-port N  Serve metrics on port N (overrides metrics.port)
  --demo            Show the chat page to browsers (sets server.demo_page)
  --check           Check settings, files and the cluster, then print "ok" or the problems
  --print-config    Print the effective configuration as YAML
  --print-schema    Print the JSON Schema of the configuration file
  --version         Print the version
  --help            Print this text

Every key of the configuration is also an environment variable: server.port is RELAY_SERVER_PORT.
Exit codes: 0 after a graceful stop, 1 if the relay could not start or a listener died, 2 for a wrong
flag or configuration. Documentation: docs/configuration.md and docs/operations.md.
`;

/** The action that a command line asks for. */
export type Action = "help" | "version" | "print-schema" | "print-config" | "check" | "run";

/** The meaning of a command line. */
export interface Flags {
  /** The action. */
  readonly action: Action;
  /** The configuration file that was named. */
  readonly file?: string;
  /** Configuration values that were set. */
  readonly settings: readonly TextSetting[];
  /** One sentence for each argument that could not be understood. */
  readonly problems: readonly string[];
}

const ACTIONS = ["help", "version", "print-schema", "print-config", "check"] as const;

/** Flags that set a configuration value, and its key. */
const SETTINGS: Readonly<Record<string, string>> = {
  "port": "server.port",
  "metrics-port": "metrics.port",
};

/** Flags that set a key to true. */
const SWITCHES: Readonly<Record<string, string>> = { "demo": "server.demo_page" };

/** Says what to use in place of a flag that does not exist: a key, if it is named like one. */
function describeUnknown(flag: string, known: readonly string[]): string {
  const path = flag.replace(/^--?/, "").replaceAll("-", "_");
  const named = [...KEYS.keys()].filter((key) => key === path || key.endsWith(`.${path}`));
  if (named.length !== 1) {
    return `Unknown flag ${flag} (did you mean ${closestString(flag, known)}?)`;
  }
  const variable = `RELAY_${named[0].toUpperCase().replaceAll(".", "_")}`;
  return `Unknown flag ${flag} (set ${named[0]} in the file, or ${variable} in the environment)`;
}

/** Reads the command line. */
export function parseFlags(args: readonly string[]): Flags {
  const problems: string[] = [];
  const valued = ["config", ...Object.keys(SETTINGS)];
  const bare = [...ACTIONS, ...Object.keys(SWITCHES)];
  const known = [...bare, ...valued].map((name) => `--${name}`);
  const parsed = parseArgs(args, {
    boolean: bare,
    string: valued,
    alias: { h: "help" },
    unknown(arg: string, key?: string): boolean {
      const [flag] = arg.split("=");
      problems.push(
        key === undefined
          ? `${arg} is not a flag, and the relay takes only flags (command line)`
          : describeUnknown(flag, known),
      );
      return false;
    },
  }) as Record<string, unknown>;

  for (const argument of parsed._ as string[]) { // Everything after "--".
    problems.push(`${argument} is not a flag, and the relay takes only flags (command line)`);
  }
  for (const argument of args) {
    const [flag, given] = argument.split("=", 2);
    if (given !== undefined && bare.some((name) => flag === `--${name}`)) {
      problems.push(`${flag} must have no value, got "${given}" (command line)`);
    }
  }
  const value = (name: string) => {
    const given = parsed[name];
    if (given === "") problems.push(`--${name} must have a value, got none (command line)`);
    return given === "" ? undefined : given as string | undefined;
  };
  const settings = Object.entries(SETTINGS).flatMap(([name, path]) => {
    const given = value(name);
    return given === undefined ? [] : [{ path, value: given, source: `flag --${name}` }];
  });
  for (const [name, path] of Object.entries(SWITCHES)) {
    if (parsed[name]) settings.push({ path, value: "true", source: `flag --${name}` });
  }
  const asked = ACTIONS.filter((name) => parsed[name]);
  const [action = "run"] = asked;
  if (asked.length > 1 && action !== "help") {
    problems.push(`--${asked.join(" and --")} cannot be combined (command line)`);
  }
  return { action, file: value("config"), settings, problems };
}
