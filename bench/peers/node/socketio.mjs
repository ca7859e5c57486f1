// Socket.IO with WebSocket as its only transport: "node bench/peers/node/socketio.mjs PORT [REDIS_PORT]".
// With Redis, as many of them as share one act as one.
import { createServer } from "node:http";
import { Server } from "socket.io";

const [port, redisPort] = process.argv.slice(2).map(Number);
const http = createServer();
const io = new Server(http, { transports: ["websocket"], perMessageDeflate: false });
if (redisPort) {
  const { createAdapter } = await import("@socket.io/redis-adapter");
  const { createClient } = await import("redis");
  const publisher = createClient({ socket: { host: "127.0.0.1", port: redisPort } });
  const subscriber = publisher.duplicate();
  await Promise.all([publisher.connect(), subscriber.connect()]);
  io.adapter(createAdapter(publisher, subscriber));
}
io.on("connection", (socket) => socket.on("m", (data) => io.emit("m", data)));
http.listen(port, "127.0.0.1");
