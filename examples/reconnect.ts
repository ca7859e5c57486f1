/**
 * A client that comes back by itself. It prints each message, and connects again after each end that
 * is not its own fault.
 *
 *     deno run --allow-net examples/reconnect.ts ws://localhost:8443
 *
 * @module
 */

const [url = "ws://localhost:8443"] = Deno.args;
const SHORTEST_MS = 1000, LONGEST_MS = 30_000;

// After these close codes the client has to change before it may come back, except that a slow
// client may simply try again.
const OWN_FAULT = [1002, 1007, 1008, 1009];

let longestWait = SHORTEST_MS;

function connect(): void {
  const socket = new WebSocket(url);
  let openedAt = Infinity;
  socket.onopen = () => {
    openedAt = performance.now();
    console.error(`Connected to ${url}`);
  };
  socket.onmessage = ({ data }) => console.log(data);
  socket.onclose = ({ code, reason }) => {
    console.error(`Disconnected from ${url} (code ${code} ${reason})`);
    if (OWN_FAULT.includes(code) && reason !== "slow consumer") Deno.exit(1);
    if (performance.now() - openedAt > LONGEST_MS) longestWait = SHORTEST_MS; // It was a good connection.
    setTimeout(connect, Math.random() * longestWait);
    longestWait = Math.min(2 * longestWait, LONGEST_MS);
  };
}

connect();
