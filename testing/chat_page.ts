/**
 * Actions of a visitor of the chat page in a browser.
 *
 * @module
 */

import type { Open, Page } from "./browser.ts";
import { ROOT } from "./program.ts";

/** The URL of the page on disk, where a new user would open it. */
export const CHAT = `file://${ROOT}examples/chat.html`;

/** The values that a visitor fills in. Other fields keep their defaults. */
export interface Visit {
  /** The address of the relay. */
  url: string;
  /** The room. */
  room?: string;
  /** The visitor's name. Default: `alice`. */
  name?: string;
  /** The token. Default: none. */
  token?: string;
  /** The options of the visitor's browser. */
  visitor?: Parameters<Open>[1];
}

/** Opens the page, fills in its first form and submits it. */
export async function enter(open: Open, visit: Visit): Promise<Page> {
  const page = await open(CHAT, visit.visitor);
  await page.getByLabel("Server").fill(visit.url);
  if (visit.room !== undefined) await page.getByLabel("Room").fill(visit.room);
  await page.getByLabel("Your name").fill(visit.name ?? "alice");
  await page.getByLabel("Token").fill(visit.token ?? "");
  await page.getByRole("button", { name: "Connect" }).click();
  return page;
}

/** Enters and waits until the page says that it is connected. */
export async function join(open: Open, visit: Visit): Promise<Page> {
  const page = await enter(open, visit);
  await saysState(page, "Connected to");
  return page;
}

/** Waits until the line about the state of the connection contains certain words. */
export async function saysState(page: Page, words: string): Promise<void> {
  await page.getByRole("status").getByText(words).waitFor();
}

/** Waits until the page shows a message or a note. */
export async function shows(page: Page, text: string): Promise<void> {
  await page.getByRole("log").getByText(text, { exact: true }).waitFor();
}

/** Writes a message and sends it. */
export async function say(page: Page, text: string): Promise<void> {
  await page.getByLabel("Message", { exact: true }).fill(text);
  await page.getByRole("button", { name: "Send" }).click();
}

/** Lists the texts of the messages and notes in the page, the oldest first. */
export function shown(page: Page): Promise<string[]> {
  return page.getByRole("log").locator(".text").allTextContents();
}

/** Finds the id of the element that has the focus. */
export function focused(page: Page): Promise<string | null> {
  return page.locator(":focus").getAttribute("id");
}
