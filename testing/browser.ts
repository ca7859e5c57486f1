/**
 * A real browser for the tests of pages.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import axe, { type AxeResults } from "axe-core";
import { type BrowserContextOptions, chromium, type Locator, type Page } from "playwright-core";

export type { Locator, Page };

/** Opens a page for a visitor of its own. No two of them share cookies or stored values. */
export type Open = (url: string, visitor?: BrowserContextOptions) => Promise<Page>;

/** Where Debian's package `chromium` puts it. */
const EXECUTABLE = "/usr/bin/chromium";

// It connects only to the test's own servers. There is no sandbox, because the checks may run as root.
const ARGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** Bounds every wait of a page for something. */
const BOUND_MS = 30_000;

/**
 * Declares a test with a headless Chromium of its own. It fails if a page throws an error that the page does not
 * catch. Without Chromium it says that it is skipped.
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

/** Lists the barriers that axe-core finds for people who see little or use no mouse. */
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
