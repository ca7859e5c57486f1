/**
 * The rooms that a token is for.
 *
 * @module
 */

import { hasDots } from "./request.ts";

/** The patterns that allow every room. */
export const EVERY_ROOM: readonly string[] = ["/*"];

/** Tells whether a text can be a pattern of rooms: a path, or the beginning of one with a `*` behind it. */
export function isRoomPattern(text: unknown): text is string {
  return typeof text === "string" && text.startsWith("/");
}

/**
 * Tells whether one of the patterns allows a room. A pattern is a path as it is once it has been decoded,
 * and a `*` at its end stands for anything, slashes included; all else in it stands for itself, `%2F` and a
 * `*` in the middle too. A path with a segment `.` or `..` is no room, whatever the pattern.
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
