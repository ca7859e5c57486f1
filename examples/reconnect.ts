/**
 * A client that comes back by itself, without a gap. It prints each message, and connects again after
 * each end that is not its own fault.
 *
 *     deno run --allow-net examples/reconnect.ts ws://localhost:8443/
 *
 * @module
 */

import { Memory } from "./overlap.js";

const [url = "ws://localhost:8443/"] = Deno.args;
const FIRST_WAIT_MS = 1000, LONGEST_WAIT_MS = 30_000, QUIET_MS = 2000;

// After these close codes the client has to change before it may come back, except that a slow
// client may simply try again.
const OWN_FAULT = [1002, 1007, 1008, 1009];

const memory = new Memory(); // Finds the new messages among those that the relay sends again.
let longestWait = FIRST_WAIT_MS;

function show({ messages, missing }: ReturnType<Memory["take"]>): void {
  if (missing) console.error("Messages may be missing here.");
  for (const message of messages) console.log(message);
}

function connect(): void {
  const socket = new WebSocket(`${url}?${memory.query()}`);
  socket.binaryType = "arraybuffer";
  let openedAt = Infinity, quiet: ReturnType<typeof setTimeout> | undefined;
  const heard = () => {
    clearTimeout(quiet);
    quiet = setTimeout(() => show(memory.settle()), QUIET_MS);
  };
  socket.onopen = () => {
    console.error(`Connected to ${url}`);
    openedAt = performance.now();
    memory.connected();
    heard();
  };
  socket.onmessage = ({ data }) => {
    show(memory.take(data));
    heard();
  };
  socket.onclose = ({ code, reason }) => {
    clearTimeout(quiet);
    console.error(`Disconnected from ${url} (${`code ${code} ${reason}`.trimEnd()})`);
    if (OWN_FAULT.includes(code) && reason !== "slow consumer") Deno.exit(1);
    if (performance.now() - openedAt > LONGEST_WAIT_MS) longestWait = FIRST_WAIT_MS;
    setTimeout(connect, Math.random() * longestWait);
    longestWait = Math.min(2 * longestWait, LONGEST_WAIT_MS);
  };
}

connect();
