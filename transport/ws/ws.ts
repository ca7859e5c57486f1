/**
 * The transport for the open internet and for large fan-out: `node:http` or `node:https` with the
 * `ws` package.
 *
 * @module
 */

import { STATUS_CODE, STATUS_TEXT } from "@std/http";
import { Buffer } from "node:buffer";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { Socket } from "node:net";
// @ts-types="npm:@types/ws@8.18.1"
import { WebSocketServer } from "ws";
import type { Seat } from "../../admission/admission.ts";
import {
  type HandshakeRequest,
  HEAD_TOO_LARGE,
  MAX_HEAD_BYTES,
  UNREADABLE,
} from "../../admission/handshake.ts";
import { listOf } from "../../admission/request.ts";
import { settlesWithin } from "../../lib/timeout.ts";
import { Publisher } from "../http/publish.ts";
import type { Answer, ListenOptions, Transport, TransportListener } from "../transport.ts";
import { ReasonedWebSocket, WsClients } from "./clients.ts";
import { bufferOf, writeFrames } from "../frames.ts";
import { encode, unpack, type WsMessage } from "./frames.ts";
import { openPort } from "./port.ts";

export type { WsMessage } from "./frames.ts";

const HANDSHAKE_TIMEOUT_SECONDS = 10;

/** How many fragments a message may have beyond one for each byte: empty ones. */
const SPARE_FRAGMENTS = 16 * 1024;

/** Carries the hub on `ws`. The frames of a batch are built once; every socket is given the same buffer. */
export const ws: Transport<WsMessage, Buffer> = {
  encode,
  pack: writeFrames,
  unpack,
  maxBatchDeliveries: Infinity,
  // Connections that were accepted only to be closed are among them: rushes of thousands overran 100.
  spareDescriptors: 320,
  listen,
};

async function listen(options: ListenOptions<WsMessage, Buffer>): Promise<TransportListener> {
  const { members, certificate } = options;
  const head = { maxHeaderSize: MAX_HEAD_BYTES };
  const tls = certificate &&
    createTlsServer({
      ...head,
      cert: certificate.cert,
      key: certificate.key,
      ALPNProtocols: ["http/1.1"],
    });
  const server: Server = tls ?? createServer(head);
  // Beyond this the platform closes connections at once, before it runs out of descriptors.
  server.maxConnections = mostConnections(options.maxDescriptors ?? Infinity);
  const handshakes = new Handshakes(server, options.handshakeTimeoutSeconds);
  const clients = new WsClients(members);
  const subprotocols = new WeakMap<IncomingMessage, string | null>();
  const upgrader = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: options.maxMessageBytes,
    ...{ maxFragments: options.maxMessageBytes + SPARE_FRAGMENTS }, // Its type declarations leave it out.
    handleProtocols: (_offered, request) => subprotocols.get(request) ?? false,
    WebSocket: ReasonedWebSocket,
  });

  const admit = (request: IncomingMessage, then: (admitted: Seat | Answer) => void): void => {
    const { remoteAddress: hostname = "unknown", remotePort: port = 0 } = request.socket;
    const peer = "path" in options.address ? null : { hostname, port };
    const admitted = options.admit(read(request), peer);
    if (admitted instanceof Promise) void admitted.then(then);
    else then(admitted);
  };
  const publisher = new Publisher({
    members,
    maxMessageBytes: options.maxMessageBytes,
    countRejection: options.countRejection,
    message: (payload, binary): WsMessage => ({ payload: bufferOf(payload), binary }),
  });
  const asked = new WeakSet<Socket>();
  const take = (request: IncomingMessage, response: ServerResponse, goOn = () => {}): void => {
    if (asked.has(request.socket)) { // It is ended after its first answer, so others never leave.
      options.countRejection(UNREADABLE.reason);
      return respond(request, response, UNREADABLE);
    }
    asked.add(request.socket);
    admit(request, async (admitted) => {
      if ("status" in admitted) return respond(request, response, admitted);
      try {
        respond(request, response, await publish(request, admitted, goOn));
      } finally {
        admitted.release();
      }
    });
  };
  const publish = async (request: IncomingMessage, seat: Seat, goOn: () => void) => {
    if (request.method !== "POST") return UNREADABLE; // A handshake that the platform did not take for one.
    const { "content-type": type = null, "content-length": length = null } = request.headers;
    const refusal = publisher.refuse({ type, length });
    if (refusal) return refusal;
    goOn();
    handshakes.extend(request.socket, publisher.seconds + HANDSHAKE_TIMEOUT_SECONDS); // And for the answer.
    return await publisher.publish(seat, { type, length }, request);
  };
  server.on("request", (request, response) => take(request, response));
  server.on("checkContinue", (request, response) => {
    take(request, response, () => response.writeContinue());
  });
  server.on("upgrade", (request: IncomingMessage, socket: Socket, rest: Buffer) => {
    socket.on("error", () => {}); // Its close follows, and says all there is to say.
    admit(request, (seat) => {
      if ("status" in seat) return socket.end(answer(seat));
      if (socket.destroyed) return seat.release(); // It went away while its token was checked.
      socket.once("close", seat.release);
      subprotocols.set(request, seat.subprotocol);
      tidy(request);
      upgrader.handleUpgrade(request, socket, rest, (client) => {
        handshakes.finished(socket);
        clients.add(client, socket, seat);
      });
    });
  });
  server.on("connect", (request: IncomingMessage, socket: Socket) => {
    socket.on("error", () => {});
    admit(request, (seat) => socket.end(answer("status" in seat ? seat : UNREADABLE)));
  });
  upgrader.on("wsClientError", (_error, socket) => {
    options.countRejection(UNREADABLE.reason);
    (socket as Socket).end(answer(UNREADABLE));
  });
  server.on("clientError", ({ code }: NodeJS.ErrnoException, socket) => {
    if (!socket.writable) return socket.destroy(); // It went away in the middle.
    const refusal = code === "HPE_HEADER_OVERFLOW" ? HEAD_TOO_LARGE : UNREADABLE;
    options.countRejection(refusal.reason);
    socket.end(answer(refusal));
  });

  const port = await openPort(server, options.address);
  clients.watch(options.idleTimeoutSeconds);
  return {
    port: port.number,
    died: port.died,
    replaceCertificate: tls ? ({ cert, key }) => tls.setSecureContext({ cert, key }) : undefined,
    async stop(graceSeconds) {
      const closed = port.close();
      await new Promise((resolve) => setTimeout(resolve)); // The last answers are on their way.
      handshakes.abort();
      clients.stop();
      await settlesWithin(graceSeconds, closed);
    },
  };
}

/** Tells how many connections fit; where few files may be open, half of them are for clients all the same. */
function mostConnections(maxDescriptors: number): number {
  return Math.max(maxDescriptors - ws.spareDescriptors, Math.floor(maxDescriptors / 2));
}

/** The connections that have not become WebSockets: none may stay so for long. */
class Handshakes {
  /** Each one's socket and timer, by the name of the connection. */
  readonly #pending = new Map<
    Socket | string,
    { socket: Socket; timer: ReturnType<typeof setTimeout> }
  >();

  constructor(server: Server, timeoutSeconds = HANDSHAKE_TIMEOUT_SECONDS) {
    // With TLS this is the socket beneath, so an unfinished TLS handshake counts as well.
    server.on("connection", (socket: Socket) => {
      const timer = setTimeout(() => socket.destroy(), timeoutSeconds * 1000);
      const name = nameOf(socket);
      this.#pending.set(name, { socket, timer });
      socket.once("close", () => this.#remove(name));
    });
  }

  /** Lets a connection live on as a WebSocket. */
  finished(socket: Socket): void {
    this.#remove(nameOf(socket));
  }

  /** Gives a connection so much time from now on. */
  extend(socket: Socket, seconds: number): void {
    const pending = this.#pending.get(nameOf(socket));
    if (!pending) return;
    clearTimeout(pending.timer);
    pending.timer = setTimeout(() => pending.socket.destroy(), seconds * 1000);
  }

  /** Ends all that are left. */
  abort(): void {
    for (const { socket } of this.#pending.values()) socket.destroy();
  }

  #remove(name: Socket | string): void {
    clearTimeout(this.#pending.get(name)?.timer);
    this.#pending.delete(name);
  }
}

/** Names a connection: by the address of its peer, since with TLS there are two sockets to one, else by itself. */
function nameOf(socket: Socket): Socket | string {
  const { remoteAddress, remotePort } = socket;
  return remoteAddress ? `${remoteAddress} ${remotePort}` : socket;
}

/** Reads what a decision needs. */
function read(request: IncomingMessage): HandshakeRequest {
  const { method = "", url = "", headers, rawHeaders, httpVersion } = request;
  const names = rawHeaders.filter((_, at) => at % 2 === 0).map((name) => name.toLowerCase());
  const hosts = names.filter((name) => name === "host").length;
  return {
    method,
    target: url,
    headers: names.length,
    hosts: httpVersion === "1.0" ? Math.max(hosts, 1) : hosts, // HTTP/1.0 has no Host.
    header: (name) => headers[name]?.toString() ?? null,
  };
}

/** Leaves of a handshake that was admitted only what the library understands. */
function tidy({ headers }: IncomingMessage): void {
  headers.upgrade = "websocket"; // It allows no other protocols beside it,
  const offered = headers["sec-websocket-protocol"]; // and no empty items in the list.
  const names = listOf(offered ?? null);
  if (names.length > 0) headers["sec-websocket-protocol"] = names.join(",");
  else delete headers["sec-websocket-protocol"];
}

function headersOf(headers: Answer["headers"], body: string): Record<string, string | number> {
  return {
    "connection": "close",
    "content-type": "text/plain;charset=UTF-8",
    "content-length": Buffer.byteLength(body) + 1,
    ...headers,
  };
}

/** Answers a request, and reads on what is left of it, since the answer to one that is not read gets lost. */
function respond(request: IncomingMessage, response: ServerResponse, answer: Answer): void {
  const { status, headers, body } = answer;
  request.resume();
  if (status === STATUS_CODE.NoContent) response.writeHead(status, { connection: "close" }).end();
  else response.writeHead(status, headersOf(headers, body)).end(`${body}\n`);
}

/** Writes a refusal for a connection that `node:http` has handed over. */
function answer({ status, headers, body }: Answer): string {
  const fields = Object.entries(headersOf(headers, body)).map(([name, value]) =>
    `${name}: ${value}`
  );
  const text = STATUS_TEXT[status as keyof typeof STATUS_TEXT];
  return [`HTTP/1.1 ${status} ${text}`, ...fields, "", `${body}\n`].join("\r\n");
}
