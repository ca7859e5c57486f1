/**
 * Temporary folders for tests.
 *
 * @module
 */

/** A temporary folder. Disposing of it removes it with everything in it. */
export class TempFolder implements AsyncDisposable {
  /** Its path, without a slash at the end. */
  readonly path: string;

  /** Takes over an existing folder. */
  constructor(path: string) {
    this.path = path;
  }

  /** Writes a file into it, and returns the file's path. */
  async write(name: string, text: string): Promise<string> {
    const file = `${this.path}/${name}`;
    await Deno.writeTextFile(file, text);
    return file;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.path, { recursive: true });
  }
}

/** Creates a temporary folder. */
export async function tempFolder(): Promise<TempFolder> {
  return new TempFolder(await Deno.makeTempDir());
}

/** Creates a temporary folder that all tests of a file share. It is removed after the last test. */
export async function sharedTempFolder(): Promise<TempFolder> {
  const folder = await tempFolder();
  Deno.test.afterAll(() => folder[Symbol.asyncDispose]());
  return folder;
}
