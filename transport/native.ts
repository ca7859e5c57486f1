/**
 * The default transport: `Deno.serve` with `Deno.upgradeWebSocket`.
 *
 * @module
 */

import { STATUS_CODE } from "@std/http";
import { Buffer } from "node:buffer";
import type { Seat } from "../admission/admission.ts";
import type { Refusal } from "../admission/handshake.ts";
import type { Cause, Close, Connection, Hub, Member } from "../hub.ts";
import { type Listener, watch } from "../lib/listener.ts";
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

/** How long a socket may take from its upgrade until it is open; who vanishes in between is never reported. */
const OPENING_SECONDS = 2;

/** How long a client that is evicted may take to fall silent: no close frame passes messages under way. */
const FAREWELL_SECONDS = 0.1;

type NativeHub = Hub<NativeMessage, NativeMessage>;

// deno-lint-ignore require-await -- other transports have to wait, so all errors are rejections.
async function listen(
  options: ListenOptions<NativeMessage, NativeMessage>,
): Promise<Listener> {
  // Without this each connection keeps a buffer as large as the largest message it was ever sent.
  Deno.env.set("DENO_USE_WRITEV", "1");

  const { hub, admission, idleTimeoutSeconds, certificate } = options;

  const server = Deno.serve({
    hostname: options.hostname,
    port: options.port,
    ...(certificate && { cert: certificate.cert, key: certificate.key }),
    onListen: () => {},
    onError: () => {
      hub.reject("bad_request");
      return new Response("the request could not be understood\n", {
        status: STATUS_CODE.BadRequest,
      });
    },
  }, (request, info) => {
    const seat = admission.admit({
      method: request.method,
      path: URL.parse(request.url)?.pathname ?? "",
      header: (name) => request.headers.get(name),
    }, info.remoteAddr as Deno.NetAddr);
    if ("status" in seat) return answer(seat);
    try {
      // All that may fail comes first: after the upgrade only its own response may be returned.
      const { socket, response } = Deno.upgradeWebSocket(request, {
        idleTimeout: idleTimeoutSeconds,
      });
      attach(hub, socket, seat);
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

/** Ties a socket to the hub: joined when it opens, messages while it is a member, left when it ends. */
function attach(
  hub: NativeHub,
  socket: WebSocket,
  seat: Seat,
): void {
  let member: Member<NativeMessage> | undefined;
  const opening = setTimeout(seat.release, OPENING_SECONDS * 1000);
  socket.onopen = () => {
    clearTimeout(opening);
    member = hub.join(new NativeConnection(socket, seat));
  };
  socket.onmessage = ({ data }: MessageEvent<NativeMessage>) => {
    hub.publish(
      member!,
      data,
      typeof data === "string" ? Buffer.byteLength(data) : data.byteLength,
    );
  };
  socket.onclose = (event) => {
    if (member) hub.leave(member, causeOf(event));
  };
}

/** What the hub is given of an open client. */
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

  close({ code, reason }: Close): void {
    this.#socket.close(code, reason);
  }

  evict(close: Close): void {
    const timer = setTimeout(() => this.close(close), FAREWELL_SECONDS * 1000);
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
