/**
 * The TCP connection of the NATS client, without a bug that ends the process.
 *
 * @module
 */

import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import {
  type ConnectionOptions,
  type NatsConnection,
  NatsConnectionImpl,
  setTransportFactory,
} from "@nats-io/transport-node";
import { nodeResolveHost, NodeTransport } from "@nats-io/transport-node/lib/node_transport.js";

/**
 * The library's transport removes all listeners from a socket that it gives up. If the server has reset the
 * connection just before, the error event that follows has no listener and ends the process. A server that
 * refuses a password causes this every other time.
 */
class CalmTransport extends NodeTransport {
  override async dial(server: { hostname: string; port: number }): Promise<Socket> {
    return calm(await super.dial(server));
  }

  override async startTLS(): Promise<TLSSocket> {
    return calm(await super.startTLS());
  }
}

function calm<S extends Socket>(socket: S): S {
  const listen = () => socket.on("error", () => {});
  const remove: (...events: string[]) => S = socket.removeAllListeners.bind(socket);
  socket.removeAllListeners = (...events: string[]) => {
    remove(...events);
    return listen();
  };
  return listen();
}

/** Connects to NATS. */
export function connect(options: ConnectionOptions): Promise<NatsConnection> {
  setTransportFactory({ factory: () => new CalmTransport(), dnsResolveFn: nodeResolveHost });
  return NatsConnectionImpl.connect(options);
}
