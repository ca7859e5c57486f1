// @ts-nocheck: it runs on Bun, whose types are not here.
// Bun's built-in publish and subscribe: "bun bench/peers/bun_publish.ts PORT [CERT KEY]".
const [port, cert, key] = process.argv.slice(2);
const server = Bun.serve({
  hostname: "127.0.0.1",
  port: Number(port),
  ...(cert ? { tls: { cert: Bun.file(cert), key: Bun.file(key) } } : {}),
  fetch: (request, server) =>
    server.upgrade(request) ? undefined : new Response("", { status: 426 }),
  websocket: {
    perMessageDeflate: false,
    open: (socket) => socket.subscribe("all"),
    message: (_socket, message) => void server.publish("all", message),
  },
});
