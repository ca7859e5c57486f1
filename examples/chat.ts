/**
 * A chat in the terminal. It sends each line that is typed, and prints the messages of all clients. It
 * connects again when the connection is lost.
 *
 *     deno run --allow-net examples/chat.ts ws://localhost:8443 alice
 *
 * If the relay has rooms, the path of the URL is the room. Ctrl-D leaves once the relay has relayed all
 * lines, and Ctrl-C leaves at once. If the relay requires a token, set the environment variable CHAT_TOKEN
 * and add --allow-env=CHAT_TOKEN.
 *
 * @module
 */

import process from "node:process";
import { createInterface } from "node:readline";
import { Memory } from "./overlap.js";

// A message is text of the form {name}<br>{message_text}, as in chat.html.
const SEPARATOR = "<br>";
const MAX_UNHEARD = 1000; // Bounds the list even if the relay sends nothing back.
const PATIENCE_MS = 2000; // The time to wait for the relay's last messages and its history.
const SOON_MS = 250, LATER_MS = 1000, PAUSE_MS = 5000, MAX_DELAY_MS = 30_000;
const STABLE_MS = 10_000; // A connection that lasts this long resets the delays.

const coloured = Deno.stdout.isTerminal() && !Deno.noColor;
const bold = (text: string) => coloured ? `\x1b[1;36m${text}\x1b[0m` : text;
const dim = (text: string) => coloured ? `\x1b[2m${text}\x1b[0m` : text;

/** Makes control characters visible and harmless: escape sequences, line breaks and text directions. */
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

/** The address and the user's name, from the arguments. */
const [url, name, ...rest] = Deno.args;
if (!url || !name || rest.length > 0) {
  exit(2, "Usage: deno run --allow-net examples/chat.ts URL NAME");
}
if (name.includes(SEPARATOR)) exit(2, `NAME must not contain ${SEPARATOR}, got ${name}`);
const mayReadToken = await Deno.permissions.query({ name: "env", variable: "CHAT_TOKEN" });
const token = mayReadToken.state === "granted" ? Deno.env.get("CHAT_TOKEN") : undefined;

const HINTS: [sign: RegExp, hint: string][] = [
  [/\b401$/, "(it wants a token that is right: CHAT_TOKEN, with --allow-env=CHAT_TOKEN)"],
  [/\b403$/, "(this room is not for this token)"],
  [/\b(400|404|414)$/, "(it has no such room)"],
  [/\b(429|503)$/, "(it is full, or shutting down)"],
  [/HTTP version/, "(if it speaks TLS, the address begins with wss://)"],
  [/certificate|NoApplicationProtocol/, "(is its certificate trusted? see --cert)"],
  [/(tcp|dns)/, "(is a relay running there?)"],
];
/** The errors that may be temporary. */
const PASSING = /\b(429|5\d\d)$|tcp|dns|EOF|reset/i;

/** The advice to print for a close reason. */
const ADVICE: Record<string, string> = {
  "message too big": "What was sent last was too long, and was not passed on.",
  "message rate exceeded": "Lines came faster than allowed, and were not all passed on.",
  "not allowed to send": "You may listen here, but not talk.",
  "token expired": "Get a new token.",
};
/** The delay before connecting again, by close code and reason; 0 for never. Default: {@link LATER_MS}. */
const DELAYS_MS: Record<string, number> = {
  "1001": SOON_MS,
  "1002": 0,
  "1007": 0,
  "1008": 0,
  "1008 message rate exceeded": PAUSE_MS,
  "1008 not allowed to send": SOON_MS,
  "1008 slow consumer": PAUSE_MS,
  "1012": SOON_MS,
};

const memory = new Memory(firstQuestion(url));
const unheard: string[] = []; // Sent lines that have not come back.
let socket: WebSocket;
let connected = Promise.withResolvers<void>();
let everConnected = false, mayTalk = true, leaving = false;
let breaks = 0, attempts = 0;
let lost = 0; // The number of lines that did not come back although later ones did.
let silence: ReturnType<typeof setTimeout>; // The timer that fires when the replay is over.

/** Finds how many messages the URL asks for; `undefined` for the default. */
function firstQuestion(url: string): number | undefined {
  const last = URL.parse(url)?.searchParams.get("last");
  return last ? Number(last) : undefined;
}

function connect(): void {
  try {
    const here = new URL(url);
    for (const parameter of ["last", "since"]) here.searchParams.delete(parameter);
    const [parameter, value] = memory.query().split("=");
    here.searchParams.append(parameter, value);
    socket = new WebSocket(here, token ? ["relay", `bearer.${token}`] : []);
  } catch (error) {
    exit(2, `Cannot connect to ${url}:`, (error as Error).message);
  }
  socket.binaryType = "arraybuffer";
  let opened: number | undefined, problem = "";
  socket.onopen = () => {
    opened = performance.now();
    memory.connected();
    waitForSilence();
    const again = everConnected ? " again" : "";
    console.error(dim(`Connected${again} to ${url} as ${name}. Ctrl-C leaves.`));
    if (!everConnected) talk();
    everConnected = true;
    connected.resolve();
  };
  socket.onmessage = ({ data }) => {
    waitForSilence();
    show(memory.take(data));
  };
  socket.onerror = (event) => problem = event instanceof ErrorEvent ? event.message : "";
  socket.onclose = ({ code, reason }) => {
    clearTimeout(silence);
    if (leaving) finish();
    if (opened && performance.now() - opened > STABLE_MS) attempts = 0;
    if (opened) ended(code, reason);
    else refused(problem.replace("NetworkError: failed to connect to WebSocket: ", "").trim());
  };
}

function refused(problem: string): void {
  const words = `Cannot connect to ${url}: ${problem}`;
  const [hint] = HINTS.filter(([sign]) => sign.test(problem)).map(([, hint]) => hint);
  if (everConnected && PASSING.test(problem)) return comeBack(words, LATER_MS);
  exit(1, words, ...(hint ? [hint] : []));
}

function ended(code: number, reason: string): void {
  connected = Promise.withResolvers();
  breaks++;
  const end = `${code} ${reason}`.trim();
  const advice = ADVICE[reason] ? ` ${ADVICE[reason]}` : "";
  const words = `The relay has ended the connection (code ${end}).${advice}`;
  if (reason === "not allowed to send") mayTalk = false;
  const delay = DELAYS_MS[end] ?? DELAYS_MS[code] ?? LATER_MS;
  if (delay === 0 || (!mayTalk && !Deno.stdin.isTerminal())) exit(1, words);
  comeBack(words, delay);
}

function comeBack(words: string, firstDelay: number): void {
  // Half of the delay is random, so that clients do not all come back at the same moment.
  const longest = Math.min(MAX_DELAY_MS, firstDelay * 2 ** attempts++);
  const delay = longest * (1 + Math.random()) / 2;
  console.error(dim(escapeControls(`${words} Trying again in ${Math.ceil(delay / 1000)} s.`)));
  setTimeout(connect, delay);
}

function waitForSilence(): void {
  clearTimeout(silence);
  silence = setTimeout(() => show(memory.settle()), PATIENCE_MS);
}

function show({ messages, missing }: ReturnType<Memory["take"]>): void {
  if (missing) console.error(dim("Messages may be missing here."));
  for (const message of messages) {
    const mine = unheard.indexOf(message);
    if (mine > 0) lost += mine; // The relay keeps the order, so earlier lines are lost.
    unheard.splice(0, mine + 1);
    const typed = mine >= 0 && Deno.stdin.isTerminal(); // It is on the screen already.
    if (!typed) console.log(format(message));
  }
}

async function talk(): Promise<void> {
  for await (const line of createInterface({ input: process.stdin })) {
    if (line.trim() === "") continue;
    await connected.promise;
    if (!mayTalk) {
      console.error(dim(ADVICE["not allowed to send"]));
      continue;
    }
    const message = `${name}${SEPARATOR}${line}`;
    unheard.push(message);
    if (unheard.length > MAX_UNHEARD) unheard.shift();
    socket.send(message);
  }
  const deadline = performance.now() + PATIENCE_MS;
  while (unheard.length > 0 && performance.now() < deadline) await sleep(10);
  leave();
}

function leave(): void {
  leaving = true;
  if (socket.readyState !== WebSocket.OPEN) finish();
  socket.close(1000);
  setTimeout(() => exit(1, "The relay did not say goodbye."), PATIENCE_MS);
}

function finish(): never {
  const doubtful = lost + (breaks > 0 ? unheard.length : 0); // Without breaks, the relay has no echo.
  if (doubtful > 0) exit(1, `Lines that may not have been passed on: ${doubtful}.`);
  exit(0);
}

function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

Deno.addSignalListener("SIGINT", function interrupted() {
  Deno.removeSignalListener("SIGINT", interrupted);
  leave();
});
connect();
