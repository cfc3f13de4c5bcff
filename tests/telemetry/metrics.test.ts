/** What /metrics tells after real work: counts that add up, of labels that stay bounded. */

import { describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startTarget, type TestTarget } from "../support/target.ts";
import { RunningRole, until } from "./role.ts";
import { Samples } from "./samples.ts";

type Values = ReadonlyMap<string, number>;

const sum = (values: Values, name: string, labels?: Readonly<Record<string, string>>) =>
  new Samples(values).sum(name, labels);

/** How many different values a label has. */
const valuesOf = (values: Values, label: string) => new Samples(values).labels().get(label) ?? 0;

async function enqueue(role: RunningRole, tasks: readonly object[]): Promise<void> {
  for (let at = 0; at < tasks.length; at += 1_000) {
    const { status, json } = await role.post("/v1/enqueue/batch", { tasks: tasks.slice(at, at + 1_000) });
    expect({ status, rejected: json.rejected }).toEqual({ status: 202, rejected: 0 });
  }
}

function task(target: TestTarget, path: string, more: object = {}) {
  return {
    client_id: "c",
    task: { url: `${target.url}${path}` },
    retry: { min_backoff_sec: 0.01, max_attempts: 2, jitter: 0 },
    ...more,
  };
}

/** Waits until as many leases were settled, and tells what is counted then. */
async function settled(role: RunningRole, leases: number): Promise<Values> {
  await until(`${leases} leases are settled`, async () => {
    return sum(await role.metrics(), "task_runner_outcomes_total") >= leases;
  });
  return role.metrics();
}

describe("after 2,000 tasks", () => {
  test("the counts equal what was sent, and add up", async () => {
    const seen = new Set<string>();
    await using target = await startTarget(({ path, taskId }) => {
      if (path === "/dead") return 404;
      if (path !== "/once") return 200;
      const isFirst = !seen.has(taskId ?? "");
      seen.add(taskId ?? "");
      return isFirst ? 503 : 200;
    });
    await using role = await RunningRole.start("all", {
      WORKER_CONCURRENCY: "50",
      CB_FAILURE_THRESHOLD: "1000",
    });
    const tasks = [
      ...Array.from({ length: 1_700 }, () => task(target, "/ok")),
      ...Array.from({ length: 200 }, () => task(target, "/once", { queue: "flaky" })),
      ...Array.from({ length: 100 }, () => task(target, "/dead", { queue: "broken", priority: "high" })),
    ];
    await enqueue(role, tasks);
    // Each flaky and each broken one is tried twice.
    const samples = await settled(role, 1_700 + 400 + 200);

    const count = (name: string, labels?: Readonly<Record<string, string>>) =>
      sum(samples, `task_runner_${name}`, labels);
    expect(count("enqueues_total", { result: "created" })).toBe(2_000);
    expect(count("enqueues_total")).toBe(2_000);
    expect(count("leases_total")).toBe(2_300);
    expect(count("outcomes_total", { outcome: "succeeded" })).toBe(1_900);
    expect(count("outcomes_total", { outcome: "retry", queue: "flaky", reason: "status_5xx" })).toBe(200);
    expect(count("outcomes_total", { outcome: "retry", queue: "broken", reason: "status_4xx" })).toBe(100);
    expect(count("outcomes_total", { outcome: "dead", reason: "status_4xx" })).toBe(100);
    expect(count("outcomes_total")).toBe(2_300);
    // A retry has a due time of its own, from which it counts.
    expect(count("enqueue_to_start_seconds_count")).toBe(2_300);
    expect(count("attempt_duration_seconds_count", { outcome: "succeeded" })).toBe(1_900);
    expect(count("attempt_duration_seconds_count", { outcome: "failed" })).toBe(400);
    expect(count("stale_settles_total") + count("rescues_total") + count("leases_lost_total")).toBe(0);
    expect(target.requests.length).toBe(2_300);
    expect(count("store_call_duration_seconds_count", { method: "enqueue" })).toBeGreaterThan(0);
    expect(count("event_loop_lag_seconds_count")).toBeGreaterThan(0);
  });
});

describe("the gauges of the store", () => {
  test("tell of tasks by queue, priority and state", async () => {
    await using role = await RunningRole.start("serve");
    const url = "http://127.0.0.1:9/";
    await enqueue(role, [
      { client_id: "a", task: { url } },
      { client_id: "b", task: { url } },
      { client_id: "a", task: { url }, queue: "later", delay: 3_600, priority: "low" },
    ]);
    const samples = await role.metrics();
    const tasks = (labels: Readonly<Record<string, string>>) => sum(samples, "task_runner_tasks", labels);
    expect(tasks({ queue: "default", priority: "normal", state: "ready" })).toBe(2);
    expect(tasks({ queue: "later", priority: "low", state: "scheduled" })).toBe(1);
    expect(tasks({})).toBe(3);
    expect(samples.get("task_runner_store_up")).toBe(1);
    expect(samples.get("task_runner_workers")).toBe(0);
  });

  test("tell since when the oldest task that could be claimed waits, and 0 where none does", async () => {
    await using role = await RunningRole.start("serve");
    const url = "http://127.0.0.1:9/";
    await enqueue(role, [
      { client_id: "a", task: { url } },
      { client_id: "a", task: { url }, queue: "later", delay: 3_600 },
    ]);
    const enqueuedAtMs = performance.now();
    await Bun.sleep(20);
    const samples = await role.metrics();
    const waitedSec = (performance.now() - enqueuedAtMs) / 1_000;
    const oldest = (queue: string) =>
      samples.get(`task_runner_oldest_ready_seconds{queue="${queue}",priority="normal"}`);
    expect(oldest("default")).toBeWithin(0.02, waitedSec + 1);
    expect(oldest("later")).toBe(0);
  });

  test("are there on the worker's port too, beside its slots", async () => {
    const dir = await mkdtemp(join(tmpdir(), "metrics-test-"));
    try {
      await using work = await RunningRole.start("work", {
        STORE_URL: `sqlite:${join(dir, "store.db")}`,
        WORKER_CONCURRENCY: "7",
      });
      const samples = await work.metrics();
      expect(samples.get("task_runner_store_up")).toBe(1);
      expect(samples.get("task_runner_worker_slots")).toBe(7);
      expect(samples.get("task_runner_worker_slots_used")).toBe(0);
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  });
});

describe("labels stay bounded", () => {
  test("queues past the hundredth are told of together, and none is lost", async () => {
    await using role = await RunningRole.start("serve");
    const url = "http://127.0.0.1:9/";
    await enqueue(
      role,
      Array.from({ length: 300 }, (_, at) => ({ client_id: `c${at}`, queue: `q${at}`, task: { url } })),
    );
    const samples = await role.metrics();
    expect(valuesOf(samples, "queue")).toBe(101);
    expect(sum(samples, "task_runner_enqueues_total")).toBe(300);
    expect(sum(samples, "task_runner_enqueues_total", { queue: "other" })).toBe(200);
    expect(sum(samples, "task_runner_tasks")).toBe(300);
    expect(valuesOf(samples, "client")).toBe(0);
  });

  test("clients are told apart only with METRICS_CLIENT_LABELS, 200 of them", async () => {
    await using role = await RunningRole.start("serve", { METRICS_CLIENT_LABELS: "true" });
    const url = "http://127.0.0.1:9/";
    await enqueue(
      role,
      Array.from({ length: 300 }, (_, at) => ({ client_id: `c${at}`, task: { url } })),
    );
    const samples = await role.metrics();
    expect(valuesOf(samples, "client")).toBe(201);
    expect(sum(samples, "task_runner_client_enqueues_total", { client: "c7" })).toBe(1);
    expect(sum(samples, "task_runner_client_enqueues_total", { client: "other" })).toBe(100);
  });
});

describe("what is refused or lost", () => {
  test("a rate limit's hits are counted by tier, a duplicate as such", async () => {
    await using role = await RunningRole.start("serve");
    await role.post("/admin/tiers/set", { tier: "tight", requests_per_minute: 2, max_concurrent: 1 });
    await role.post("/admin/clients/set", { client_id: "c", tier: "tight" });
    const body = { client_id: "c", task: { url: "http://127.0.0.1:9/" } };
    for (let sent = 0; sent < 5; sent++) await role.post("/v1/enqueue", { ...body, name: `n${sent % 3}` });
    const samples = await role.metrics();
    expect(sum(samples, "task_runner_enqueues_total", { result: "created" })).toBe(2);
    expect(sum(samples, "task_runner_enqueues_total", { result: "duplicate" })).toBe(2);
    expect(sum(samples, "task_runner_enqueues_total", { result: "rate_limited" })).toBe(1);
    expect(sum(samples, "task_runner_rate_limited_total", { tier: "tight" })).toBe(1);
  });

  test("a breaker that opens is counted, and the host it holds back", async () => {
    await using target = await startTarget(() => 500);
    await using role = await RunningRole.start("all", { CB_FAILURE_THRESHOLD: "2", WORKER_CONCURRENCY: "1" });
    await enqueue(
      role,
      Array.from({ length: 5 }, () => task(target, "/")),
    );
    await until("the breaker opens", async () => {
      return sum(await role.metrics(), "task_runner_breaker_changes_total", { to: "open" }) === 1;
    });
    await until("the store holds it back", async () => {
      return (await role.metrics()).get("task_runner_hosts_held") === 1;
    });
  }, 15_000);

  test("consumers of pull queues are counted like workers", async () => {
    await using role = await RunningRole.start("serve");
    await role.post("/admin/queues/set", { queue: "jobs", mode: "pull" });
    await enqueue(role, [
      { client_id: "c", queue: "jobs", task: { body: "1" } },
      { client_id: "c", queue: "jobs", task: { body: "2" } },
    ]);
    const { json } = await role.post("/v1/queues/jobs/lease", { max: 2 });
    const [first, second] = (json.tasks as { lease: string }[]).map(({ lease }) => lease);
    await role.post("/v1/leases/ack", { leases: [first] });
    await role.post("/v1/leases/nack", { leases: [second] });
    const samples = await role.metrics();
    expect(sum(samples, "task_runner_leases_total", { queue: "jobs" })).toBe(2);
    expect(sum(samples, "task_runner_outcomes_total", { queue: "jobs", outcome: "succeeded" })).toBe(1);
    expect(sum(samples, "task_runner_outcomes_total", { queue: "jobs", outcome: "retry" })).toBe(1);
  });
});

test("a scrape is open, and is what Prometheus reads", async () => {
  await using role = await RunningRole.start("serve", { ADMIN_API_KEY: "k", PATH_PREFIX: "/tasks" });
  for (const path of ["/metrics", "/tasks/metrics"]) {
    const answer = await fetch(`${role.url}${path}`);
    expect(answer.status).toBe(200);
    expect(answer.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
    expect(await answer.text()).toContain('task_runner_info{role="serve"');
  }
});
