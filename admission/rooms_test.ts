import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { allowsRoom, EVERY_ROOM, isRoomPattern } from "./rooms.ts";

const CASES: [pattern: string, allowed: string[], others: string[]][] = [
  ["/", ["/"], ["/a", "//", ""]],
  ["/*", ["/", "/a", "/a/b", "//", "/a b", "/%2F"], ["", "a", "/..", "/a/../b", "/.", "/a/."]],
  ["/team", ["/team"], ["/team/", "/Team", "/teams", "/team/a", "/tea"]],
  ["/team/*", ["/team/", "/team/a", "/team/a/b"], ["/team", "/teams/a", "/team/../a", "/x/team/a"]],
  ["/team*", ["/team", "/teams", "/team/a"], ["/tea", "/team/.."]],
  ["/a*b", ["/a*b"], ["/ab", "/axb", "/a*"]],
  ["/**", ["/*", "/*a"], ["/", "/a"]],
  // A pattern never means more than it says.
  ["/team/../*", [], ["/", "/a", "/team/a", "/team/../a", "/../a"]],
  ["/team/..", [], ["/", "/team", "/team/.."]],
  ["/team/.*", ["/team/.a", "/team/...", "/team/..a"], [
    "/team/.",
    "/team/..",
    "/team/../a",
    "/team",
  ]],
  ["/team%2F*", ["/team%2F", "/team%2Fa"], ["/team/", "/team/a"]],
  ["/%2e%2e/*", ["/%2e%2e/a"], ["/a", "/../a", "/"]],
  ["/team/%2e%2e%2f*", ["/team/%2e%2e%2fa"], ["/a", "/team/a", "/team/../a"]],
  ["/%2a", ["/%2a"], ["/*", "/a"]],
  ["/[a-z]*", ["/[a-z]"], ["/a"]],
  ["/.", [], ["/.", "/", "/a"]],
  // And what is no path allows nothing.
  ["*", [], ["/", "/a", "*"]],
  ["", [], ["", "/"]],
  ["team/*", [], ["/team/a", "team/a"]],
  ["../*", [], ["/", "../a"]],
];
for (const [pattern, allowed, others] of CASES) {
  Deno.test(`allowsRoom knows what "${pattern}" is for`, () => {
    for (const path of allowed) assertEquals([path, allowsRoom([pattern], path)], [path, true]);
    for (const path of others) assertEquals([path, allowsRoom([pattern], path)], [path, false]);
  });
}

Deno.test("allowsRoom allows a path if any pattern does, and none without patterns", () => {
  assertEquals(allowsRoom(["/a", "/b/*"], "/b/c"), true);
  assertEquals(allowsRoom(["/a", "/b/*"], "/c"), false);
  assertEquals(allowsRoom([], "/"), false);
  assertEquals(allowsRoom(EVERY_ROOM, "/anything"), true);
});

Deno.test("allowsRoom never allows a path that does not begin with the text before the star", () => {
  const piece = fc.constantFrom("/", "a", "..", ".", "%2F", "%2e", "*", "\\", " ", "ä", "\0");
  const text = fc.array(piece, { maxLength: 6 }).map((pieces) => pieces.join(""));
  fc.assert(fc.property(text, text, (pattern, path) => {
    if (!allowsRoom([pattern], path)) return;
    assertEquals(isRoomPattern(pattern), true);
    assertEquals(path.startsWith(pattern.replace(/\*$/, "")), true);
    assertEquals(path.split("/").some((segment) => segment === ".." || segment === "."), false);
  }));
});
