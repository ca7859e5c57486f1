/**
 * A bridge from a file to the relay: every line that is added to the file becomes a message, also after
 * the file is truncated, or moved away and created again.
 *
 *     deno run --allow-net --allow-read examples/tail.ts ws://localhost:8443 server.log
 *
 * @module
 */

const [url = "", path = ""] = Deno.args;
const PERIOD_MS = 250, MAX_UNSENT_BYTES = 256 * 1024;
const sleep = () => new Promise((resolve) => setTimeout(resolve, PERIOD_MS));
const open = () => Deno.open(path).catch(() => null);
const first = await open();
if (!first || !/^wss?:\/\//.test(url)) {
  console.error("Usage: deno run --allow-net --allow-read examples/tail.ts URL FILE_THAT_EXISTS");
  Deno.exit(2);
}
let file = first, position = await file.seek(0, Deno.SeekMode.End);
const socket = new WebSocket(url);
socket.onclose = ({ code, reason }) => {
  console.error(`No connection to ${url} (${`code ${code} ${reason}`.trimEnd()})`);
  Deno.exit(1);
};
await new Promise((resolve) => socket.onopen = resolve);
console.error(`Lines added to ${path} go to ${url}`);

let decoder = new TextDecoder(), unfinished = "", successor: Deno.FsFile | null = null;
const begin = () => [decoder, unfinished, position] = [new TextDecoder(), "", 0];
const buffer = new Uint8Array(64 * 1024);
while (true) {
  while (socket.bufferedAmount > MAX_UNSENT_BYTES) await sleep();
  const bytes = await file.read(buffer);
  if (bytes !== null) {
    position += bytes;
    const text = unfinished + decoder.decode(buffer.subarray(0, bytes), { stream: true });
    const lines = text.split("\n");
    unfinished = lines.pop()!;
    for (const line of lines) socket.send(line);
  } else if (successor) { // The old file was read to its end again after the new one existed.
    file.close();
    [file, successor] = [successor, null];
    begin();
  } else {
    await sleep();
    const now = await file.stat();
    if (now.size < position) {
      await file.seek(0, Deno.SeekMode.Start);
      begin();
    } else successor = await openSuccessor(now);
  }
}

/** Opens the file that has the path now; `null` if it is still the same file, or empty. */
async function openSuccessor(old: Deno.FileInfo): Promise<Deno.FsFile | null> {
  const current = await Deno.stat(path).catch(() => null);
  if (!current || (current.ino === old.ino && current.dev === old.dev)) return null;
  return current.size > 0 ? await open() : null; // Until then the writer may still use the old file.
}
