/**
 * How long a client may be busy reading before it counts as silent.
 *
 * @module
 */

/** The slowest line that is supported, in bytes per second. */
export const SLOWEST_LINE = 24 * 1024;

/** The most bytes that a kernel takes for a client that does not read (the default of Linux, `tcp_wmem`). */
const KERNEL_BYTES = 4 * 1024 * 1024;

/**
 * The data that a client was given and may still be reading. A ping is answered only after everything ahead of
 * it has been read, and what the kernel has taken says nothing about that. So each byte counts for the time that
 * it takes on {@link SLOWEST_LINE}.
 */
export class Unread {
  #bytes = 0;

  /** Adds bytes that the client was given. */
  add(bytes: number): void {
    this.#bytes += bytes;
  }

  /**
   * Lets time pass, and tells whether the client may still be reading.
   *
   * @param backlog The bytes that the kernel has not taken.
   */
  pass(seconds: number, backlog: number): boolean {
    const most = Math.min(this.#bytes, backlog + KERNEL_BYTES);
    this.#bytes = Math.max(most - seconds * SLOWEST_LINE, 0);
    return this.#bytes > 0;
  }
}
