/**
 * The default transport: `Deno.serve` with `Deno.upgradeWebSocket`.
 *
 * @module
 */

import { STATUS_CODE } from "@std/http";
import { Buffer } from "node:buffer";
import type { Seat } from "../admission/admission.ts";
import { UNREADABLE } from "../admission/decision.ts";
import type { Cause, Connection, Encoded, Ending, Member, Membership } from "../hub.ts";
import { keepServing, type Listener, type TcpAddress } from "../lib/listener.ts";
import { CLOSE } from "./close.ts";
import { Publisher } from "./http/publish.ts";
import { Seated } from "./seated.ts";
import { bufferOf, type Framed, readFrames, writeFrames } from "./frames.ts";
import type { Answer, ListenOptions, Transport } from "./transport.ts";
import { SLOWEST_LINE } from "./unread.ts";

/** A message of the platform: text or binary. */
export type NativeMessage = string | ArrayBuffer;

/**
 * Carries the hub on the platform's own server. The platform takes only whole messages, so there is nothing to
 * encode, and each delivery is a system call.
 */
export const native: Transport<NativeMessage, NativeMessage> = {
  encode,
  pack: (messages) => writeFrames(messages.map(framedOf)),
  unpack: (frames) => encode(readFrames(frames).map(messageOf)),
  maxBatchDeliveries: 8192,
  spareDescriptors: 64,
  listen,
};

function encode(messages: readonly NativeMessage[]): Encoded<NativeMessage> {
  return {
    all: messages,
    slice: (from, to) => messages.slice(from, to),
    payloadBytes: (from, to) =>
      messages.slice(from, to).reduce((sum, message) => sum + bytesOf(message), 0),
  };
}

async function* noBody(): AsyncGenerator<Uint8Array> {}

function bytesOf(message: NativeMessage): number {
  return typeof message === "string" ? Buffer.byteLength(message) : message.byteLength;
}

function framedOf(message: NativeMessage): Framed {
  return { payload: Buffer.from(message as string), binary: typeof message !== "string" };
}

function messageOf({ payload, binary }: Framed): NativeMessage {
  return binary ? new Uint8Array(payload).buffer : payload.toString();
}

/** The time that a socket may take from its upgrade until it is open; a client that vanishes in between is never reported. */
const OPENING_SECONDS = 2;

/** The time between a handshake and its upgrade, see {@link settling}. */
const SETTLING_MILLISECONDS = { least: 5, spread: 10 };

/** The time for an evicted client to stop sending, because a close frame cannot pass messages in flight. */
const FAREWELL_SECONDS = 0.1;

/** How many times within the idle timeout the backlogs of all clients are checked. */
const SWEEPS = 10;

type Members = Membership<NativeMessage, NativeMessage>;

// deno-lint-ignore require-await -- other transports have to wait, so all errors are rejections.
async function listen(
  options: ListenOptions<NativeMessage, NativeMessage>,
): Promise<Listener> {
  // Without this, each connection keeps a buffer as large as the largest message that it was ever sent.
  Deno.env.set("DENO_USE_WRITEV", "1");

  const { members, idleTimeoutSeconds, certificate } = options;
  const clients = new Clients(members);
  const publisher = new Publisher({
    members,
    maxMessageBytes: options.maxMessageBytes,
    countRejection: options.countRejection,
    message: (payload, binary) => messageOf({ payload: bufferOf(payload), binary }),
  });

  async function publish(request: Request, seat: Seat): Promise<Answer> {
    const { headers } = request;
    const head = { type: headers.get("content-type"), length: headers.get("content-length") };
    try {
      return publisher.refuse(head) ??
        await publisher.publish(seat, head, request.body ?? noBody());
    } finally {
      seat.release();
    }
  }

  async function handle(
    request: Request,
    { remoteAddr }: Deno.ServeHandlerInfo,
  ): Promise<Response> {
    const { signal } = request; // Read first, because the platform reports a reset only from then on.
    const admitted = options.admit({
      method: request.method,
      target: targetOf(request),
      headers: [...request.headers.keys()].length,
      hosts: hostsOf(request),
      header: (name) => request.headers.get(name),
    }, "hostname" in remoteAddr ? remoteAddr : null);
    const seat = admitted instanceof Promise ? await admitted : admitted;
    if ("status" in seat) return answer(seat);
    if (request.method === "POST") return answer(await publish(request, seat));
    try {
      await settling();
      if (signal.aborted) {
        seat.release();
        return answer(UNREADABLE); // The client has gone.
      }
      // Everything that may fail comes first, because after the upgrade only its own response may be returned.
      const { socket, response } = Deno.upgradeWebSocket(request, {
        idleTimeout: idleTimeoutSeconds,
      });
      attach(members, clients, socket, seat);
      // By hand, because the platform finds a subprotocol only if a space follows each comma.
      if (seat.subprotocol) response.headers.set("sec-websocket-protocol", seat.subprotocol);
      return response;
    } catch (error) {
      seat.release();
      throw error;
    }
  }

  const listener = keepServing(options.address, (address) =>
    Deno.serve({
      ...address as TcpAddress, // The types do not know an address of either kind.
      ...(certificate && { cert: certificate.cert, key: certificate.key }),
      onListen: () => {},
      onError: () => {
        options.countRejection(UNREADABLE.reason);
        return answer(UNREADABLE);
      },
    }, handle));
  clients.watch(idleTimeoutSeconds);
  return {
    ...listener,
    async stop(graceSeconds) {
      clients.stop();
      await listener.stop(graceSeconds);
    },
  };
}

/**
 * Waits until most clients that reset right after their handshake are known to be gone. Deno 2.9 never releases
 * the descriptor of a client that is gone when it is upgraded. The time is random because resets come together,
 * and a fixed time would always meet them at the same moment.
 */
async function settling(): Promise<void> {
  const { least, spread } = SETTLING_MILLISECONDS;
  const pause = least + Math.random() * spread;
  await new Promise((resolve) => setTimeout(resolve, pause));
  await new Promise((resolve) => setImmediate(resolve));
  await new Promise((resolve) => setImmediate(resolve));
}

/**
 * Counts the `Host` headers: the platform refuses more than one by itself. HTTP/2, which it speaks with TLS, has
 * none, and cannot ask for an upgrade; curl and browsers post in it.
 */
function hostsOf({ url, headers }: Request): number {
  const mayBeHttp2 = url.startsWith("https:") && !headers.has("upgrade");
  return headers.has("host") || mayBeHttp2 ? 1 : 0;
}

/** Finds the target of the request line; the platform puts scheme and `Host`, in any form, before a path. */
function targetOf({ url, headers }: Request): string {
  const prefix = `${url.slice(0, url.indexOf(":"))}://${headers.get("host")}`;
  const target = url.startsWith(prefix) ? url.slice(prefix.length) : "";
  return target.startsWith("/") ? target : url;
}

/** Connects a socket to the hub: it joins when it opens, publishes while it is a member, and leaves when it ends. */
function attach(members: Members, clients: Clients, socket: WebSocket, seat: Seat): void {
  let member: Member | undefined, connection: NativeConnection;
  const opening = setTimeout(seat.release, OPENING_SECONDS * 1000);
  socket.onopen = () => {
    clearTimeout(opening);
    connection = new NativeConnection(socket, seat);
    member = members.join(connection);
    clients.add(connection, member);
  };
  socket.onmessage = ({ data }: MessageEvent<NativeMessage>) => {
    connection.heard = true;
    members.publish(member!, data, bytesOf(data));
  };
  socket.onclose = (event) => {
    if (!member) return;
    clients.delete(connection);
    members.leave(member, causeOf(event));
  };
}

/** The transport's side of an open client. */
class NativeConnection extends Seated implements Connection<NativeMessage> {
  /** Whether a message has arrived since the last sweep. */
  heard = false;
  readonly #socket: WebSocket;
  #backlog = 0;
  #silence = 0;

  constructor(socket: WebSocket, seat: Seat) {
    super(seat);
    this.#socket = socket;
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

  /** Ends the connection as far as the platform can, after everything that the client has not read. */
  abandon(): void {
    this.#socket.close();
  }

  terminate(): void {} // The platform cannot do this; the close frame waits until TCP gives up.

  /** Tells whether it was silent, and took nothing of its backlog, for the idle timeout and as long as a slow line needs. */
  sweep(seconds: number): boolean {
    const backlog = this.backlog();
    const silent = backlog > 0 && backlog >= this.#backlog && !this.heard;
    this.#silence = silent ? this.#silence + 1 : 0;
    this.#backlog = backlog;
    this.heard = false;
    return (this.#silence - SWEEPS) * seconds > backlog / SLOWEST_LINE;
  }
}

/**
 * The open clients, which are checked for silent ones that do not read. The platform's ping waits behind their
 * backlog, so its own idle timeout never finds them.
 */
class Clients {
  readonly #members: Members;
  readonly #clients = new Map<NativeConnection, Member>();
  #sweeping: ReturnType<typeof setInterval> | undefined;

  constructor(members: Members) {
    this.#members = members;
  }

  watch(idleTimeoutSeconds: number): void {
    const seconds = idleTimeoutSeconds / SWEEPS;
    this.#sweeping = setInterval(() => this.#sweep(seconds), seconds * 1000);
  }

  add(connection: NativeConnection, member: Member): void {
    this.#clients.set(connection, member);
  }

  delete(connection: NativeConnection): void {
    this.#clients.delete(connection);
  }

  stop(): void {
    clearInterval(this.#sweeping);
  }

  #sweep(seconds: number): void {
    for (const [connection, member] of this.#clients) {
      if (!connection.sweep(seconds)) continue;
      this.#clients.delete(connection);
      this.#members.leave(member, "idle");
      connection.abandon();
    }
  }
}

/** Reads the platform's close event, which is clean after a close frame, and has 1001 after the idle timeout. */
function causeOf(event: CloseEvent): Cause {
  if (event.wasClean) return "closed";
  return event.code === 1001 ? "idle" : "error";
}

function answer({ status, headers, body }: Answer): Response {
  return new Response(status === STATUS_CODE.NoContent ? null : `${body}\n`, {
    status,
    headers: { ...headers, connection: "close" },
  });
}
