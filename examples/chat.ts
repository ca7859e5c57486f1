/**
 * A chat in the terminal: lines go in, and what anybody says comes out.
 *
 *     deno run --allow-net examples/chat.ts ws://localhost:8443 alice
 *
 * Ctrl-D leaves once the relay has heard everything, Ctrl-C at once. If the relay wants a token, put it
 * into the environment as CHAT_TOKEN and add --allow-env=CHAT_TOKEN.
 *
 * @module
 */

import process from "node:process";
import { createInterface } from "node:readline";

// A message is text of the form {name}<br>{message_text}, as in chat.html.
const SEPARATOR = "<br>";
const MAX_UNHEARD = 1000; // A relay without echo sends none back.
const PATIENCE_MS = 2000; // For the relay's last word.

const coloured = Deno.stdout.isTerminal() && !Deno.noColor;
const bold = (text: string) => coloured ? `\x1b[1;36m${text}\x1b[0m` : text;
const dim = (text: string) => coloured ? `\x1b[2m${text}\x1b[0m` : text;

/** Shows control characters instead of obeying them: escape sequences, line breaks, directions. */
function escapeControls(text: string): string {
  return text.replace(/[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu, (character) => {
    const code = character.charCodeAt(0);
    return code < 0x20 ? String.fromCharCode(0x2400 + code) : "\ufffd";
  });
}

function format(data: string | ArrayBuffer): string {
  if (typeof data !== "string") return dim(`(binary message, ${data.byteLength} bytes)`);
  const end = data.indexOf(SEPARATOR);
  if (end < 1) return escapeControls(data);
  const name = escapeControls(data.slice(0, end)),
    text = escapeControls(data.slice(end + SEPARATOR.length));
  return `${bold(`${name}:`)} ${text}`;
}

function exit(code: number, ...words: string[]): never {
  if (words.length > 0) console.error(escapeControls(words.join(" ")));
  Deno.exit(code);
}

function open(url: string, token?: string): WebSocket {
  try {
    return new WebSocket(url, token ? ["relay", `bearer.${token}`] : []);
  } catch (error) {
    exit(2, `Cannot connect to ${url}:`, (error as Error).message);
  }
}

const HINTS: [sign: RegExp, hint: string][] = [
  [/\b401$/, "(it wants a token that is right: CHAT_TOKEN, with --allow-env=CHAT_TOKEN)"],
  [/\b(429|503)$/, "(it is full, or shutting down)"],
  [/HTTP version/, "(if it speaks TLS, the address begins with wss://)"],
  [/certificate|NoApplicationProtocol/, "(is its certificate trusted? see --cert)"],
  [/(tcp|dns)/, "(is a relay running there?)"],
];

const [url, name, ...rest] = Deno.args;
if (!url || !name || rest.length > 0) {
  exit(2, "Usage: deno run --allow-net examples/chat.ts URL NAME");
}
if (name.includes(SEPARATOR)) exit(2, `NAME must not contain ${SEPARATOR}, got ${name}`);
const mayReadToken = await Deno.permissions.query({ name: "env", variable: "CHAT_TOKEN" });
const token = mayReadToken.state === "granted" ? Deno.env.get("CHAT_TOKEN") : undefined;

const socket = open(url, token);
socket.binaryType = "arraybuffer";
const unheard: string[] = []; // Sent, and not come back.
let leaving = false;

function leave(): void {
  leaving = true;
  socket.close(1000);
  setTimeout(() => exit(1, "The relay did not say goodbye."), PATIENCE_MS);
}

Deno.addSignalListener("SIGINT", function interrupted() {
  Deno.removeSignalListener("SIGINT", interrupted);
  leave();
});

socket.onerror = (event) => {
  if (leaving || !(event instanceof ErrorEvent)) return;
  const reason = event.message.replace("NetworkError: failed to connect to WebSocket: ", "").trim();
  const hints = HINTS.filter(([sign]) => sign.test(reason)).map(([, hint]) => hint);
  exit(1, `Cannot connect to ${url}: ${reason}`, ...hints.slice(0, 1));
};
socket.onclose = ({ code, reason }) => {
  if (leaving) exit(0);
  exit(1, `The relay has ended the connection (code ${code} ${reason}).`);
};
socket.onmessage = ({ data }) => {
  const mine = unheard.indexOf(data); // The relay keeps the order: what was sent before is lost.
  unheard.splice(0, mine + 1);
  const typed = mine >= 0 && Deno.stdin.isTerminal(); // Then it stands there already.
  if (!typed) console.log(format(data));
};
socket.onopen = async () => {
  console.error(dim(`Connected to ${url} as ${name}. Ctrl-C leaves.`));
  for await (const line of createInterface({ input: process.stdin })) {
    if (line.trim() === "") continue;
    const message = `${name}${SEPARATOR}${line}`;
    unheard.push(message);
    if (unheard.length > MAX_UNHEARD) unheard.shift();
    socket.send(message);
  }
  const deadline = performance.now() + PATIENCE_MS;
  while (unheard.length > 0 && performance.now() < deadline) await sleep(10);
  leave();
};

function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
