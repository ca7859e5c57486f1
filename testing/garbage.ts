/**
 * Garbage collection in a relay at a known time, so that memory which is still in use afterwards is
 * really needed or leaked.
 *
 * @module
 */

import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { bounded, until } from "./wait.ts";

/** The flag that a relay has to be started with. */
export const INSPECT = "--inspect=127.0.0.1:0";

/** Collects the garbage of a relay, over the Chrome DevTools Protocol. */
export async function collectGarbage(relay: { stderr: string }): Promise<void> {
  const address = () => /Debugger listening on (ws:\S+)/.exec(relay.stderr)?.[1];
  await until(() => address() !== undefined, "the debugger's address");
  const socket = new WebSocket(address()!);
  const closed = new Promise((resolve) => socket.onclose = resolve);
  await bounded(new Promise((resolve) => socket.onopen = resolve), "the debugger");
  const answered = new Promise((resolve) => socket.onmessage = resolve);
  socket.send(JSON.stringify({ id: 1, method: "HeapProfiler.collectGarbage" }));
  await bounded(answered, "a garbage collection");
  socket.close();
  await bounded(closed, "the debugger to go");
}

/** Collects the garbage of this process. */
export function collectOwnGarbage(): void {
  setFlagsFromString("--expose-gc");
  runInNewContext("gc")();
}
