/**
 * A real browser for the tests of pages.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import axe, { type AxeResults } from "axe-core";
import { type BrowserContextOptions, chromium, type Locator, type Page } from "playwright-core";

export type { Locator, Page };

/** Opens a page as a new visitor, who shares no cookies or stored values with others. */
export type Open = (url: string, visitor?: BrowserContextOptions) => Promise<Page>;

/** The path of Chromium in Debian's package `chromium`. */
const EXECUTABLE = "/usr/bin/chromium";

// The browser connects only to the test's own servers. It has no sandbox because the checks may run as root.
const ARGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** The bound of every wait in a page. */
const BOUND_MS = 30_000;

/**
 * Declares a test with a headless Chromium of its own. The test fails if a page has an uncaught error.
 * Without Chromium, it is skipped with a message.
 */
export function browserTest(name: string, test: (open: Open) => Promise<void>): void {
  Deno.test(name, async () => {
    if (!await isFile(EXECUTABLE)) {
      console.warn(`SKIPPED: no ${EXECUTABLE} (Debian: apt-get install chromium)`);
      return;
    }
    await using browser = await chromium.launch({ executablePath: EXECUTABLE, args: ARGS });
    const uncaught: string[] = [];
    await test(async (url, visitor) => {
      const context = await browser.newContext(visitor);
      context.setDefaultTimeout(BOUND_MS);
      context.on("weberror", (event) => uncaught.push(event.error().message));
      const page = await context.newPage();
      await page.goto(url);
      return page;
    });
    assertEquals(uncaught, [], "errors of pages");
  });
}

/** Lists the accessibility barriers that axe-core finds in a page. */
export async function barriers(page: Page): Promise<string[]> {
  await page.evaluate(axe.source);
  const { violations } = await page.evaluate("axe.run()") as AxeResults;
  return violations.flatMap(({ help, nodes }) => nodes.map(({ html }) => `${help}: ${html}`));
}

async function isFile(path: string): Promise<boolean> {
  try {
    return (await Deno.stat(path)).isFile;
  } catch {
    return false;
  }
}
