/**
 * The keys of the configuration by their paths, and what each of them takes.
 *
 * @module
 */

import { toJsonSchema } from "@valibot/to-json-schema";
import { SCHEMA } from "./schema.ts";

/** The JSON Schema of the configuration file; `config/schema.json` holds it for editors. */
export const CONFIG_SCHEMA: Readonly<Record<string, unknown>> = {
  $id: "schema.json",
  $schema: "https://json-schema.org/draft/2020-12/schema",
  ...toJsonSchema(SCHEMA, {
    target: "draft-2020-12",
    typeMode: "input",
    errorMode: "ignore", // It cannot express every check.
  }),
};

/** A value for a key from the environment or a flag, and where it came from. */
export interface TextSetting {
  /** The key's path, for example `server.port`. */
  readonly path: string;
  /** The value as text; it means a number, a boolean or a comma-separated list if the key wants one. */
  readonly value: string;
  /** The source as messages name it, for example `flag --port`. */
  readonly source: string;
}

/** One key of the schema, in the terms of JSON Schema. */
export interface Key {
  /** `object` for a section; otherwise the type of the value. */
  readonly type: string;
  /** The items of a list, or the form of a text, in words. */
  readonly title?: string;
  /** The meaning, in one or more sentences. */
  readonly description: string;
  /** The shortest text allowed. */
  readonly minLength?: number;
  /** The keys of a section. */
  readonly properties?: Readonly<Record<string, Key>>;
  /** The only values allowed. */
  readonly enum?: readonly string[];
  /** The smallest number allowed. */
  readonly minimum?: number;
  /** The largest number allowed. */
  readonly maximum?: number;
}

/** Every key by its path, for example `server.port`, with the sections; the root is `""`. */
export const KEYS: ReadonlyMap<string, Key> = new Map(
  flatten("", CONFIG_SCHEMA as unknown as Key),
);

function* flatten(path: string, key: Key): Generator<[string, Key]> {
  yield [path, key];
  for (const [name, child] of Object.entries(key.properties ?? {})) {
    yield* flatten(path ? `${path}.${name}` : name, child);
  }
}

/** Says in words which values a key takes. */
export function describeWanted(key: Key): string {
  if (key.enum) return `one of ${key.enum.join(", ")}`;
  switch (key.type) {
    case "boolean":
      return "true or false";
    case "integer":
      return `a whole number from ${key.minimum} to ${key.maximum}`;
    case "number":
      return `a number from ${key.minimum} to ${key.maximum}`;
    case "array":
      return `a list of ${key.title}`;
    default:
      if (key.title) return key.title;
      return key.minLength ? "text that is not empty" : "text";
  }
}
