/**
 * The events of sockets, and the owner that each socket reports them to. One function for all sockets takes less
 * memory than one for each socket.
 *
 * @module
 */

import type { Buffer } from "node:buffer";
import type { Socket } from "node:net";

/** What a socket reports to. */
export interface Owner {
  /** Takes the bytes that have arrived. */
  take(bytes: Buffer): void;
  /** Learns that no more bytes will arrive. */
  ended(): void;
  /** Learns that the connection is gone. */
  gone(): void;
}

const OWNER = Symbol("owner");

type Owned = Socket & { [OWNER]: Owner | null };

function onData(this: Owned, bytes: Buffer): void {
  this[OWNER]?.take(bytes);
}

function onEnd(this: Owned): void {
  this[OWNER]?.ended();
}

function onClose(this: Owned): void {
  this[OWNER]?.gone();
}

function onError(): void {} // The close event follows, and that is enough.

/** Begins to read a socket, and gives it to its first owner. */
export function listenTo(socket: Socket, owner: Owner): void {
  own(socket, owner);
  socket.on("error", onError).on("close", onClose).on("end", onEnd).on("data", onData);
}

/** Gives a socket to another owner; with `null`, whatever else arrives is ignored. */
export function own(socket: Socket, owner: Owner | null): void {
  (socket as Owned)[OWNER] = owner;
}

/** Releases a paused socket for a program that has its own functions for the events. */
export function letGo(socket: Socket): void {
  own(socket, null);
  socket.off("data", onData);
}
