/**
 * How long a client may be busy with reading before it counts as silent.
 *
 * @module
 */

/** The slowest line that is reckoned with, in bytes a second. */
export const SLOWEST_LINE = 24 * 1024;

/** The most that a kernel takes for a client that does not read (Linux by default, `tcp_wmem`). */
const KERNEL_BYTES = 4 * 1024 * 1024;

/**
 * What a client was given and may still be reading. No answer to a ping comes before all that was sent
 * ahead of it has been read, and what the kernel has taken says nothing about that. So each byte
 * counts for the time that it takes on {@link SLOWEST_LINE}.
 */
export class Unread {
  #bytes = 0;

  /** Adds what the client was given. */
  add(bytes: number): void {
    this.#bytes += bytes;
  }

  /**
   * Lets time pass, and tells whether anything may be left to read.
   *
   * @param backlog The bytes that the kernel has not taken.
   */
  pass(seconds: number, backlog: number): boolean {
    const most = Math.min(this.#bytes, backlog + KERNEL_BYTES);
    this.#bytes = Math.max(most - seconds * SLOWEST_LINE, 0);
    return this.#bytes > 0;
  }
}
