/**
 * Receives webhooks as many programs send them, JSON such as `{"text": "The build is broken"}`, and says
 * their texts in a room. Without `text` it says the whole JSON.
 *
 *     deno run --allow-net examples/webhook.ts http://localhost:8443/ 8000
 *
 * @module
 */

const [room = "", port = ""] = Deno.args;
if (!/^https?:\/\//.test(room) || !/^\d+$/.test(port)) {
  console.error("Usage: deno run --allow-net examples/webhook.ts URL PORT");
  Deno.exit(2);
}

/** Says something in the room, and tells whether the relay took it. */
async function say(text: string): Promise<boolean> {
  try {
    const { ok, body } = await fetch(room, { method: "POST", body: text });
    await body?.cancel();
    return ok;
  } catch {
    return false; // The relay is away.
  }
}

const options = {
  hostname: "127.0.0.1",
  port: Number(port),
  onListen: (address: Deno.NetAddr) =>
    console.error(`What is sent to http://127.0.0.1:${address.port}/ goes to ${room}`),
};
Deno.serve(options, async (request) => {
  const hook = await request.json().catch(() => null);
  if (hook === null) return new Response("Send JSON by POST.\n", { status: 400 });
  const text = typeof hook.text === "string" ? hook.text : JSON.stringify(hook);
  // With another answer than 2xx, the sender knows that it has to try again.
  return new Response(null, { status: await say(`webhook<br>${text}`) ? 204 : 502 });
});
