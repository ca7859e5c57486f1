/**
 * The requests to the `ws` transport that do not ask for a WebSocket: health checks, messages by `POST`, and
 * requests that are refused. `node:http` reads and answers them.
 *
 * @module
 */

import { STATUS_CODE, STATUS_TEXT } from "@std/http";
import { Buffer } from "node:buffer";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Seat } from "../../admission/admission.ts";
import { MAX_HEAD_BYTES, UNREADABLE } from "../../admission/decision.ts";
import { bufferOf } from "../frames.ts";
import { Publisher } from "../http/publish.ts";
import type { Answer, ListenOptions } from "../transport.ts";
import type { WsMessage } from "./frames.ts";
import { letGo, own } from "./sockets.ts";

/** A request whose head was read, and how to go on with it. */
export interface Asked {
  /** Decides about the request. */
  admit(): Seat | Answer | Promise<Seat | Answer>;
  /** Gives its body so many seconds from now, and its answer the time of a handshake. */
  extend(seconds: number): void;
}

/** Answers requests, one per connection. */
export class Requests {
  readonly #publisher: Publisher<WsMessage>;
  readonly #countRejection: ListenOptions<WsMessage, Buffer>["countRejection"];
  readonly #server = createServer({ maxHeaderSize: MAX_HEAD_BYTES, requireHostHeader: false });
  readonly #asked = new WeakMap<Socket, Asked>();

  /** Begins without requests. */
  constructor({ members, maxMessageBytes, countRejection }: ListenOptions<WsMessage, Buffer>) {
    this.#countRejection = countRejection;
    this.#publisher = new Publisher({
      members,
      maxMessageBytes,
      countRejection,
      message: (payload, binary): WsMessage => ({ payload: bufferOf(payload), binary }),
    });
    this.#server.on("request", (request, response) => void this.#answer(request, response));
    this.#server.on("checkContinue", (request, response) => {
      void this.#answer(request, response, () => response.writeContinue());
    });
    this.#server.on(
      "checkExpectation",
      (request, response) => void this.#answer(request, response),
    );
    this.#server.on("clientError", (_error, socket) => {
      if (!socket.writable) return void socket.destroy(); // The client has gone.
      if (this.#asked.delete(socket as Socket)) countRejection(UNREADABLE.reason); // Once for each request.
      refuse(socket as Socket, UNREADABLE);
    });
  }

  /** Takes over a connection, with the bytes that were read from it. */
  take(socket: Socket, bytes: Buffer, asked: Asked): void {
    this.#asked.set(socket, asked);
    socket.pause();
    letGo(socket);
    socket.unshift(bytes);
    this.#server.emit("connection", socket);
    socket.resume();
  }

  async #answer(
    request: IncomingMessage,
    response: ServerResponse,
    goOn = () => {},
  ): Promise<void> {
    const asked = this.#asked.get(request.socket);
    if (!asked) return this.#countRejection(UNREADABLE.reason); // The answer to the first ends the connection.
    this.#asked.delete(request.socket);
    const admitted = await asked.admit();
    if ("status" in admitted) return respond(request, response, admitted);
    try {
      respond(request, response, await this.#publish(request, admitted, asked, goOn));
    } finally {
      admitted.release();
    }
  }

  async #publish(
    request: IncomingMessage,
    seat: Seat,
    { extend }: Asked,
    goOn: () => void,
  ): Promise<Answer> {
    const { "content-type": type = null, "content-length": length = null } = request.headers;
    const refusal = this.#publisher.refuse({ type, length });
    if (refusal) return refusal;
    goOn();
    extend(this.#publisher.seconds);
    return await this.#publisher.publish(seat, { type, length }, request);
  }
}

/** Answers a request, and reads on what is left of it, since the answer to one that is not read gets lost. */
function respond(request: IncomingMessage, response: ServerResponse, answer: Answer): void {
  const { status, headers, body } = answer;
  request.resume();
  if (status === STATUS_CODE.NoContent) response.writeHead(status, { connection: "close" }).end();
  else response.writeHead(status, headersOf(headers, body)).end(`${body}\n`);
}

/** Answers on a connection that does not belong to `node:http`, ends it, and ignores what else arrives. */
export function refuse(socket: Socket, { status, headers, body }: Answer): void {
  const fields = Object.entries(headersOf(headers, body))
    .map(([name, value]) => `${name}: ${value}`);
  const text = STATUS_TEXT[status as keyof typeof STATUS_TEXT];
  own(socket, null);
  socket.end([`HTTP/1.1 ${status} ${text}`, ...fields, "", `${body}\n`].join("\r\n"));
  socket.resume();
}

function headersOf(headers: Answer["headers"], body: string): Record<string, string | number> {
  return {
    "connection": "close",
    "content-type": "text/plain;charset=UTF-8",
    "content-length": Buffer.byteLength(body) + 1,
    ...headers,
  };
}
