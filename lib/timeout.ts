/**
 * Waits that have a bound and leave no timer behind.
 *
 * @module
 */

/** Waits for some milliseconds, or less if a signal ends the pause. */
export function pause(milliseconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, milliseconds);
    signal?.addEventListener("abort", end);
    if (signal?.aborted) end();
  });
}

/**
 * Waits for a promise to settle, but no longer than a given time; leaves no timer behind.
 *
 * @returns Whether the promise settled in time.
 */
export async function settlesWithin(
  seconds: number,
  promise: Promise<unknown>,
): Promise<boolean> {
  const late = Promise.withResolvers<boolean>();
  const timer = setTimeout(() => late.resolve(false), seconds * 1000);
  try {
    return await Promise.race([
      promise.then(() => true, () => true),
      late.promise,
    ]);
  } finally {
    clearTimeout(timer);
  }
}
