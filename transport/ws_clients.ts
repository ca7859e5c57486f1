/**
 * The open clients of the `ws` transport: what they send, their silence, and their ends.
 *
 * @module
 */

import type { Buffer } from "node:buffer";
import type { Socket } from "node:net";
// @ts-types="npm:@types/ws@8.18.1"
import { WebSocket } from "ws";
import { CLOSE, type Connection, type Hub } from "../hub.ts";
import type { Seat } from "../admission.ts";
import type { WsMessage } from "./ws_frames.ts";

/** Gives the close frame that `ws` itself sends for a message that is too big the reason of the contract. */
export class ReasonedWebSocket extends WebSocket {
  /** Closes as `ws` does, with a reason for 1009. */
  override close(code?: number, reason?: string | Buffer): void {
    super.close(code, reason ?? (code === CLOSE.too_big.code ? CLOSE.too_big.reason : undefined));
  }
}

/** How long a client that is evicted has to take its close frame. */
const FAREWELL_SECONDS = 1;

/** How often within the idle timeout all clients are looked at. */
const SWEEPS = 20;

/** After so many sweeps in silence a client is pinged: half of the timeout has passed for certain. */
const PING_AFTER = SWEEPS / 2;

/** After so many sweeps in silence a client is dropped: the timeout has passed for certain. */
const DROP_AFTER = SWEEPS;

/** What is known of an open client. */
interface Client {
  /** Drops it for its silence. */
  drop(): void;
  readonly socket: Socket;
  readonly webSocket: WebSocket;
  /** How much it had sent at the last sweep. */
  bytesRead: number;
  /** For how many sweeps it has sent nothing. */
  silence: number;
}

/** Ties open clients to a hub, and drops those that are silent. */
export class WsClients {
  readonly #hub: Hub<WsMessage, Buffer>;
  readonly #clients = new Set<Client>();
  #sweeping: ReturnType<typeof setInterval> | undefined;

  /** Begins without clients. */
  constructor(hub: Hub<WsMessage, Buffer>) {
    this.#hub = hub;
  }

  /** Begins to watch for silence. */
  watch(idleTimeoutSeconds: number): void {
    this.#sweeping = setInterval(() => this.#sweep(), idleTimeoutSeconds * 1000 / SWEEPS);
  }

  /** Makes an open client a member, until it ends. */
  add(webSocket: WebSocket, socket: Socket, seat: Seat): void {
    const hub = this.#hub;
    const member = hub.join(connection(webSocket, socket, seat));
    const client: Client = {
      drop() {
        hub.leave(member, "idle");
        webSocket.terminate();
      },
      socket,
      webSocket,
      bytesRead: socket.bytesRead,
      silence: 0,
    };
    this.#clients.add(client);
    webSocket.on("message", (data, binary) => {
      const payload = data as Buffer; // The type that `ws` is set to hand over.
      hub.publish(member, { payload, binary }, payload.length);
    });
    webSocket.on("error", (error) => {
      const { code } = error as NodeJS.ErrnoException;
      hub.leave(member, code === "WS_ERR_UNSUPPORTED_MESSAGE_LENGTH" ? "too_big" : "error");
      terminateSoon(webSocket);
    });
    webSocket.on("close", (code) => {
      this.#clients.delete(client);
      hub.leave(member, code === NO_CLOSE_FRAME ? "error" : "closed");
    });
  }

  /** Stops watching. */
  stop(): void {
    clearInterval(this.#sweeping);
  }

  #sweep(): void {
    for (const client of this.#clients) {
      const { bytesRead } = client.socket;
      if (bytesRead !== client.bytesRead) {
        client.bytesRead = bytesRead;
        client.silence = 0;
      } else if (++client.silence === PING_AFTER) {
        client.webSocket.ping();
      } else if (client.silence === DROP_AFTER) {
        client.drop();
      }
    }
  }
}

/** The code of a connection that ended without a close frame (RFC 6455 §7.1.5). */
const NO_CLOSE_FRAME = 1006;

function connection(
  webSocket: WebSocket,
  socket: Socket,
  { peer, release }: Seat,
): Connection<Buffer> {
  return {
    peer,
    backlog: () => socket.writableLength,
    write: (frames) => void socket.write(frames),
    close: ({ code, reason }) => webSocket.close(code, reason),
    evict({ code, reason }) {
      if (socket.writableLength > 0) return webSocket.terminate();
      webSocket.close(code, reason);
      terminateSoon(webSocket);
    },
    terminate: () => webSocket.terminate(),
    pause: () => webSocket.pause(),
    resume: () => webSocket.resume(),
    left: release,
  };
}

/** Leaves a client a moment to take what was sent last. */
function terminateSoon(webSocket: WebSocket): void {
  const timer = setTimeout(() => webSocket.terminate(), FAREWELL_SECONDS * 1000);
  webSocket.once("close", () => clearTimeout(timer));
}
