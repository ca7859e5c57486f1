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
