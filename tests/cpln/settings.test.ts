/** What the chart tells the program is understood by it: every name is a setting, every value one that it takes. */

import { afterAll, describe, expect, test } from "bun:test";
import { SETTING_NAMES, type SettingName, settingOf } from "../../src/config.ts";
import { MAX_WAIT_SEC } from "../../src/service/pull-request.ts";
import { loadConfig } from "../config/load.ts";
import { GVC, helms, only, prepareChart, RELEASE } from "./chart.ts";
import { envOf, MATRIX, PUBLIC, workload } from "./values.ts";

const chart = await prepareChart();
afterAll(() => chart.remove());
const [{ path: HELM } = { path: "" }] = helms().slice(-1);

/** What the platform puts in place of a secret's reference. */
const revealed = (name: string, value: string) =>
  value.startsWith("cpln://") ? (name === "SECRETS_KEY" ? "0".repeat(64) : "revealed") : value;
const roles = ["api", "worker"] as const;

/** Names that the program knows and does not follow yet. */
function planned(env: Readonly<Record<string, string>>): string[] {
  return loadConfig(env).warnings.flatMap(
    (line) => /^(\w+) has no effect in this version$/.exec(line)?.[1] ?? [],
  );
}

describe.each(Object.entries(MATRIX))("with %s", (_name, values) => {
  test.each(roles)("the program takes the environment of the %s", async (role) => {
    const rendered = await chart.render(HELM, values);
    if (!rendered.resources.some(({ name }) => name.endsWith(`-${role}`))) return;
    const env = Object.fromEntries(
      Object.entries(envOf(rendered, role)).map(([name, value]) => [name, revealed(name, value)]),
    );
    const { problems, warnings, config } = loadConfig(env);
    expect(problems).toEqual([]);
    const unfollowed = planned(env);
    expect(warnings.filter((line) => !unfollowed.some((name) => line.startsWith(name)))).toEqual([]);
    const known: readonly string[] = [...SETTING_NAMES, ...unfollowed];
    expect(Object.keys(env).filter((name) => !known.includes(name))).toEqual([]);
    expect(config.STORE_URL).toBe(`redis+sentinel://${RELEASE}-sentinel.${GVC}.cpln.local:26379/mymaster`);
    // Nothing that only the other role reads: it would look as if it counted.
    const other = role === "api" ? "work" : "serve";
    const settings = Object.keys(env).filter((name): name is SettingName =>
      SETTING_NAMES.includes(name as SettingName),
    );
    expect(settings.filter((name) => settingOf(name).role === other)).toEqual([]);
  });
});

describe("times", () => {
  test.each(roles)(
    "the %s waits for Redis longer than it takes to start cold, and no longer than the platform",
    async (role) => {
      const coldStartSec = 201;
      const rendered = await chart.render(HELM);
      const { REDIS_CONNECT_RETRIES, REDIS_RETRY_INTERVAL_SEC } = envOf(rendered, role);
      const waitSec = Number(REDIS_CONNECT_RETRIES) * Number(REDIS_RETRY_INTERVAL_SEC);
      const { initialDelaySeconds, periodSeconds } = workload(rendered, role).spec.containers[0]
        .readinessProbe;
      // The platform makes the startup probe of the readiness probe, with thirty failures.
      const startupSec = initialDelaySeconds + 30 * periodSeconds;
      expect(waitSec).toBeGreaterThan(coldStartSec);
      expect(waitSec).toBeLessThanOrEqual(startupSec);
    },
  );

  test.each([0, 60, 870])(
    "a worker with a grace of %d s is not killed before it has drained",
    async (shutdownGraceSec) => {
      const rendered = await chart.render(HELM, { worker: { env: { shutdownGraceSec } } });
      expect(envOf(rendered, "worker").SHUTDOWN_GRACE_SEC).toBe(String(shutdownGraceSec));
      const { rolloutOptions } = workload(rendered, "worker").spec;
      // What main.ts allows on top of the grace, and the sidecar going ten seconds before the container.
      expect(rolloutOptions?.terminationGracePeriodSeconds).toBe(shutdownGraceSec + 20 + 10);
    },
  );

  test("the API goes on serving until balancers know, and is done before the platform's 90 s are over", async () => {
    const { SHUTDOWN_DELAY_SEC, SHUTDOWN_GRACE_SEC } = envOf(await chart.render(HELM), "api");
    expect(Number(SHUTDOWN_DELAY_SEC)).toBeGreaterThanOrEqual(10);
    expect(Number(SHUTDOWN_DELAY_SEC) + Number(SHUTDOWN_GRACE_SEC) + 20 + 10).toBeLessThanOrEqual(90);
  });

  test("a consumer may wait for tasks as long as the API lets it", async () => {
    const { spec } = workload(await chart.render(HELM, PUBLIC), "api");
    expect(spec.defaultOptions.timeoutSeconds).toBeGreaterThan(MAX_WAIT_SEC);
  });
});

test("the version that the chart names is the program's", async () => {
  const { version } = await import("../../package.json");
  const { resources } = await chart.render(HELM);
  const tags = only(resources, "identity").tags as Record<string, string>;
  expect(tags["app.cpln.io/version"]).toBe(version);
});
