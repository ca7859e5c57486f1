/**
 * A sensor that publishes a measurement as JSON once a second, and reconnects when the relay is back.
 *
 *     deno run --allow-net examples/sensor.ts ws://localhost:8443 window
 *
 * @module
 */

const [url = "ws://localhost:8443", sensor = "window"] = Deno.args;
const PERIOD_MS = 1000;
if (!/^wss?:\/\//.test(url)) {
  console.error("Usage: deno run --allow-net examples/sensor.ts URL NAME");
  Deno.exit(2);
}

let celsius = 20;

function measure(): string {
  celsius += Math.random() - 0.5; // Replace this with a real sensor.
  return JSON.stringify({ sensor, at: new Date().toISOString(), celsius: +celsius.toFixed(1) });
}

function publish(): void {
  const socket = new WebSocket(url);
  const timer = setInterval(() => {
    // A value that cannot be sent now is outdated by the time it can.
    if (socket.readyState === WebSocket.OPEN && socket.bufferedAmount === 0) socket.send(measure());
  }, PERIOD_MS);
  socket.onopen = () => console.error(`${sensor} publishes to ${url}`);
  socket.onclose = ({ code, reason }) => {
    clearInterval(timer);
    console.error(`No connection to ${url} (${`code ${code} ${reason}`.trimEnd()}), trying again`);
    setTimeout(publish, PERIOD_MS * (1 + Math.random()));
  };
}

publish();
