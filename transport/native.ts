/**
 * The default transport: `Deno.serve` with `Deno.upgradeWebSocket`.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import type { Seat } from "../admission/admission.ts";
import { type Refusal, UNREADABLE } from "../admission/handshake.ts";
import type { Cause, Connection, Ending, Member, Membership } from "../hub.ts";
import { type Listener, watch } from "../lib/listener.ts";
import { CLOSE } from "./close.ts";
import type { ListenOptions, Transport } from "./transport.ts";

/** A message as the platform hands it over: text or binary. */
export type NativeMessage = string | ArrayBuffer;

/**
 * Carries the hub on the platform's own server. It takes whole messages only, so encoding is identity
 * and each delivery a system call.
 */
export const native: Transport<NativeMessage, NativeMessage> = {
  encode: (messages) => ({ all: messages, slice: (from, to) => messages.slice(from, to) }),
  maxBatchDeliveries: 8192,
  spareDescriptors: 64,
  listen,
};

/** The time that a socket may take from its upgrade until it is open; a client that vanishes in between is never reported. */
const OPENING_SECONDS = 2;

/** The time that an evicted client has to fall silent: no close frame passes messages under way. */
const FAREWELL_SECONDS = 0.1;

type Members = Membership<NativeMessage, NativeMessage>;

// deno-lint-ignore require-await -- other transports have to wait, so all errors are rejections.
async function listen(
  options: ListenOptions<NativeMessage, NativeMessage>,
): Promise<Listener> {
  // Without this each connection keeps a buffer as large as the largest message it was ever sent.
  Deno.env.set("DENO_USE_WRITEV", "1");

  const { members, idleTimeoutSeconds, certificate } = options;

  const server = Deno.serve({
    hostname: options.hostname,
    port: options.port,
    ...(certificate && { cert: certificate.cert, key: certificate.key }),
    onListen: () => {},
    onError: () => {
      options.countRejection(UNREADABLE.reason);
      return answer(UNREADABLE);
    },
  }, (request, info) => {
    const seat = options.admit({
      method: request.method,
      target: targetOf(request),
      headers: [...request.headers.keys()].length,
      hosts: request.headers.has("host") ? 1 : 0, // The platform itself refuses more.
      header: (name) => request.headers.get(name),
    }, info.remoteAddr as Deno.NetAddr);
    if ("status" in seat) return answer(seat);
    try {
      // All that may fail comes first: after the upgrade only its own response may be returned.
      const { socket, response } = Deno.upgradeWebSocket(request, {
        idleTimeout: idleTimeoutSeconds,
      });
      attach(members, socket, seat);
      // By hand, since the platform finds a subprotocol only where a space follows each comma.
      if (seat.subprotocol) response.headers.set("sec-websocket-protocol", seat.subprotocol);
      return response;
    } catch (error) {
      seat.release();
      throw error;
    }
  });

  return watch(server);
}

/** Finds what the request line asks for; the platform puts scheme and `Host`, of any form, before a path. */
function targetOf({ url, headers }: Request): string {
  const prefix = `${url.slice(0, url.indexOf(":"))}://${headers.get("host")}`;
  const target = url.startsWith(prefix) ? url.slice(prefix.length) : "";
  return target.startsWith("/") ? target : url;
}

/** Ties a socket to the hub: joined when it opens, messages while it is a member, left when it ends. */
function attach(members: Members, socket: WebSocket, seat: Seat): void {
  let member: Member | undefined;
  const opening = setTimeout(seat.release, OPENING_SECONDS * 1000);
  socket.onopen = () => {
    clearTimeout(opening);
    member = members.join(new NativeConnection(socket, seat));
  };
  socket.onmessage = ({ data }: MessageEvent<NativeMessage>) => {
    members.publish(
      member!,
      data,
      typeof data === "string" ? Buffer.byteLength(data) : data.byteLength,
    );
  };
  socket.onclose = (event) => {
    if (member) members.leave(member, causeOf(event));
  };
}

/** The transport's side of an open client. */
class NativeConnection implements Connection<NativeMessage> {
  readonly #socket: WebSocket;
  readonly #seat: Seat;

  constructor(socket: WebSocket, seat: Seat) {
    this.#socket = socket;
    this.#seat = seat;
  }

  get peer(): string {
    return this.#seat.peer;
  }

  backlog(): number {
    return this.#socket.bufferedAmount;
  }

  write(message: NativeMessage): void {
    this.#socket.send(message);
  }

  close(ending: Ending): void {
    const { code, reason } = CLOSE[ending];
    this.#socket.close(code, reason);
  }

  evict(ending: Ending): void {
    const timer = setTimeout(() => this.close(ending), FAREWELL_SECONDS * 1000);
    this.#socket.addEventListener("close", () => clearTimeout(timer), { once: true });
  }

  terminate(): void {} // The platform has no way; the close frame waits until TCP gives up.

  left(): void {
    this.#seat.release();
  }
}

/** Reads the platform's close event: it is clean after a close frame, and has 1001 after the idle timeout. */
function causeOf(event: CloseEvent): Cause {
  if (event.wasClean) return "closed";
  return event.code === 1001 ? "idle" : "error";
}

function answer({ status, headers, body }: Refusal): Response {
  return new Response(`${body}\n`, {
    status,
    headers: { ...headers, connection: "close" },
  });
}
