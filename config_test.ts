import { assert, assertEquals, assertRejects } from "@std/assert";
import { parse } from "@std/yaml";
import { Ajv2020 } from "ajv";
import {
  CONFIG_SCHEMA,
  ConfigError,
  DEFAULT_CONFIG,
  loadConfig,
  parseFlags,
  printConfig,
  type Sources,
} from "./config.ts";
import { run } from "./testing/program.ts";
import { sharedTempFolder } from "./testing/temp.ts";

const { path: directory } = await sharedTempFolder();
const file = `${directory}/relay.yaml`;

async function load(yaml: string | Uint8Array, rest: Omit<Sources, "file"> = {}) {
  await Deno.writeFile(file, typeof yaml === "string" ? new TextEncoder().encode(yaml) : yaml);
  return await loadConfig({ file, ...rest });
}

/** Loads a configuration that has problems, and returns them with the file's name shortened. */
async function problemsOf(yaml: string | Uint8Array, rest?: Omit<Sources, "file">) {
  const { problems }: ConfigError = await assertRejects(() => load(yaml, rest), ConfigError);
  return problems.map((problem) => problem.replaceAll(file, "relay.yaml"));
}

Deno.test("loadConfig reads the defaults from an empty file", async () => {
  assertEquals((await load("")).config, DEFAULT_CONFIG);
  assertEquals((await load("server:\nlimits:\n")).config, DEFAULT_CONFIG);
  assertEquals((await load("\ufeff# only a comment\n")).config, DEFAULT_CONFIG);
});

Deno.test("config.yaml holds exactly the defaults, key for key", async () => {
  const { config, explicit } = await loadConfig({ file: "config.yaml" });
  assertEquals(config, DEFAULT_CONFIG);
  // It is a comment, since a value that is set must fit the servers of a cluster.
  assertEquals(explicit.has("limits.max_message_bytes"), false);
  const text = (await Deno.readTextFile("config.yaml")).replace("# max_message", "max_message");
  // Told apart as text: key order counts, and a key that is missing would not show in the values.
  assertEquals(JSON.stringify(parse(text)), JSON.stringify(DEFAULT_CONFIG));
});

Deno.test("loadConfig prefers flags to the environment, the environment to the file, and the file to defaults", async () => {
  const yaml = "server: {port: 1, hostname: file}\nlimits: {max_connections: 1}";
  const env = { RELAY_SERVER_PORT: "2", RELAY_SERVER_HOSTNAME: "env", HOME: "/" };
  const { settings } = parseFlags(["--port", "3"]);
  const { config, origin } = await load(yaml, { env, flags: settings });
  assertEquals([config.server.port, config.server.hostname], [3, "env"]);
  assertEquals([config.limits.max_connections, config.limits.max_message_bytes], [1, 1048576]);
  const sources = "variable RELAY_SERVER_HOSTNAME, variable RELAY_SERVER_PORT, flag --port";
  assertEquals(origin, `${file}, ${sources}`);
});

Deno.test("loadConfig says which keys were set, even to their defaults", async () => {
  const { explicit } = await load("server: {port: 8443}", { env: { RELAY_RELAY_ECHO: "true" } });
  assertEquals(explicit, new Set(["server.port", "relay.echo"]));
});

Deno.test("loadConfig uses the defaults if there is no config.yaml", async () => {
  const before = Deno.cwd();
  Deno.chdir(directory);
  try {
    assertEquals(await loadConfig(), {
      config: DEFAULT_CONFIG,
      explicit: new Set(),
      origin: "built-in defaults, there is no config.yaml here",
    });
  } finally {
    Deno.chdir(before);
  }
});

Deno.test("loadConfig turns text from the environment into the type of the key", async () => {
  const { config } = await load("", {
    env: {
      RELAY_SERVER_TLS_ENABLED: "true",
      RELAY_METRICS_ENABLED: "false",
      RELAY_SHUTDOWN_DELAY_SECONDS: "0.5",
      RELAY_SERVER_HOSTNAME: "127",
    },
  });
  assertEquals(config.server.tls.enabled, true);
  assertEquals(config.metrics.enabled, false);
  assertEquals(config.shutdown.delay_seconds, 0.5);
  assertEquals(config.server.hostname, "127");
});

Deno.test("loadConfig reports all problems of all sources at once", async () => {
  const yaml = `
port: 1
server:
  prot: 2
  port: http
  tls: [yes]
limits:
  max_connections: -1
  max_message_bytes: 1.5
shutdown:
  timeout_seconds: .inf
log: {level: loud, format: }
metrics:
  enabled: "yes"
  hostname: ""
`;
  const env = { RELAY_LOG_LEVL: "info", RELAY_PORT: "1", RELAY_SERVER_PORT: "0x10" };
  const flags = parseFlags(["--port", "70000", "--metrics-prot=1", "now", "--config="]);
  assertEquals(await problemsOf(yaml, { env, flags: flags.settings, problems: flags.problems }), [
    "Unknown flag --metrics-prot (did you mean --metrics-port?)",
    "now is not a flag, and the relay takes only flags (command line)",
    "--config must have a value, got none (command line)",
    "Unknown key port in relay.yaml (did you mean server.port?)",
    "Unknown key server.prot in relay.yaml (did you mean server.port?)",
    'server.tls must be a mapping of keys to values, got [ "yes" ] (relay.yaml)',
    "Unknown variable RELAY_LOG_LEVL (did you mean RELAY_LOG_LEVEL?)",
    "Unknown variable RELAY_PORT (did you mean RELAY_SERVER_PORT?)",
    'server.port must be a whole number from 0 to 65535, got "http" (relay.yaml)',
    "limits.max_connections must be a whole number from 1 to 1000000, got -1 (relay.yaml)",
    "limits.max_message_bytes must be a whole number from 1 to 67108864, got 1.5 (relay.yaml)",
    "shutdown.timeout_seconds must be a number from 0 to 3600, got Infinity (relay.yaml)",
    'log.level must be one of debug, info, warn, error, got "loud" (relay.yaml)',
    "log.format must be one of text, json, got null (relay.yaml)",
    'metrics.enabled must be true or false, got "yes" (relay.yaml)',
    'metrics.hostname must be text that is not empty, got "" (relay.yaml)',
    'server.port must be a whole number from 0 to 65535, got "0x10" (variable RELAY_SERVER_PORT)',
    "server.port must be a whole number from 0 to 65535, got 70000 (flag --port)",
  ]);
});

Deno.test("parseFlags allows only one action, and help in any case", () => {
  assertEquals(parseFlags(["--print-config", "--check"]).problems, [
    "--print-config and --check cannot be combined (command line)",
  ]);
  assertEquals(parseFlags(["--help", "--check"]), { ...parseFlags(["--help"]) });
});

Deno.test("loadConfig reads lists from the file, and with commas from the environment", async () => {
  const yaml = "server: {allowed_origins: ['https://a.example', 'null'], trusted_proxies: []}";
  const env = { RELAY_SERVER_TRUSTED_PROXIES: "10.0.0.0/8, fd00::/8" };
  const { server } = (await load(yaml, { env })).config;
  assertEquals(server.allowed_origins, ["https://a.example", "null"]);
  assertEquals(server.trusted_proxies, ["10.0.0.0/8", "fd00::/8"]);
  const none = await load(yaml, { env: { RELAY_SERVER_ALLOWED_ORIGINS: "" } });
  assertEquals(none.config.server.allowed_origins, []);
});

Deno.test("loadConfig says which origins and networks it can use", async () => {
  const origins =
    'server.allowed_origins must be a list of origins such as https://example.com, or "*"';
  for (
    const text of ["https://*.example", "chrome-extension://*", "", "https://", "app://", "[]"]
  ) {
    assertEquals(await problemsOf(`server: {allowed_origins: ["${text}"]}`), [
      `${origins}, got [ "${text}" ] (relay.yaml)`,
    ]);
  }
  const repairs = {
    "https://a.example/": "https://a.example",
    "HTTPS://A.example/chat?x": "https://a.example",
    "https://a.example:443": "https://a.example",
    "https://user@a.example": "https://a.example",
    "a.example": "https://a.example",
    "localhost:8000": "https://localhost:8000",
    "chrome-extension://abcdefgh/": "chrome-extension://abcdefgh",
    "capacitor://localhost/index.html": "capacitor://localhost",
    "file:///": "file://",
  };
  for (const [text, repaired] of Object.entries(repairs)) {
    assertEquals(await problemsOf(`server: {allowed_origins: ["*", "${text}"]}`), [
      `${origins}, got [ "*", "${text}" ]; write "${repaired}" instead of "${text}" (relay.yaml)`,
    ]);
  }
  assertEquals(await problemsOf("server: {allowed_origins: '*'}"), [
    `${origins}, got "*" (relay.yaml)`,
  ]);
  for (const text of ["10.0.0.1", "10.0.0.0/33", "localhost/8", "fd00::/129"]) {
    assertEquals(await problemsOf(`server: {trusted_proxies: ["${text}"]}`), [
      "server.trusted_proxies must be a list of networks such as 10.0.0.0/8 or fd00::/8, or unix, " +
      `got [ "${text}" ] (relay.yaml)`,
    ]);
  }
});

Deno.test("loadConfig accepts every origin that a real client sends", async () => {
  const allowed_origins = [
    "*",
    "null",
    "https://a.example",
    "http://localhost:8000",
    "http://[::1]:8000",
    "https://xn--mnchen-3ya.de",
    "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
    "moz-extension://2c127fa4-62c7-7e4f-90e5-472b45eecfdc",
    "capacitor://localhost",
    "ionic://localhost",
    "tauri://localhost",
    "app://-",
    "app://obsidian.md",
    "file://",
  ];
  const { config } = await load(JSON.stringify({ server: { allowed_origins } }));
  assertEquals(config.server.allowed_origins, allowed_origins);
});

Deno.test("loadConfig says which subprotocols it can answer", async () => {
  for (const text of ["a b", "", "a,b", "bearer.x"]) {
    assertEquals(await problemsOf(`server: {subprotocols: ["${text}"]}`), [
      "server.subprotocols must be a list of subprotocols such as chat.v1, " +
      `without bearer. at the beginning, got [ "${text}" ] (relay.yaml)`,
    ]);
  }
  const { config } = await load("server: {subprotocols: [chat.v1, mqtt]}");
  assertEquals(config.server.subprotocols, ["chat.v1", "mqtt"]);
});

Deno.test("loadConfig says how a parameter for the token may be named", async () => {
  for (const text of ["a b", "a=b", "?token", "a&b"]) {
    assertEquals(await problemsOf(`server: {auth_token_parameter: "${text}"}`), [
      "server.auth_token_parameter must be text of letters, digits and . _ ~ -, or empty, " +
      `got "${text}" (relay.yaml)`,
    ]);
  }
});

Deno.test("loadConfig recognizes a nested key that is written as one word", async () => {
  assertEquals(await problemsOf("server.port: 80"), [
    "server.port must be nested, with one level per word, got one key (relay.yaml)",
  ]);
});

Deno.test("loadConfig shows line and column of a YAML error", async () => {
  assertEquals(await problemsOf("server:\n  port: 1\n  port: 2\n"), [
    "Cannot parse relay.yaml: Cannot store mapping pair: duplicated key at line 3, column 3:\n" +
    "      port: 2\n      ^",
  ]);
});

Deno.test("loadConfig refuses numbers with a leading zero, which some programs read as octal", async () => {
  const wanted = "server.port must be a whole number from 0 to 65535 without a leading zero";
  for (const text of ["010001", "08443", "00", "+010"]) {
    assertEquals(await problemsOf(`server:\n  port: ${text}\n`), [
      `${wanted}, got "${text}" (relay.yaml)`,
    ]);
  }
  assertEquals(await problemsOf("shutdown: {delay_seconds: 01.5}"), [
    'shutdown.delay_seconds must be a number from 0 to 3600 without a leading zero, got "01.5" (relay.yaml)',
  ]);
  assertEquals(await problemsOf("", { env: { RELAY_SERVER_PORT: "010001" } }), [
    `${wanted}, got "010001" (variable RELAY_SERVER_PORT)`,
  ]);
  assertEquals(await problemsOf("", { flags: parseFlags(["--port", "08443"]).settings }), [
    `${wanted}, got "08443" (flag --port)`,
  ]);
  const { config } = await load(
    "server: {port: 0, hostname: '010'}\nshutdown: {delay_seconds: 0.5}",
  );
  assertEquals([config.server.port, config.shutdown.delay_seconds], [0, 0.5]);
});

Deno.test("loadConfig says which line is indented with a tab", async () => {
  for (
    const text of ["server:\n\tport: 1\n", "server:\n  \tport: 1\n", "server: # x\r\n\t\tport: 1"]
  ) {
    assertEquals(await problemsOf(text), [
      "Cannot parse relay.yaml: line 2 must be indented with spaces, got a tab",
    ]);
  }
  const fine = [
    "# a\n\t# comment\n\t\nserver:\n  port: 1\t# tab\n",
    '{\n\t"server": {"port": 1}\n}\n',
  ];
  for (const text of fine) assertEquals((await load(text)).config.server.port, 1);
});

Deno.test("loadConfig names a file that is missing, unreadable, not text, or not a mapping", async () => {
  const missing = await assertRejects(
    () => loadConfig({ file: "/nowhere/relay.yaml" }),
    ConfigError,
  );
  assertEquals(
    missing.message,
    "Cannot use the configuration: 1 problem\n  Cannot read /nowhere/relay.yaml: there is no such file",
  );
  const folder = await assertRejects(() => loadConfig({ file: directory }), ConfigError);
  assertEquals(folder.problems, [`Cannot read ${directory}: Is a directory (os error 21)`]);
  assertEquals(await problemsOf(new Uint8Array([0xff, 0xfe])), [
    "Cannot read relay.yaml: it must be UTF-8 text",
  ]);
  assertEquals(await problemsOf("- a\n- b"), [
    'The file must be a mapping of keys to values, got [ "a", "b" ] (relay.yaml)',
  ]);
});

Deno.test("loadConfig refuses a Unix socket with TLS or a shared port", async () => {
  const tls = "server: {unix_socket: relay.sock, tls: {enabled: true}}";
  assertEquals(await problemsOf(tls), [
    'server.unix_socket must be empty where server.tls.enabled is true, got "relay.sock" (relay.yaml)',
  ]);
  assertEquals(await problemsOf("server: {unix_socket: relay.sock, reuse_port: true}"), [
    'server.unix_socket must be empty where server.reuse_port is true, got "relay.sock" (relay.yaml)',
  ]);
  const { config } = await load("{server: {unix_socket: relay.sock}, metrics: {port: 8443}}");
  assertEquals(config.server.unix_socket, "relay.sock");
});

Deno.test("loadConfig refuses one port for both listeners", async () => {
  assertEquals(await problemsOf("", { flags: parseFlags(["--port", "9090"]).settings }), [
    "metrics.port must be another port than server.port, got 9090 (flag --port)",
  ]);
  await load("metrics: {enabled: false, port: 8443}");
  await load("metrics: {hostname: 127.0.0.1, port: 8443}");
  await load("metrics: {port: 0}\nserver: {port: 0}");
});

Deno.test("loadConfig says which NATS servers it can use, and shows no passwords", async () => {
  const wanted = "cluster.servers must be a list of NATS servers such as nats://10.0.0.5:4222 " +
    "or tls://nats.example.com:4222";
  for (
    const [text, shown = text] of [
      ["10.0.0.5:4222"],
      ["http://10.0.0.5"],
      ["nats://"],
      ["nats://a/b"],
      ["nats://10.0.0.5:4222/"],
      ["nats://a,nats://b"],
      ["nats://a:70000"],
      ["nats://alice:secret@a:port", "nats://…@a:port"],
      ["nats://alice:se@cret@a", "nats://…@a"],
      ["nats://alice:se/cret@a", "nats://…@a"],
    ]
  ) {
    assertEquals(await problemsOf(`cluster: {servers: ["${text}"]}`), [
      `${wanted}, got [ "${shown}" ] (relay.yaml)`,
    ]);
  }
  for (
    const [text, want, shown = text] of [
      ["nats://a, tls://b", "all nats:// or all tls://"],
      [
        "nats://alice:secret@a, nats://b",
        "URLs that all have the same user and password",
        "nats://…@a, nats://b",
      ],
    ]
  ) {
    const list = shown.split(", ").map((each) => `"${each}"`).join(", ");
    assertEquals(await problemsOf(`cluster: {servers: [${text}]}`), [
      `cluster.servers must be ${want}, got [ ${list} ] (relay.yaml)`,
    ]);
  }
  const env = { RELAY_CLUSTER_SERVERS: "nats://alice:s@a, nats://alice:s@[::1]:4222" };
  const servers = ["nats://alice:s@a", "nats://alice:s@[::1]:4222"];
  assertEquals((await load("", { env })).config.cluster.servers, servers);
});

Deno.test("loadConfig checks the name of the cluster, and whether its CA is used", async () => {
  for (const text of ["", "a.b", "a b", "*", ">", "x".repeat(65)]) {
    const shown = text.length > 60 ? `"${text.slice(0, 60)}"... 5 more characters` : `"${text}"`;
    assertEquals(await problemsOf(`cluster: {name: "${text}"}`), [
      `cluster.name must be 1 to 64 letters, digits and _ -, got ${shown} (relay.yaml)`,
    ]);
  }
  assertEquals(await problemsOf("cluster: {tls_ca_file: ca.pem, servers: [nats://a]}"), [
    "cluster.tls_ca_file must be empty where cluster.servers do not begin with tls://, " +
    'got "ca.pem" (relay.yaml)',
  ]);
  await load("cluster: {tls_ca_file: ca.pem, servers: [tls://a, tls://b]}");
});

Deno.test("loadConfig treats names that every object has as unknown", async () => {
  assertEquals(await problemsOf("__proto__: {port: 1}\nserver: {constructor: 1, toString: 2}"), [
    "Unknown key __proto__ in relay.yaml (did you mean server?)",
    "Unknown key server.constructor in relay.yaml (did you mean server.hostname?)",
    "Unknown key server.toString in relay.yaml (did you mean server.hostname?)",
  ]);
});

Deno.test("printConfig writes what loadConfig reads back", async () => {
  const config = { ...DEFAULT_CONFIG, log: { level: "debug", format: "json" } } as const;
  assertEquals((await load(printConfig(config))).config, config);
});

Deno.test("CONFIG_SCHEMA describes and bounds every value", () => {
  const visit = (path: string, key: Record<string, unknown>): void => {
    assert(key.description, `${path} has no description`);
    if (key.properties) {
      assertEquals(key.additionalProperties, false, path);
      for (const [name, child] of Object.entries(key.properties)) visit(`${path}.${name}`, child);
    } else {
      assert("default" in key, `${path} has no default`);
    }
  };
  visit("", CONFIG_SCHEMA);
});

Deno.test("config/schema.json is what --print-schema prints", async () => {
  const { stdout } = await run({ args: ["--print-schema"] });
  assertEquals(await Deno.readTextFile("config/schema.json"), stdout);
});

Deno.test("config/schema.json lets editors accept the project's files, and mark mistakes", async () => {
  const validates = new Ajv2020().compile(
    JSON.parse(await Deno.readTextFile("config/schema.json")),
  );
  for (const [path, schema] of [["config.yaml", ""], ["examples/config.tls.yaml", "../"]]) {
    const text = await Deno.readTextFile(path);
    const [first] = text.split("\n");
    assertEquals(first, `# yaml-language-server: $schema=${schema}config/schema.json`);
    assertEquals([validates(parse(text)), validates.errors], [true, null]);
  }
  for (const wrong of ["server: {prot: 1}", "limit: {}", "server: {port: 70000}", "log: text"]) {
    assertEquals(validates(parse(wrong)), false, wrong);
  }
});

Deno.test("parseFlags names arguments that it cannot understand", () => {
  assertEquals(parseFlags(["--check=false", "--", "--port", "1"]).problems, [
    "--port is not a flag, and the relay takes only flags (command line)",
    "1 is not a flag, and the relay takes only flags (command line)",
    '--check must have no value, got "false" (command line)',
  ]);
  assertEquals(parseFlags(["-h"]).action, "help");
});

Deno.test("parseFlags uses the first action in its order, and the last value of a flag", () => {
  assertEquals(parseFlags(["--version", "--help"]).action, "help");
  assertEquals(parseFlags(["--check", "--print-config"]).action, "print-config");
  assertEquals(parseFlags([]), { action: "run", file: undefined, settings: [], problems: [] });
  const { file, settings } = parseFlags(["--config", "a", "--config=b", "--port", "1"]);
  assertEquals(file, "b");
  assertEquals(settings, [{ path: "server.port", value: "1", source: "flag --port" }]);
});
