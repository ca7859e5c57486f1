/**
 * The command line: its flags, its help text, and the one thing that it asks for.
 *
 * @module
 */

import { closestString } from "@std/text";
import { parseArgs } from "@std/cli";
import type { TextSetting } from "./schema.ts";

/** The text of `--help`. */
export const HELP =
  `A WebSocket relay: every message that a client sends reaches every connected client.

Usage: relay [flags]

Flags:
  --config PATH     Read the configuration from PATH (default: config.yaml, if there is one)
  --port N          Listen on port N; overrides server.port
  --metrics-port N  Serve metrics on port N; overrides metrics.port
  --demo            Show the chat page to browsers, to try it out; sets server.demo_page
  --check           Check configuration, certificate and cluster, say "ok" or what is wrong
  --print-config    Print the effective configuration as YAML
  --print-schema    Print the JSON Schema of the configuration file
  --version         Print the version
  --help            Print this

Every key of the configuration is also an environment variable: server.port is RELAY_SERVER_PORT.
Exit codes: 0 stopped as asked, 1 could not start or a listener died, 2 wrong flag or configuration.
`;

/** The one thing that a command line asks for. */
export type Action = "help" | "version" | "print-schema" | "print-config" | "check" | "run";

/** The meaning of a command line. */
export interface Flags {
  /** The thing to do. */
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
      const fault = key === undefined
        ? `${arg} is not understood, the relay takes flags only`
        : `${flag} is not a known flag, the nearest is ${closestString(flag, known)}`;
      problems.push(`${fault} (command line)`);
      return false;
    },
  }) as Record<string, unknown>;

  for (const argument of parsed._ as string[]) { // What stands behind "--".
    problems.push(`${argument} is not understood, the relay takes flags only (command line)`);
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
    problems.push(`--${asked.join(" and --")} must each stand alone (command line)`);
  }
  return { action, file: value("config"), settings, problems };
}
