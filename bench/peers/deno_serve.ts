// The loop that examples show: "deno run -A bench/peers/deno_serve.ts PORT [CERT KEY]".
const [port, cert, key] = Deno.args;
const clients = new Set<WebSocket>();
Deno.serve({
  hostname: "127.0.0.1",
  port: Number(port),
  onListen: () => {},
  ...(cert ? { cert: Deno.readTextFileSync(cert), key: Deno.readTextFileSync(key) } : {}),
}, (request) => {
  if (request.headers.get("upgrade") !== "websocket") return new Response("", { status: 426 });
  const { socket, response } = Deno.upgradeWebSocket(request);
  socket.onopen = () => clients.add(socket);
  socket.onclose = () => clients.delete(socket);
  socket.onmessage = ({ data }) => {
    for (const client of clients) client.send(data);
  };
  return response;
});
