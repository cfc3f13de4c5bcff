/** The documentation, the alerts and the dashboard name the metrics that there are, and all of them. */

import { describe, expect, test } from "bun:test";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { startTarget } from "../support/target.ts";
import { Collector } from "./collector.ts";
import { RunningRole, until } from "./role.ts";

const DOCS = join(import.meta.dir, "../../docs");
const NAME = /(?<![\w:])(?:task_runner|process)_[a-z_]+/g;
const SUFFIX = /_(?:bucket|sum|count)$/;

/** Every metric of a process that has something to tell of everything. */
async function exposed(): Promise<ReadonlySet<string>> {
  await using collector = new Collector();
  await using target = await startTarget();
  await using role = await RunningRole.start("all", {
    METRICS_CLIENT_LABELS: "true",
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.endpoint,
  });
  await role.post("/v1/enqueue", { client_id: "c", task: { url: target.url } });
  await until("it is delivered", async () => {
    return (
      (await role.metrics()).get('task_runner_client_outcomes_total{client="c",outcome="succeeded"}') === 1
    );
  });
  const text = await (await fetch(`${role.url}/metrics`)).text();
  return new Set([...text.matchAll(/^# TYPE (\S+) /gm)].map(([, name]) => name ?? ""));
}

async function named(file: string): Promise<ReadonlySet<string>> {
  const text = await readFile(join(DOCS, file), "utf8");
  return new Set([...text.matchAll(NAME)].map(([name]) => name));
}

describe("the metrics", () => {
  test("are all documented, and no other is", async () => {
    const real = await exposed();
    const documented = [...(await named("observability.md"))];
    expect(documented.sort()).toEqual([...real].sort());
  });

  for (const file of ["prometheus-rules.yml", "grafana-dashboard.json"]) {
    test(`that ${file} asks for are there`, async () => {
      const real = await exposed();
      const asked = await named(file);
      expect(asked.size).toBeGreaterThan(5);
      const missing = [...asked].filter((name) => !real.has(name) && !real.has(name.replace(SUFFIX, "")));
      expect(missing).toEqual([]);
    });
  }
});

test("the dashboard is JSON whose panels have places of their own", async () => {
  const { panels } = JSON.parse(await readFile(join(DOCS, "grafana-dashboard.json"), "utf8")) as {
    panels: { id: number; gridPos: { x: number; y: number; w: number } }[];
  };
  expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
  expect(new Set(panels.map(({ gridPos: { x, y } }) => `${x} ${y}`)).size).toBe(panels.length);
  for (const { gridPos } of panels) expect(gridPos.x + gridPos.w).toBeLessThanOrEqual(24);
});

test("the alerts are YAML, each with what to read", async () => {
  const { groups } = Bun.YAML.parse(await readFile(join(DOCS, "prometheus-rules.yml"), "utf8")) as {
    groups: {
      rules: { alert?: string; record?: string; expr: string; annotations?: { summary?: string } }[];
    }[];
  };
  const rules = groups.flatMap((group) => group.rules);
  expect(rules.length).toBeGreaterThan(5);
  for (const { alert, record, expr, annotations } of rules) {
    expect(expr.split("(").length).toBe(expr.split(")").length);
    if (record === undefined)
      expect({ alert, summary: annotations?.summary }).toEqual({ alert, summary: expect.any(String) });
  }
});
