/**
 * The chat page for browsers that open the relay's own address, for a first try.
 *
 * @module
 */

import { STATUS_CODE } from "@std/http";
import page from "../../examples/chat.html" with { type: "text" };
import type { HandshakeRequest } from "../../admission/handshake.ts";
import { pathOf } from "../../admission/request.ts";
import type { Answer } from "../transport.ts";

/** The page contains its script and style, loads nothing, and may connect to any relay. */
const POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; " +
  "connect-src ws: wss:; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const PAGE: Answer = {
  status: STATUS_CODE.OK,
  headers: {
    "content-type": "text/html; charset=utf-8",
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
  },
  body: page,
};

/** Answers a browser that navigates to `/` or to the path of a room; returns `null` for other requests. */
export function answerBrowser(
  { method, target, header }: HandshakeRequest,
  rooms: boolean,
): Answer | null {
  const shows = (method === "GET" || method === "HEAD") && header("upgrade") === null;
  const wanted = shows && (header("accept") ?? "").includes("text/html");
  return wanted && (rooms || pathOf(target) === "/") ? PAGE : null;
}
