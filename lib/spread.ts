/**
 * Spreads many small acts over a time, so that their effects do not come at the same moment.
 *
 * @module
 */

import { pause } from "./timeout.ts";

/** The time between two portions, in milliseconds. */
const STEP_MILLISECONDS = 50;

/**
 * Does something a number of times, evenly over a number of seconds; all at once for 0.
 *
 * @param act Does it so many times.
 */
export async function spread(
  count: number,
  seconds: number,
  act: (count: number) => void,
): Promise<void> {
  const steps = Math.ceil(seconds * 1000 / STEP_MILLISECONDS);
  let done = 0;
  for (let step = 1; step < steps && done < count; step++) {
    const due = Math.floor(count * step / steps);
    if (due > done) act(due - done);
    done = due;
    await pause(STEP_MILLISECONDS);
  }
  if (count > done) act(count - done);
}
