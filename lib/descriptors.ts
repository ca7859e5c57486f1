/**
 * The file descriptors of this process: how many are open, and how many may be.
 *
 * Deno lets a program read both only with all permissions (`-A`).
 *
 * @module
 */

import { lacksDescriptors } from "./listener.ts";

/** Reads how many file descriptors this process may open; `null` where that cannot be known. */
export function descriptorLimit(): number | null {
  try {
    const limits = Deno.readTextFileSync("/proc/self/limits");
    const soft = /^Max open files\s+(\d+)/m.exec(limits);
    return soft && Number(soft[1]);
  } catch {
    return null;
  }
}

/**
 * Counts the file descriptors that this process has open, sockets among them: all of `limit` if none
 * is left to count them with.
 *
 * @throws {Error} If that cannot be known, which is where {@link descriptorLimit} gives `null`.
 */
export function openDescriptors(limit: number): number {
  try {
    return [...Deno.readDirSync("/proc/self/fd")].length;
  } catch (error) {
    if (lacksDescriptors(error)) return limit; // To count them needs one, and there is none.
    throw error;
  }
}
