/**
 * Sockets for the load generator. On Bun they are Bun's own sockets, and elsewhere those of `node:net`.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { connect } from "node:net";
import { connect as connectTls } from "node:tls";

/** The options of a connection. */
export interface SocketOptions {
  readonly hostname: string;
  readonly port: number;
  readonly tls: boolean;
  onData(chunk: Uint8Array): void;
  onClose(): void;
}

/** The part of a socket that the load generator uses. */
export interface Socket {
  write(bytes: Uint8Array): void;
  /** Stops reading. */
  pause(): void;
  end(): void;
}

interface BunSocket {
  write(bytes: Uint8Array): number;
  pause(): void;
  end(): void;
}

declare const Bun: {
  connect(options: {
    hostname: string;
    port: number;
    tls?: { rejectUnauthorized: boolean };
    socket: {
      handshake?(socket: BunSocket): void;
      open?(socket: BunSocket): void;
      data(socket: BunSocket, chunk: Uint8Array): void;
      drain(socket: BunSocket): void;
      close(): void;
      error(): void;
    };
  }): Promise<BunSocket>;
} | undefined;

/** Opens a connection. */
export function connectSocket(options: SocketOptions): Promise<Socket> {
  return typeof Bun === "undefined" ? onNode(options) : onBun(options);
}

function onNode({ hostname, port, tls, onData, onClose }: SocketOptions): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const ready = () => resolve(socket);
    const socket = tls
      ? connectTls({ host: hostname, port, rejectUnauthorized: false }, ready)
      : connect({ host: hostname, port, noDelay: true }, ready);
    socket.on("error", reject);
    socket.on("data", onData);
    socket.on("close", onClose);
  });
}

/** Connects on Bun, whose sockets write only as much as fits into the kernel's buffer. */
async function onBun(options: SocketOptions): Promise<Socket> {
  const { hostname, port, tls, onData, onClose } = options;
  const ready = Promise.withResolvers<void>();
  let waiting: Uint8Array | null = null;
  const write = (bytes: Uint8Array) => {
    if (waiting) {
      waiting = Buffer.concat([waiting, bytes]);
      return;
    }
    const written = Math.max(0, socket.write(bytes));
    if (written < bytes.length) waiting = bytes.slice(written);
  };
  const socket = await Bun!.connect({
    hostname,
    port,
    ...(tls ? { tls: { rejectUnauthorized: false } } : {}),
    socket: {
      ...(tls ? { handshake: () => ready.resolve() } : { open: () => ready.resolve() }),
      data: (_socket, chunk) => onData(chunk),
      drain() {
        const bytes = waiting;
        waiting = null;
        if (bytes) write(bytes);
      },
      close: onClose,
      error: onClose,
    },
  });
  await ready.promise;
  return { write, pause: () => socket.pause(), end: () => socket.end() };
}
