/** The cpln command line, which installs the chart, renders the same as Helm and takes every resource for one of its own. */

import { afterAll, describe, expect, test } from "bun:test";
import { helms, prepareChart } from "./chart.ts";
import { faultsOf } from "./resources.ts";
import { MATRIX, OWN_PASSWORDS } from "./values.ts";

const chart = await prepareChart();
afterAll(() => chart.remove());

const byKind = (resources: readonly { kind: string; name: string }[]) =>
  resources.toSorted((a, b) => `${a.kind} ${a.name}`.localeCompare(`${b.kind} ${b.name}`));

describe.each(helms().map(({ version, path }) => [version, path] as const))(
  "cpln with Helm %s",
  (_, helm) => {
    test.each(Object.entries(MATRIX))("with %s", async (_name, values) => {
      const [byCli, byHelm] = [await chart.renderWithCli(helm, values), await chart.render(helm, values)];
      expect([byCli.status, byCli.stderr]).toEqual([0, ""]);
      expect(byKind(byCli.resources)).toEqual(byKind(byHelm.resources));
      expect(byCli.resources.flatMap(faultsOf)).toEqual([]);
      expect(byCli.seenByRedis).toEqual(byHelm.seenByRedis);
    });

    test("tells what the chart refuses", async () => {
      const { status, stderr } = await chart.renderWithCli(helm, {
        ...OWN_PASSWORDS,
        api: { public: { enabled: true } },
      });
      expect(status).not.toBe(0);
      expect(stderr).toContain("api.public.enabled is true and there is no admin key");
    });
  },
);
