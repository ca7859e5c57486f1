import { assert, assertEquals } from "@std/assert";
import { DEFAULT_CONFIG } from "../config.ts";
import { has } from "../testing/daemon.ts";
import { ROOT, run } from "../testing/program.ts";
import { tempFolder } from "../testing/temp.ts";
import { replaced } from "./replaced.ts";

const UNIT = await Deno.readTextFile(`${ROOT}deploy/relay.service`);

/** The worst mark that `systemd-analyze security` may give, of 100. */
const EXPOSURE = 15;

Deno.test("systemd-analyze finds nothing wrong with relay.service, and little that it could do", async () => {
  if (!await has("systemd-analyze", "systemd")) return;
  await using folder = await tempFolder();
  const unit = replaced(UNIT, { "/usr/local/bin/relay": Deno.execPath() }); // It must exist.
  await Deno.writeTextFile(`${folder.path}/relay.service`, unit);
  const analyze = (...args: string[]) => {
    return run({ command: ["systemd-analyze", ...args, `${folder.path}/relay.service`] });
  };
  assertEquals(await analyze("verify"), { code: 0, stdout: "", stderr: "" });
  const { code, stdout } = await analyze("security", "--offline=true", `--threshold=${EXPOSURE}`);
  assertEquals(code, 0, stdout);
});

Deno.test("relay.service gives the relay the time and the descriptors that it needs", () => {
  const value = (key: string) => Number(new RegExp(`^${key}=(\\d+)$`, "m").exec(UNIT)![1]);
  const { limits, shutdown } = DEFAULT_CONFIG;
  assert(value("TimeoutStopSec") > shutdown.delay_seconds + shutdown.timeout_seconds + 2);
  assert(value("LimitNOFILE") > limits.max_connections + 1000);
});
