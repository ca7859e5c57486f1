/**
 * The status page for an operator's browser. Its files are part of the program.
 *
 * @module
 */

import chart from "./page/chart.js" with { type: "text" };
import contents from "./page/contents.js" with { type: "text" };
import dom from "./page/dom.js" with { type: "text" };
import numbers from "./page/numbers.js" with { type: "text" };
import style from "./page/page.css" with { type: "text" };
import page from "./page/page.html" with { type: "text" };
import script from "./page/page.js" with { type: "text" };
import table from "./page/table.js" with { type: "text" };

const FILES: Readonly<Record<string, { type: string; text: string }>> = {
  "/": { type: "text/html", text: page },
  "/status/chart.js": { type: "text/javascript", text: chart },
  "/status/contents.js": { type: "text/javascript", text: contents },
  "/status/dom.js": { type: "text/javascript", text: dom },
  "/status/numbers.js": { type: "text/javascript", text: numbers },
  "/status/page.css": { type: "text/css", text: style },
  "/status/page.js": { type: "text/javascript", text: script },
  "/status/table.js": { type: "text/javascript", text: table },
};

/** Allows nothing from other origins, and nothing to them. The `data:` image is an empty icon. */
const POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; " +
  "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/** Answers a request for the page or one of its files; `null` for every other path. */
export function serveStatusPage(path: string): Response | null {
  if (!Object.hasOwn(FILES, path)) return null;
  const { type, text } = FILES[path];
  return new Response(text, {
    headers: {
      "content-type": `${type}; charset=utf-8`,
      "content-security-policy": POLICY,
      "x-content-type-options": "nosniff",
      "cache-control": "no-store",
    },
  });
}
