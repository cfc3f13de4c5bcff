/** Whatever it is rendered with, the chart makes resources of the form that Control Plane takes, that go together. */

import { afterAll, describe, expect, test } from "bun:test";
import { GVC, helms, only, prepareChart, RELEASE, type Resource } from "./chart.ts";
import { type Container, faultsOf, type Workload } from "./resources.ts";
import { MATRIX } from "./values.ts";

const chart = await prepareChart();
afterAll(() => chart.remove());

/** The secret and its key that a value refers to. */
const secretIn = (value: string): readonly [name: string, key: string] => {
  const [, name = "", key = ""] = /^cpln:\/\/secret\/([^.]+)\.(.+)$/.exec(value) ?? [];
  return [name, key];
};
const containersOf = (resources: readonly Resource[]): Container[] =>
  resources
    .filter(({ kind }) => kind === "workload")
    .flatMap((each) => (each as unknown as Workload).spec.containers);

describe.each(helms().map(({ version, path }) => [version, path] as const))("Helm %s", (_, helm) => {
  describe.each(Object.entries(MATRIX))("with %s", (_name, values) => {
    test("every resource has its form", async () => {
      const { status, stderr, resources } = await chart.render(helm, values);
      expect([status, stderr]).toEqual([0, ""]);
      expect(resources.flatMap(faultsOf)).toEqual([]);
      expect(new Set(resources.map(({ kind, name }) => `${kind} ${name}`)).size).toBe(resources.length);
    });

    test("what the workloads read of secrets is there, and they may read that and no more", async () => {
      const { resources } = await chart.render(helm, values);
      const read = containersOf(resources).flatMap(({ env }) =>
        env.flatMap(({ value }) => (value.startsWith("cpln://secret/") ? [secretIn(value)] : [])),
      );
      const policies = resources.filter(({ kind }) => kind === "policy");
      const granted = policies.flatMap(({ targetLinks }) => targetLinks as string[]);
      expect(granted.toSorted()).toEqual([...new Set(read.map(([name]) => `//secret/${name}`))].toSorted());
      const made = resources.filter(({ kind }) => kind === "secret");
      for (const { name, data } of made) {
        const keys = read.flatMap(([secret, key]) => (secret === name ? [key] : []));
        expect(Object.keys(data as object).toSorted()).toEqual([...new Set(keys)].toSorted());
      }
      const identity = `//gvc/${GVC}/identity/${only(resources, "identity").name}`;
      for (const policy of policies) {
        expect(policy.bindings).toEqual([{ permissions: ["reveal"], principalLinks: [identity] }]);
      }
    });

    test("its probes ask the port that is told to the program and opened", async () => {
      const { resources } = await chart.render(helm, values);
      for (const { ports, env, readinessProbe, livenessProbe } of containersOf(resources)) {
        const port = Number(env.find(({ name }) => name === "PORT")?.value);
        expect([ports[0].number, readinessProbe.httpGet.port, livenessProbe.httpGet.port]).toEqual([
          port,
          port,
          port,
        ]);
      }
    });
  });

  test("two releases of one org share no name", async () => {
    const names = async (release: string) =>
      (await chart.render(helm, {}, { release })).resources.map(({ kind, name }) => `${kind} ${name}`);
    const [one, other] = [await names(RELEASE), await names("staging")];
    expect(one.length).toBe(5);
    expect(one.filter((name) => other.includes(name))).toEqual([]);
  });
});

test.each(Object.entries(MATRIX))("all Helms render the same with %s", async (_name, values) => {
  const texts = await Promise.all(helms().map(async ({ path }) => (await chart.render(path, values)).stdout));
  expect(new Set(texts).size).toBe(1);
});

describe("the form", () => {
  test("finds what Control Plane would refuse", async () => {
    const [helm] = helms();
    const { resources } = await chart.render(helm?.path ?? "");
    const worker = only(resources, "workload", "-worker");
    const spoilt = (change: (spec: Record<string, unknown> & Workload["spec"]) => unknown) => {
      const copy = structuredClone(worker) as unknown as { spec: Record<string, unknown> & Workload["spec"] };
      change(copy.spec);
      return faultsOf(copy as unknown as Resource).length;
    };
    expect(spoilt(() => {})).toBe(0);
    const container = (spec: Workload["spec"]) => spec.containers[0] as unknown as Record<string, unknown>;
    const changes: readonly ((spec: Record<string, unknown> & Workload["spec"]) => unknown)[] = [
      (spec) => Object.assign(container(spec), { port: 8082 }),
      (spec) => Object.assign(container(spec), { ports: [{ number: 9090, protocol: "http" }] }),
      (spec) => Object.assign(container(spec), { env: [{ name: "CPLN_X", value: "1" }] }),
      (spec) => Object.assign(container(spec), { env: [{ name: "PORT", value: 1 }] }),
      (spec) => delete container(spec).lifecycle,
      (spec) => Object.assign(spec, { type: "serverless" }),
      (spec) => Object.assign(spec, { unknown: true }),
      (spec) => Object.assign(spec.defaultOptions.autoscaling, { metric: "concurrency" }),
      (spec) => Object.assign(spec.defaultOptions.autoscaling, { minScale: 0 }),
      (spec) => Object.assign(spec.rolloutOptions ?? {}, { terminationGracePeriodSeconds: 901 }),
    ];
    expect(changes.map(spoilt).filter((faults) => faults === 0)).toEqual([]);
    expect(faultsOf({ ...worker, name: "x".repeat(50) })).not.toEqual([]);
    expect(faultsOf({ ...worker, kind: "deployment" })).not.toEqual([]);
    expect(faultsOf({ ...worker, tags: {} })).not.toEqual([]);
  });
});
