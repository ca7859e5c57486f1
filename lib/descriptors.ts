/**
 * The file descriptors of this process: how many are open, and how many may be.
 *
 * Deno lets a program read both only with all permissions (`-A`).
 *
 * @module
 */

import { lacksDescriptors } from "./listener.ts";

/** Reads how many file descriptors this process may open; `null` if that is unknown. */
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
 * Counts the open file descriptors of this process, including sockets. The result is `limit` if no
 * descriptor is left to count them with.
 *
 * @throws {Error} If that is unknown, which is when {@link descriptorLimit} returns `null`.
 */
export function openDescriptors(limit: number): number {
  try {
    return [...Deno.readDirSync("/proc/self/fd")].length;
  } catch (error) {
    if (lacksDescriptors(error)) return limit; // Counting needs one, and none is left.
    throw error;
  }
}
