/**
 * A bridge from a file to the relay: every line that is added to the file becomes a message.
 *
 *     deno run --allow-net --allow-read examples/tail.ts ws://localhost:8443 server.log
 *
 * @module
 */

const [url = "", path = ""] = Deno.args;
const PERIOD_MS = 250, MAX_UNSENT_BYTES = 256 * 1024;
const sleep = () => new Promise((resolve) => setTimeout(resolve, PERIOD_MS));
const file = await Deno.open(path).catch(() => null);
if (!file || !/^wss?:\/\//.test(url)) {
  console.error("Usage: deno run --allow-net --allow-read examples/tail.ts URL FILE_THAT_EXISTS");
  Deno.exit(2);
}
let position = await file.seek(0, Deno.SeekMode.End);
const socket = new WebSocket(url);
socket.onclose = ({ code, reason }) => {
  console.error(`No connection to ${url} (code ${code} ${reason})`);
  Deno.exit(1);
};
await new Promise((resolve) => socket.onopen = resolve);
console.error(`Lines added to ${path} go to ${url}`);

const decoder = new TextDecoder(), buffer = new Uint8Array(64 * 1024);
for (let unfinished = "";;) {
  while (socket.bufferedAmount > MAX_UNSENT_BYTES) await sleep();
  const bytes = await file.read(buffer);
  if (bytes === null) {
    await sleep();
    if ((await file.stat()).size < position) position = await file.seek(0, Deno.SeekMode.Start);
    continue;
  }
  position += bytes;
  const text = unfinished + decoder.decode(buffer.subarray(0, bytes), { stream: true });
  const lines = text.split("\n");
  unfinished = lines.pop()!;
  for (const line of lines) socket.send(line);
}
