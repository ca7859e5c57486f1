/**
 * The transport for the open internet and for large fan-out: WebSockets on `node:net` or `node:tls`.
 *
 * @module
 */

import type { Buffer } from "node:buffer";
import { createServer, type Server, type Socket } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import { UNREADABLE } from "../../admission/decision.ts";
import { settlesWithin } from "../../lib/timeout.ts";
import { writeFrames } from "../frames.ts";
import type { ListenOptions, Transport, TransportListener } from "../transport.ts";
import { Arrivals } from "./arrivals.ts";
import { WsClients } from "./clients.ts";
import { encode, unpack, type WsMessage } from "./frames.ts";
import { openPort } from "./port.ts";

export type { WsMessage } from "./frames.ts";

const HANDSHAKE_TIMEOUT_SECONDS = 10;

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
  const { certificate, handshakeTimeoutSeconds = HANDSHAKE_TIMEOUT_SECONDS } = options;
  const clients = new WsClients(options.members, options.maxMessageBytes);
  const arrivals = new Arrivals(options, handshakeTimeoutSeconds, clients.add.bind(clients));
  const tcp = { noDelay: true, allowHalfOpen: true }; // What came before its end is still to be read.
  const tls = certificate && createTlsServer({
    ...tcp,
    cert: certificate.cert,
    key: certificate.key,
    ALPNProtocols: ["http/1.1"],
  });
  const server: Server = tls ?? createServer(tcp);
  // Beyond this the platform closes connections at once, before it runs out of descriptors.
  server.maxConnections = mostConnections(options.maxDescriptors ?? Infinity);
  server.on("connection", (socket: Socket) => arrivals.expect(socket));
  server.on(tls ? "secureConnection" : "connection", (socket: Socket) => arrivals.receive(socket));
  server.on("tlsClientError", (error: Error & { code?: string }, socket: Socket) => {
    const hungUp = error.code === "ECONNRESET"; // As the probe of the port does; nothing was refused.
    if (!hungUp) options.countRejection(UNREADABLE.reason);
    socket.destroy();
  });

  const port = await openPort(server, options.address);
  arrivals.watch();
  clients.watch(options.idleTimeoutSeconds);
  return {
    port: port.number,
    died: port.died,
    replaceCertificate: tls ? ({ cert, key }) => tls.setSecureContext({ cert, key }) : undefined,
    async stop(graceSeconds) {
      const closed = port.close();
      await new Promise((resolve) => setTimeout(resolve)); // The last answers are on their way.
      arrivals.stop();
      clients.stop();
      await settlesWithin(graceSeconds, closed);
    },
  };
}

/** Tells how many connections fit; where few files may be open, half of them are for clients all the same. */
function mostConnections(maxDescriptors: number): number {
  return Math.max(maxDescriptors - ws.spareDescriptors, Math.floor(maxDescriptors / 2));
}
