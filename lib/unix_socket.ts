/**
 * The path of a Unix socket: whether it can be used, and the socket that a crashed program left there.
 *
 * @module
 */

/** The longest path that a Unix socket may have on Linux, in bytes. */
const MAX_PATH_BYTES = 107;

/** Says why there can be no Unix socket at a path; `null` if there can be one, or is one already. */
export async function findObstacle(path: string): Promise<string | null> {
  if (new TextEncoder().encode(path).length > MAX_PATH_BYTES) {
    return `longer than ${MAX_PATH_BYTES} bytes`;
  }
  try {
    return (await Deno.lstat(path)).isSocket ? null : "something that is not a socket";
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) return (error as Error).message;
  }
  const folder = path.slice(0, path.lastIndexOf("/") + 1) || ".";
  return await Deno.stat(folder).then(() => null, () => "its folder does not exist");
}

/** Removes a Unix socket that a crashed program left behind. */
export async function removeStale(path: string): Promise<void> {
  try {
    (await Deno.connect({ transport: "unix", path })).close();
  } catch (error) {
    if (error instanceof Deno.errors.ConnectionRefused) await Deno.remove(path);
    else if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
