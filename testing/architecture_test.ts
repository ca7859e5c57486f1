import { assertEquals } from "@std/assert";
import { ROOT } from "./program.ts";

/** Which modules of the project each module may import; what is not listed here may import none. */
const RULES: Record<string, string[]> = {
  "main.ts": [
    "config.ts",
    "flags.ts",
    "log.ts",
    "relay.ts",
    "tls.ts",
    "tokens.ts",
    "version.ts",
  ],
  "relay.ts": [
    "admission.ts",
    "config.ts",
    "hub.ts",
    "log.ts",
    "metrics.ts",
    "process_stats.ts",
    "tls.ts",
    "tokens.ts",
    "transport/native.ts",
    "transport/transport.ts",
    "transport/ws.ts",
    "within.ts",
  ],
  "hub.ts": [],
  "handshake.ts": ["hub.ts"],
  "addresses.ts": [],
  "tokens.ts": ["config.ts"],
  "admission.ts": [
    "addresses.ts",
    "config.ts",
    "handshake.ts",
    "hub.ts",
    "log.ts",
    "tokens.ts",
  ],
  "transport/native.ts": [
    "admission.ts",
    "handshake.ts",
    "hub.ts",
    "listener.ts",
    "transport/transport.ts",
  ],
  "transport/transport.ts": ["admission.ts", "hub.ts", "listener.ts", "tls.ts"],
  "transport/ws.ts": [
    "admission.ts",
    "handshake.ts",
    "transport/transport.ts",
    "transport/ws_clients.ts",
    "transport/ws_frames.ts",
    "transport/ws_port.ts",
    "within.ts",
  ],
  "transport/ws_clients.ts": ["admission.ts", "hub.ts", "transport/ws_frames.ts"],
  "transport/ws_frames.ts": ["hub.ts"],
  "transport/ws_port.ts": ["log.ts"],
  "config.ts": ["schema.ts"],
  "flags.ts": ["config.ts"],
  "tls.ts": ["config.ts", "log.ts"],
  "metrics.ts": ["hub.ts", "listener.ts", "process_stats.ts", "status_page.ts", "version.ts"],
  "status_page.ts": [
    "status/chart.js",
    "status/contents.js",
    "status/dom.js",
    "status/numbers.js",
    "status/page.css",
    "status/page.html",
    "status/page.js",
    "status/table.js",
  ],
  "log.ts": ["config.ts"],
  "listener.ts": ["within.ts"],
};

interface Info {
  modules: { specifier: string; dependencies?: Dependency[] }[];
}

interface Dependency {
  specifier: string;
  code?: { specifier: string };
  type?: { specifier: string };
}

Deno.test("modules import what the design lets them import, and the hub imports nothing", async () => {
  const command = new Deno.Command(Deno.execPath(), {
    args: ["info", "--json", "main.ts"],
    cwd: ROOT,
  });
  const info: Info = JSON.parse(new TextDecoder().decode((await command.output()).stdout));
  const base = `file://${ROOT}`;
  const own = info.modules.filter(({ specifier }) => specifier.startsWith(base));
  const breaches: string[] = [];
  for (const { specifier, dependencies = [] } of own) {
    const name = specifier.slice(base.length);
    for (const { code, type } of dependencies) {
      const target = (code ?? type)?.specifier ?? "";
      const imported = target.startsWith(base) ? target.slice(base.length) : null;
      const allowed = imported === null ? name !== "hub.ts" : RULES[name]?.includes(imported);
      if (!allowed) breaches.push(`${name} imports ${imported ?? target}`);
    }
  }
  assertEquals(breaches, []);
  const named = own.map(({ specifier }) => specifier.slice(base.length));
  assertEquals(Object.keys(RULES).filter((name) => !named.includes(name)), []);
});
