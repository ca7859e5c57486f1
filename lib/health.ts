/**
 * The answers to health checks, the same on every port.
 *
 * @module
 */

import { STATUS_CODE } from "@std/http";

/** An answer of one line. */
export interface HealthAnswer {
  /** The HTTP status. */
  readonly status: number;
  /** The headers, names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  /** One line of plain text, without its line break. */
  readonly body: string;
}

/**
 * Answers `/healthz` (the process runs) and `/readyz` (clients are admitted); `null` for every other path.
 *
 * @param trouble Why clients are not admitted, in a few words; `null` if they are.
 */
export function answerHealth(
  { method, path }: { readonly method: string; readonly path: string },
  trouble: string | null,
): HealthAnswer | null {
  if (path !== "/healthz" && path !== "/readyz") return null;
  if (method !== "GET" && method !== "HEAD") {
    return answer(STATUS_CODE.MethodNotAllowed, "use GET", { allow: "GET, HEAD" });
  }
  if (path === "/healthz") return answer(STATUS_CODE.OK, "ok");
  return trouble === null
    ? answer(STATUS_CODE.OK, "ready")
    : answer(STATUS_CODE.ServiceUnavailable, trouble);
}

function answer(
  status: number,
  body: string,
  headers: Record<string, string> = {},
): HealthAnswer {
  return { status, headers, body };
}
