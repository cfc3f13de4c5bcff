/** Traces as a collector gets them: real spans of real deliveries, and how they hang together. */

import { describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startTarget } from "../support/target.ts";
import { Collector, ERROR, KIND, type ReceivedSpan } from "./collector.ts";
import { RunningRole, until } from "./role.ts";

const CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

function traced(collector: Collector, env: Readonly<Record<string, string>> = {}) {
  return RunningRole.start("all", { OTEL_EXPORTER_OTLP_ENDPOINT: collector.endpoint, ...env });
}

function only(spans: readonly ReceivedSpan[]): ReceivedSpan {
  const [span] = spans;
  if (span === undefined || spans.length !== 1) throw new Error(`${spans.length} spans where one was meant`);
  return span;
}

describe("a traced task", () => {
  test("goes on with its caller's trace: enqueue, attempt, call, and the target's headers", async () => {
    await using collector = new Collector();
    await using target = await startTarget();
    await using role = await traced(collector);
    const { json } = await role.post(
      "/v1/enqueue",
      { client_id: "shop", queue: "mail", task: { url: `${target.url}/hook?token=hunter2` } },
      { traceparent: CALLER },
    );
    await target.waitFor(1);
    await collector.has(3);

    const producer = only(collector.of(KIND.producer));
    expect(producer).toMatchObject({
      name: "enqueue mail",
      traceId: "0af7651916cd43dd8448eb211c80319c",
      parentSpanId: "b7ad6b7169203331",
      attributes: {
        "messaging.system": "task_runner",
        "messaging.operation.type": "send",
        "messaging.destination.name": "mail",
        "messaging.message.id": json.task_id,
        "task_runner.client_id": "shop",
      },
    });
    const consumer = only(collector.of(KIND.consumer));
    expect(consumer).toMatchObject({
      name: "deliver mail",
      traceId: producer.traceId,
      parentSpanId: producer.spanId,
      attributes: {
        "messaging.operation.type": "process",
        "messaging.message.id": json.task_id,
        "task_runner.attempt": 1,
        "task_runner.outcome": "succeeded",
      },
    });
    expect(consumer.links).toMatchObject([{ traceId: producer.traceId, spanId: producer.spanId }]);
    const call = only(collector.of(KIND.client));
    expect(call).toMatchObject({
      name: "POST",
      traceId: producer.traceId,
      parentSpanId: consumer.spanId,
      attributes: {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "url.full": `${target.url}/hook`,
        "server.address": "127.0.0.1",
        "server.port": target.port,
      },
    });
    expect(target.requests[0]?.headers.traceparent).toBe(`00-${call.traceId}-${call.spanId}-01`);
    expect(collector.paths).toEqual(new Set(["/v1/traces"]));
    expect(call.resource).toMatchObject({ "service.name": "task-runner", "task_runner.role": "all" });
    expect(JSON.stringify(collector.spans)).not.toContain("hunter2");
  });

  test("has a span for each attempt, all linked to the one enqueue, with the error of those that failed", async () => {
    await using collector = new Collector();
    await using target = await startTarget();
    target.answer("/", 503, 200);
    await using role = await traced(collector);
    await role.post("/v1/enqueue", {
      client_id: "shop",
      task: { url: `${target.url}/` },
      retry: { min_backoff_sec: 0.01, jitter: 0 },
    });
    await target.waitFor(2);
    await collector.has(5);

    const producer = only(collector.of(KIND.producer));
    expect(producer.parentSpanId).toBeNull();
    const attempts = [1, 2].map((number) =>
      only(collector.of(KIND.consumer).filter((span) => span.attributes["task_runner.attempt"] === number)),
    );
    for (const attempt of attempts) {
      expect(attempt.links).toMatchObject([{ traceId: producer.traceId, spanId: producer.spanId }]);
    }
    const [failed, succeeded] = attempts;
    expect(failed).toMatchObject({
      status: { code: ERROR, message: "answered 503 Service Unavailable" },
      attributes: { "task_runner.outcome": "retry", "error.type": "status_5xx" },
    });
    expect(failed?.events[0]).toMatchObject({
      name: "exception",
      attributes: { "exception.message": "answered 503 Service Unavailable" },
    });
    expect(succeeded?.status.code ?? 0).not.toBe(ERROR);
    const calls = collector.of(KIND.client);
    expect(calls.find(({ parentSpanId }) => parentSpanId === failed?.spanId)).toMatchObject({
      status: { code: ERROR },
      attributes: { "http.response.status_code": 503, "error.type": "503" },
    });
    expect(calls.find(({ parentSpanId }) => parentSpanId === succeeded?.spanId)).toMatchObject({
      attributes: { "http.request.resend_count": 1 },
    });
  });

  test("of a target that cannot be reached tells why, and has no status", async () => {
    await using collector = new Collector();
    const target = await startTarget();
    const url = `${target.url}/gone`;
    await target.stop();
    await using role = await traced(collector);
    await role.post("/v1/enqueue", { client_id: "c", task: { url }, retry: { max_attempts: 1 } });
    await collector.has(3);
    const call = only(collector.of(KIND.client));
    expect(call).toMatchObject({
      status: { code: ERROR, message: "connection refused" },
      attributes: { "error.type": "connection" },
    });
    expect(call.attributes).not.toHaveProperty("http.response.status_code");
    expect(only(collector.of(KIND.consumer)).attributes["task_runner.outcome"]).toBe("dead");
  });

  test("is told of in the log by the same trace", async () => {
    await using collector = new Collector();
    await using target = await startTarget(() => 500);
    await using role = await traced(collector);
    const { json } = await role.post("/v1/enqueue", {
      client_id: "shop",
      task: { url: target.url },
      retry: { max_attempts: 1 },
    });
    await collector.has(3);
    await until("its death is logged", () => role.log.some(({ msg }) => msg === "task is dead"));
    const line = role.log.find(({ msg }) => msg === "task is dead");
    expect(line).toMatchObject({
      level: "warn",
      task: json.task_id,
      queue: "default",
      client: "shop",
      attempt: 1,
      trace_id: only(collector.of(KIND.producer)).traceId,
    });
  });
});

describe("an enqueue", () => {
  test("of a batch has a span for each task; a refused one has its error, a duplicate its task", async () => {
    await using collector = new Collector();
    await using role = await RunningRole.start("serve", { OTEL_EXPORTER_OTLP_ENDPOINT: collector.endpoint });
    await role.post("/admin/clients/set", { client_id: "off", enabled: false });
    const task = { url: "http://127.0.0.1:9/" };
    const { json } = await role.post("/v1/enqueue/batch", {
      tasks: [
        { client_id: "c", task, name: "once" },
        { client_id: "c", task, name: "once" },
        { client_id: "off", task },
      ],
    });
    expect(json.enqueued).toBe(1);
    const [kept, duplicate, refused] = await collector.has(3);
    expect(kept?.status.code ?? 0).not.toBe(ERROR);
    expect(duplicate?.attributes["task_runner.duplicate_of"]).toBe(kept?.attributes["messaging.message.id"]);
    expect(refused).toMatchObject({
      status: { code: ERROR },
      attributes: { "error.type": "client_disabled" },
    });
  });

  test("of a caller who does not record is not recorded, nor is what follows; its trace is passed on", async () => {
    await using collector = new Collector();
    await using target = await startTarget();
    await using role = await traced(collector);
    const unsampled = CALLER.replace(/01$/, "00");
    await role.post("/v1/enqueue", { client_id: "c", task: { url: target.url } }, { traceparent: unsampled });
    await target.waitFor(1);
    expect(target.requests[0]?.headers.traceparent).toBe(unsampled);
    await role.stop();
    expect(collector.spans).toEqual([]);
  });
});

describe("past TRACES_PER_SEC", () => {
  test("tasks are delivered all the same, and what was begun is recorded to its end", async () => {
    await using collector = new Collector();
    await using target = await startTarget();
    const role = await traced(collector, { TRACES_PER_SEC: "1" });
    const tasks = Array.from({ length: 30 }, () => ({ client_id: "c", task: { url: target.url } }));
    await role.post("/v1/enqueue/batch", { tasks });
    await target.waitFor(tasks.length);
    await role.stop();
    // A burst of five, and at most a few more while the seconds go by.
    const producers = collector.of(KIND.producer);
    expect(producers.length).toBeGreaterThanOrEqual(5);
    expect(producers.length).toBeLessThan(10);
    const recorded = new Set(collector.of(KIND.client).map(({ spanId }) => spanId));
    const sent = target.requests.map(({ headers }) => headers.traceparent?.split("-")[2]);
    expect(sent.filter((spanId) => spanId === undefined).length).toBeGreaterThan(15);
    for (const spanId of sent) if (spanId !== undefined) expect(recorded).toContain(spanId);
    const followed = new Set(collector.of(KIND.consumer).map(({ parentSpanId }) => parentSpanId));
    for (const { spanId } of producers) expect(followed).toContain(spanId);
  });
});

describe("shutting down", () => {
  test("hands over what has not been sent yet", async () => {
    await using collector = new Collector();
    await using target = await startTarget();
    const role = await traced(collector);
    await role.post("/v1/enqueue", { client_id: "c", task: { url: target.url } });
    await target.waitFor(1);
    await role.stop();
    expect(collector.spans.length).toBe(3);
  });
});

describe("a collector that is not there", () => {
  test("costs a warning: tasks are delivered, and the role stops in time", async () => {
    const gone = new Collector();
    const { endpoint } = gone;
    await gone[Symbol.asyncDispose]();
    await using target = await startTarget();
    const role = await RunningRole.start("all", { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint });
    const enqueue = () => role.post("/v1/enqueue", { client_id: "c", task: { url: target.url } });
    expect((await enqueue()).status).toBe(202);
    await target.waitFor(1);
    const warned = () => role.log.filter(({ msg }) => msg.includes("trace collector"));
    await until("the warning", () => warned().length > 0);
    expect(warned()).toMatchObject([{ level: "warn" }]);
    expect((await enqueue()).status).toBe(202);
    await target.waitFor(2);
    const startedAtMs = performance.now();
    await role.stop();
    expect(performance.now() - startedAtMs).toBeLessThan(5_000);
    expect(role.log.filter(({ level }) => level === "error")).toEqual([]);
    expect(warned().length).toBe(1);
  }, 20_000);
});

describe("the worker alone", () => {
  test("begins traces itself where who took the tasks traces nothing", async () => {
    await using collector = new Collector();
    await using target = await startTarget();
    const dir = await mkdtemp(join(tmpdir(), "tracing-test-"));
    const env = { STORE_URL: `sqlite:${join(dir, "store.db")}` };
    try {
      await using serve = await RunningRole.start("serve", env);
      await serve.post("/v1/enqueue", { client_id: "c", task: { url: target.url } });
      await using work = await RunningRole.start("work", {
        ...env,
        OTEL_EXPORTER_OTLP_ENDPOINT: collector.endpoint,
      });
      await target.waitFor(1);
      await collector.has(2);
      expect(only(collector.of(KIND.consumer))).toMatchObject({ parentSpanId: null, links: [] });
      expect(work.url).not.toBe(serve.url);
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  });
});
