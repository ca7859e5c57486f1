/**
 * A bridge from a file to the relay: every line that is added to the file becomes a message.
 *
 *     deno run --allow-net --allow-read examples/tail.ts ws://localhost:8443 server.log
 *
 * @module
 */

const [url, path] = Deno.args;
const PERIOD_MS = 250, MAX_UNSENT_BYTES = 256 * 1024;
const sleep = () => new Promise((resolve) => setTimeout(resolve, PERIOD_MS));
const file = await Deno.open(path);
let position = await file.seek(0, Deno.SeekMode.End);

const socket = new WebSocket(url);
socket.onclose = ({ code, reason }) => {
  console.error(`No connection to ${url} (code ${code} ${reason})`);
  Deno.exit(1);
};
await new Promise((resolve) => socket.onopen = resolve);
console.error(`Lines added to ${path} go to ${url}`);

const decoder = new TextDecoder(), buffer = new Uint8Array(64 * 1024);
let unfinished = "";
while (true) {
  while (socket.bufferedAmount > MAX_UNSENT_BYTES) await sleep();
  const bytes = await file.read(buffer);
  if (bytes === null) {
    await sleep();
    const cut = (await file.stat()).size < position;
    if (cut) position = await file.seek(0, Deno.SeekMode.Start);
    continue;
  }
  position += bytes;
  const lines = (unfinished + decoder.decode(buffer.subarray(0, bytes), { stream: true })).split(
    "\n",
  );
  unfinished = lines.pop()!;
  for (const line of lines) socket.send(line);
}
