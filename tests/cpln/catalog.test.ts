/** The chart is one that the catalog takes: its rules for metadata, icon, documents and what is rendered with nothing set. */

import { afterAll, describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { CHART_DIR, helms, prepareChart } from "./chart.ts";

const chart = await prepareChart();
afterAll(() => chart.remove());

interface ChartFile {
  readonly name: string;
  readonly version: string;
  readonly appVersion: string;
  readonly description: string;
  readonly dependencies: readonly { readonly name: string; readonly version: string }[];
  readonly annotations: Readonly<Record<string, unknown>>;
}
const text = readFileSync(join(CHART_DIR, "Chart.yaml"), "utf8");
const { name, version, description, dependencies, annotations } = Bun.YAML.parse(text) as ChartFile;

describe("Chart.yaml", () => {
  test("names the template, a version and what it depends on", () => {
    expect([name, version]).toEqual(["cpln-task-runner", expect.stringMatching(/^\d+\.\d+\.\d+$/)]);
    expect(dependencies.map((each) => [each.name, each.version])).toEqual([
      ["redis", "3.4.2"],
      ["cpln-common", "1.0.0"],
    ]);
  });

  test("has the annotations, createsGvc as the catalog's own check reads it", () => {
    expect(annotations).toMatchObject({
      category: "queue",
      created: expect.stringMatching(/^\d{4}-\d\d-\d\d$/),
      lastModified: expect.stringMatching(/^\d{4}-\d\d-\d\d$/),
    });
    expect(text).toMatch(/^ {2}createsGvc: false$/m);
  });

  test("describes in at most 15 words what it is", () => {
    expect(description.split(/\s+/).length).toBeLessThanOrEqual(15);
    expect(description).not.toMatch(/^(a |an |the )?helm chart|for Control Plane/i);
  });
});

test("the icon is a square PNG with a transparent background", () => {
  const png = readFileSync(join(CHART_DIR, "icon.png"));
  expect(png.subarray(1, 4).toString()).toBe("PNG");
  expect(png.readUInt32BE(16)).toBe(png.readUInt32BE(20));
  const WITH_ALPHA = 6;
  expect(png[25]).toBe(WITH_ALPHA);
});

test("no template names a release, an org or a GVC of its own", () => {
  const templates = readdirSync(join(CHART_DIR, "templates"), { recursive: true, encoding: "utf8" });
  for (const file of templates.filter((each) => each.endsWith(".yaml"))) {
    const source = readFileSync(join(CHART_DIR, "templates", file), "utf8");
    for (const [, value] of source.matchAll(/^(?:name|gvc): (.*)$/gm)) expect(value).toStartWith("{{");
  }
});

describe.each(helms().map((helm) => [helm.version, helm.path] as const))("Helm %s", (_, helm) => {
  test("renders it with nothing set, as the catalog's own check does", async () => {
    const { status, stderr, stdout } = await chart.render(
      helm,
      {},
      { release: "validation", gvc: "validation-gvc" },
    );
    expect([status, stderr]).toEqual([0, ""]);
    for (const tag of [
      "cpln/marketplace:",
      "cpln/marketplace-template:",
      "cpln/marketplace-template-version:",
    ]) {
      expect(stdout).toContain(tag);
    }
    expect(stdout).toContain("cpln/marketplace-gvc: validation-gvc");
  });
});
