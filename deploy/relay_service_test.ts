import { assert, assertEquals } from "@std/assert";
import { DEFAULT_CONFIG, loadConfig } from "../config.ts";
import { has } from "../testing/daemon.ts";
import { ROOT, run } from "../testing/program.ts";
import { tempFolder } from "../testing/temp.ts";
import { replaced } from "./replaced.ts";

/** The units by the names under which they can be started. */
const UNITS: Record<string, string> = {
  "relay.service": await Deno.readTextFile(`${ROOT}deploy/relay.service`),
  "relay@8443.service": await Deno.readTextFile(`${ROOT}deploy/relay@.service`),
};

/** The worst mark that `systemd-analyze security` may give, of 100. */
const EXPOSURE = 15;

for (const [name, text] of Object.entries(UNITS)) {
  Deno.test(`systemd-analyze finds nothing wrong with ${name}, and few rights in it`, async () => {
    if (!await has("systemd-analyze", "systemd")) return;
    await using folder = await tempFolder();
    const unit = replaced(text, { "/usr/local/bin/relay": Deno.execPath() }); // It must exist.
    const file = await folder.write(name, unit);
    const analyze = (...args: string[]) => {
      return run({ command: ["systemd-analyze", ...args, file] });
    };
    assertEquals(await analyze("verify"), { code: 0, stdout: "", stderr: "" });
    const { code, stdout } = await analyze("security", "--offline=true", `--threshold=${EXPOSURE}`);
    assertEquals(code, 0, stdout);
  });

  Deno.test(`${name} gives the relay the time and the descriptors that it needs`, () => {
    const value = (key: string) => Number(new RegExp(`^${key}=(\\d+)$`, "m").exec(text)![1]);
    const { limits, shutdown } = DEFAULT_CONFIG;
    assert(value("TimeoutStopSec") > shutdown.delay_seconds + shutdown.timeout_seconds + 2);
    assert(value("LimitNOFILE") > limits.max_connections + 1000);
  });
}

Deno.test("relay@.service contains all of relay.service, and adds what several relays need", () => {
  const [one, several] = Object.values(UNITS).map((text) => replaced(text, {}).split("\n"));
  assertEquals(one.filter((line) => !several.includes(line)), [
    "Description=WebSocket relay",
    "After=network-online.target",
  ]);
  assertEquals(several.filter((line) => !one.includes(line)), [
    "Description=WebSocket relay on port %i",
    "After=network-online.target nats-server.service",
    "Environment=RELAY_SERVER_PORT=%i RELAY_METRICS_PORT=1%i",
    "EnvironmentFile=-/etc/relay/relay.env",
    "EnvironmentFile=-/etc/relay/%i.env",
    "User=relay",
  ]);
});

Deno.test("relay@.service gives each relay its ports, or all of them one", async () => {
  const text = UNITS["relay@8443.service"];
  const [, line] = /^Environment=(.*)$/m.exec(text)!;
  const own = variables(line.replaceAll("%i", "8444"));
  const file = `${ROOT}config.yaml`;
  const ports = async (env: Record<string, string>) => {
    const { config: { server, metrics } } = await loadConfig({ file, env });
    return { port: server.port, reuse: server.reuse_port, metrics: metrics.port };
  };
  assertEquals(await ports(own), { port: 8444, reuse: false, metrics: 18444 });
  const shared = variables(text.match(/RELAY_SERVER_\w+=(8443|true)/g)!.join(" "));
  assertEquals(await ports({ ...own, ...shared }), { port: 8443, reuse: true, metrics: 18444 });
});

/** Reads what is assigned to the variables of an environment. */
function variables(line: string): Record<string, string> {
  return Object.fromEntries(line.split(" ").map((each) => each.split("=")));
}
