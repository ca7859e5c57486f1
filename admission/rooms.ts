/**
 * The rooms for which a token is valid.
 *
 * @module
 */

import { hasDots } from "./request.ts";

/** The patterns that allow every room. */
export const EVERY_ROOM: readonly string[] = ["/*"];

/** Tells whether a text can be a pattern of rooms: a path, or the beginning of a path with a `*` after it. */
export function isRoomPattern(text: unknown): text is string {
  return typeof text === "string" && text.startsWith("/");
}

/**
 * Tells whether one of the patterns allows a room. A pattern is a decoded path. A `*` at its end stands for
 * anything, including slashes. Everything else stands for itself, also `%2F`, and a `*` in the middle. A path
 * with a segment `.` or `..` is not a room, whatever the pattern.
 *
 * @param path The path of the room, decoded once, for example `/team/a b`.
 */
export function allowsRoom(patterns: readonly string[], path: string): boolean {
  if (!path.startsWith("/") || hasDots(path)) return false;
  return patterns.some((pattern) =>
    isRoomPattern(pattern) &&
    (pattern.endsWith("*") ? path.startsWith(pattern.slice(0, -1)) : path === pattern)
  );
}
