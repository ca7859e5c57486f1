import { assert, assertEquals } from "@std/assert";
import { STATUS_CODE } from "@std/http";
import { parse } from "@std/yaml";
import { makeCertificate } from "../testing/certificate.ts";
import { connect } from "../testing/client.ts";
import { Daemon, freePort, has } from "../testing/daemon.ts";
import { anchorsOf } from "../testing/markdown.ts";
import { NatsServer } from "../testing/nats.ts";
import { ROOT, run } from "../testing/program.ts";
import { startRelay } from "../testing/start.ts";
import { tempFolder } from "../testing/temp.ts";
import { until } from "../testing/wait.ts";
import { replaced } from "./replaced.ts";

const read = (name: string) => Deno.readTextFile(`${ROOT}deploy/${name}`);

interface Alerts {
  groups: { rules: { alert: string; annotations: Record<string, string> }[] }[];
}

interface Cases {
  tests: { alert_rule_test: { alertname: string; exp_alerts: unknown[] }[] }[];
}

interface Dashboard {
  panels: { title: string; targets?: { expr: string; legendFormat: string }[] }[];
  templating: { list: { name: string; query: { query: string } }[] };
}

/** One series of an answer of Prometheus. */
interface Series {
  metric: Record<string, string>;
}

Deno.test("promtool accepts Prometheus' configuration, and every case of the alerts holds", async () => {
  if (!await has("promtool", "prometheus")) return;
  for (
    const args of [["check", "config", "prometheus.yml"], ["test", "rules", "alerts_test.yml"]]
  ) {
    const { code, stdout, stderr } = await run({
      command: ["promtool", ...args],
      cwd: `${ROOT}deploy`,
    });
    assertEquals(code, 0, stdout + stderr);
  }
});

Deno.test("every alert has a case that fires, one that does not, and a link to its chapter", async () => {
  const { groups } = parse(await read("alerts.yml")) as Alerts;
  const { tests } = parse(await read("alerts_test.yml")) as Cases;
  const cases = tests.flatMap(({ alert_rule_test }) => alert_rule_test);
  const chapters = anchorsOf(await Deno.readTextFile(`${ROOT}docs/operations.md`));
  for (const { alert, annotations } of groups.flatMap(({ rules }) => rules)) {
    const fires = cases.filter(({ alertname }) => alertname === alert)
      .map(({ exp_alerts }) => exp_alerts.length > 0);
    assert(fires.includes(true) && fires.includes(false), `${alert} lacks a case`);
    assertEquals(annotations.runbook, `docs/operations.md#${alert.toLowerCase()}`);
    assert(chapters.includes(alert.toLowerCase()), `${alert} has no chapter`);
  }
});

Deno.test("a real Prometheus scrapes the relay, and every query of the dashboard finds something", async () => {
  if (!await has("prometheus", "prometheus") || !await has("nats-server", "nats-server")) return;
  await using folder = await tempFolder();
  const certificate = await makeCertificate(folder.path, "relay");
  await using nats = await NatsServer.start();
  await using relay = await startRelay({
    server: { tls: { enabled: true, ...certificate } },
    cluster: { servers: [nats.url] },
  });
  const caCerts = [await Deno.readTextFile(certificate.cert_file)];
  using client = Deno.createHttpClient({ caCerts });
  await using alice = await connect(relay, { client });
  alice.send("hello");
  await alice.next();

  const config = replaced(await read("prometheus.yml"), {
    "scrape_interval: 15s": "scrape_interval: 500ms",
    "relay:9090": new URL(relay.metricsUrl!).host,
    "alerts.yml": `${ROOT}deploy/alerts.yml`,
  });
  await Deno.writeTextFile(`${folder.path}/prometheus.yml`, config);
  const port = freePort();
  await using _prometheus = await Daemon.start([
    "prometheus",
    `--config.file=${folder.path}/prometheus.yml`,
    `--storage.tsdb.path=${folder.path}/data`,
    `--web.listen-address=127.0.0.1:${port}`,
  ], port);
  const find = (query: string) => ask(port, query);
  await until(
    async () => (await find("count_over_time(up[1m]) > 2")).length > 0,
    "Prometheus to scrape often enough for rates",
  );

  const { panels, templating } = JSON.parse(await read("dashboard.json")) as Dashboard;
  for (const { title, targets = [] } of panels) {
    for (const { expr, legendFormat } of targets) {
      const query = expr.replaceAll("$__rate_interval", "10s").replaceAll("$instance", ".*");
      const found = await find(query);
      assert(found.length > 0, `"${title}" finds nothing: ${query}`);
      for (const [, label] of legendFormat.matchAll(/\{\{(\w+)\}\}/g)) {
        assert(found.every(({ metric }) => metric[label]), `"${title}" has no ${label}`);
      }
    }
  }
  const choice = templating.list.find(({ name }) => name === "instance")!.query.query;
  const [, series, label] = /^label_values\((.+), (\w+)\)$/.exec(choice)!;
  assert((await find(series))[0].metric[label]);

  const alerts = await read("alerts.yml") + await read("alerts_test.yml");
  for (const [selector] of alerts.matchAll(/\b(websocket|relay|process)_\w+(\{.*?\})?/g)) {
    const here = selector.replace(/, instance="[^"]*"/, "");
    assert((await find(here)).length > 0, `the alerts are about ${here}, which is not there`);
  }
});

/** Asks Prometheus for what a query finds now: nothing, as long as it is still starting. */
async function ask(port: number, query: string): Promise<Series[]> {
  const url = `http://127.0.0.1:${port}/api/v1/query?query=${encodeURIComponent(query)}`;
  const response = await fetch(url);
  const body = await response.text();
  if (response.status === STATUS_CODE.ServiceUnavailable) return [];
  assertEquals(response.status, STATUS_CODE.OK, `${query}: ${body}`);
  return JSON.parse(body).data.result;
}
