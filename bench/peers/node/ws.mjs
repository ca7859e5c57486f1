// The loop that the README of ws shows: "node bench/peers/node/ws.mjs PORT [CERT KEY]".
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { WebSocket, WebSocketServer } from "ws";

const [port, cert, key] = process.argv.slice(2);
const http = cert
  ? createTlsServer({ cert: readFileSync(cert), key: readFileSync(key) })
  : createServer();
const server = new WebSocketServer({ server: http, perMessageDeflate: false });
http.listen(Number(port), "127.0.0.1");
server.on("connection", (socket) => {
  socket.on("error", () => {});
  socket.on("message", (data, binary) => {
    for (const client of server.clients) {
      if (client.readyState === WebSocket.OPEN) client.send(data, { binary });
    }
  });
});
