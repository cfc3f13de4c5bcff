/** What a running server takes and answers is what its OpenAPI document says: every route, and every kind of problem. */

import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Validator } from "@seriousme/openapi-schema-validator";
import { type AppProcess, startApp } from "../../scripts/app-process.ts";
import { SECRETS_KEY } from "../support/signing.ts";
import { type Operation, operationsOf, Schemas } from "./openapi-document.ts";

const LIMIT_MS = 60_000;
const SETTLED_WITHIN_MS = 20_000;
const LOOK_EVERY_MS = 20;
const ADMIN_KEY = "answers-admin-key";
const JSON_TYPE = "application/json";
const NO_TASK = "01KAQ6M1T2X5RZ0W9V7B3C4D8E";

let dataDir = "";
let app: AppProcess;
let operations: readonly Operation[] = [];
let schemas: Schemas;
/** Operations that have answered well. */
const succeeded = new Set<string>();
const problemsSeen = new Set<number>();

beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "task-runner-answers-"));
  app = await startApp({
    command: "all",
    env: {
      DATA_DIR: dataDir,
      ALLOW_PRIVATE_URLS: "true",
      ADMIN_API_KEY: ADMIN_KEY,
      CLIENT_AUTH: "optional",
      SECRETS_KEY,
      QUEUE_AUTO_CREATE: "false",
    },
  });
  const document = await (await fetch(`${app.url}/openapi.json`)).json();
  operations = operationsOf(document);
  schemas = new Schemas(document);
}, LIMIT_MS);
afterAll(async () => {
  await app.stop();
  await rm(dataDir, { recursive: true, force: true });
}, LIMIT_MS);

interface Sent {
  /** In place of the path's parameters, by name. */
  readonly params?: Readonly<Record<string, string>>;
  readonly query?: string;
  readonly body?: unknown;
  readonly type?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

interface Answered {
  readonly status: number;
  // biome-ignore lint/suspicious/noExplicitAny: what an answer holds is what a test is there to find out
  readonly body: any;
}

/** Sends a request of an operation, named as `GET /v1/tasks/{id}`, and holds it and its answer against the document. */
async function call(name: string, sent: Sent = {}): Promise<Answered> {
  const operation = operations.find(({ method, path }) => `${method} ${path}` === name);
  if (operation === undefined) throw new Error(`the document has no ${name}`);
  const { type = JSON_TYPE, body } = sent;
  const path = operation.path.replace(/\{(\w+)\}/g, (_, param) => sent.params?.[param] ?? NO_TASK);
  const response = await fetch(`${app.url}${path}${sent.query ?? ""}`, {
    method: operation.method,
    headers: {
      "x-admin-key": ADMIN_KEY,
      ...(body !== undefined && { "content-type": type }),
      ...sent.headers,
    },
    ...(body !== undefined && { body: typeof body === "string" ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  const [media = ""] = (response.headers.get("content-type") ?? "").split(";");
  const answer = media.endsWith("json") ? JSON.parse(text) : text;
  expect([name, schemas.problemWithAnswer(operation, response.status, media, answer)]).toEqual([name, null]);
  const told = schemas.headersOf(operation, response.status);
  expect(told).toContain("X-Request-Id");
  expect(response.headers.get("x-request-id")).not.toBeNull();
  for (const header of ["Retry-After", "WWW-Authenticate", "RateLimit-Limit"]) {
    if (response.headers.has(header)) expect([name, told]).toEqual([name, expect.arrayContaining([header])]);
  }
  if (response.ok) {
    succeeded.add(name);
    for (const one of type === JSON_TYPE
      ? [body]
      : String(body)
          .trim()
          .split("\n")
          .map((line) => JSON.parse(line))) {
      if (one !== undefined && typeof one !== "string") {
        expect([name, schemas.problemWithRequest(operation, type, one)]).toEqual([name, null]);
      }
    }
  } else problemsSeen.add(response.status);
  return { status: response.status, body: answer };
}

async function ok(name: string, sent: Sent = {}) {
  const answered = await call(name, sent);
  if (answered.status >= 300) throw new Error(`${name}: ${JSON.stringify(answered)}`);
  return answered.body;
}

const post = (path: string, body: object) => ok(`POST ${path}`, { body });

/** Asks for the task until it is in that state. */
async function untilState(id: string, state: string) {
  const endMs = Date.now() + SETTLED_WITHIN_MS;
  for (;;) {
    const task = await ok("GET /v1/tasks/{id}", { params: { id } });
    if (task.state === state) return task;
    if (Date.now() > endMs) throw new Error(`the task is ${task.state}, not ${state}: ${task.reason}`);
    await Bun.sleep(LOOK_EVERY_MS);
  }
}

const target = () => ({ url: `${app.url}/health/live`, method: "GET" });
const handIn = async (given: object = {}): Promise<string> =>
  (await post("/v1/enqueue", { client_id: "shop", task: target(), ...given })).task_id;

test("the document of the running server is valid OpenAPI 3.1", async () => {
  const document = await ok("GET /openapi.json");
  expect(await new Validator().validate(document)).toEqual({ valid: true });
  expect(document.paths).toHaveProperty("/metrics");
});

test("an answer with one field too many, too few or of another kind would be noticed", async () => {
  const operation = operations.find(({ operationId }) => operationId === "get_version");
  if (operation === undefined) throw new Error("the document has no GET /version");
  const problem = (body: object) => schemas.problemWithAnswer(operation, 200, JSON_TYPE, body);
  const right = { name: "task-runner", version: "1" };
  expect(problem(right)).toBeNull();
  for (const wrong of [{ ...right, extra: 1 }, { name: "task-runner" }, { ...right, version: 1 }]) {
    expect(problem(wrong)).toBeString();
  }
});

test("each path takes the methods that the document has, and no others", async () => {
  for (const [path, taken] of Map.groupBy(operations, (one) => one.path)) {
    const response = await fetch(`${app.url}${path.replace(/\{\w+\}/g, "x")}`, { method: "OPTIONS" });
    const methods = taken.flatMap(({ method }) => (method === "GET" ? ["GET", "HEAD"] : [method]));
    const allowed = response.headers.get("allow")?.split(", ") ?? [];
    expect([path, allowed.sort()]).toEqual([path, [...methods, "OPTIONS"].sort()]);
  }
});

test(
  "tiers and clients",
  async () => {
    await post("/admin/tiers/set", { tier: "partner", requests_per_minute: 300, max_concurrent: null });
    await post("/admin/tiers/set", { tier: "free", requests_per_minute: 100_000, max_concurrent: null });
    await ok("GET /admin/tiers");
    await post("/admin/clients/set", {
      client_id: "partner-7",
      tier: "partner",
      enabled: false,
      overrides: { max_concurrent: 2 },
      allowed_queues: ["default"],
      allowed_hosts: ["*.example.com", "192.0.2.1"],
    });
    const { key_id } = await post("/admin/clients/keys/create", { client_id: "partner-7", label: "web" });
    const { secret_id } = await post("/admin/clients/secrets/create", { client_id: "partner-7" });
    const client = await ok("GET /admin/clients/get", { query: "?client_id=partner-7" });
    expect([client.keys.length, client.signing.length]).toEqual([1, 1]);
    await ok("GET /admin/clients", { query: "?limit=1" });
    await post("/admin/clients/keys/revoke", { client_id: "partner-7", key_id });
    await post("/admin/clients/secrets/revoke", { client_id: "partner-7", secret_id });
    await post("/admin/clients/delete", { client_id: "partner-7" });
    await post("/admin/tiers/delete", { tier: "partner" });
  },
  LIMIT_MS,
);

test(
  "queues",
  async () => {
    for (const queue of ["default", "old", "callbacks"]) await post("/admin/queues/set", { queue });
    await post("/admin/queues/set", {
      queue: "mail",
      max_dispatches_per_sec: 5,
      max_burst: 10,
      max_concurrent: 3,
      weight: 2,
      retry: { max_attempts: 1 },
      timeout_sec: 30,
      target: { headers: { "x-source": "mail" } },
      retention_succeeded_sec: 3_600,
      retention_dead_sec: 3_600,
      permanent_statuses: [404],
      after_death: "hold",
      dead_target: { url: `${app.url}/health/live` },
    });
    const { secret_id } = await post("/admin/queues/secrets/create", { queue: "mail" });
    await ok("GET /admin/queues/get", { query: "?queue=mail" });
    await ok("GET /admin/queues");
    await post("/admin/queues/secrets/revoke", { queue: "mail", secret_id });
    await post("/admin/queues/pause", { queue: "mail" });
    await handIn({ queue: "mail" });
    await post("/admin/queues/purge", { queue: "mail" });
    await ok("GET /admin/queues/get", { query: "?queue=mail" });
    await post("/admin/queues/resume", { queue: "mail" });
    await post("/admin/queues/delete", { queue: "old" });
  },
  LIMIT_MS,
);

test(
  "tasks",
  async () => {
    const full = {
      name: "order-1",
      delay: 3_600,
      priority: "high",
      ordering_key: "order",
      retry: { max_attempts: 3, jitter: 0 },
      retention_sec: 60,
      metadata: { order: "1" },
      callback_url: target().url,
      failure_callback_url: target().url,
      task: { ...target(), method: "POST", headers: { a: "b" }, body: { a: [1] }, timeout_sec: 5 },
    };
    const id = await handIn(full);
    expect((await post("/v1/enqueue", { client_id: "shop", ...full })).status).toBe("duplicate");
    const params = { id };
    await ok("GET /v1/tasks/{id}/explain", { params });
    const tomorrow = new Date(Date.now() + 86_400_000).toISOString();
    await ok("PATCH /v1/tasks/{id}", { params, body: { scheduled_at: tomorrow, priority: "low" } });
    await ok("DELETE /v1/tasks/{id}", { params });
    await handIn({ delay: 3_600, task: { ...target(), method: "POST", body_base64: "AP8=" } });
    const ran = await handIn({ delay: 3_600 });
    await ok("POST /v1/tasks/{id}/run", { params: { id: ran } });
    expect((await untilState(ran, "succeeded")).attempts.length).toBe(1);
    await ok("GET /v1/tasks/{id}/explain", { params: { id: ran } });
    await ok("POST /v1/tasks/{id}/replay", { params: { id: ran } });
    const page = await ok("GET /v1/tasks", { query: "?limit=2&client_id=shop&from=0" });
    expect([page.tasks.length, typeof page.next_cursor]).toEqual([2, "string"]);
    const item = { client_id: "shop", task: target(), delay: 3_600 };
    const named = { ...item, name: "batch-1" };
    const wrong = { ...item, task: { url: "ftp://example.com/" } };
    const batch = await post("/v1/enqueue/batch", { tasks: [item, named, named, wrong] });
    expect(batch).toMatchObject({ enqueued: 2, duplicates: 1, rejected: 1 });
    const body = [item, named].map((one) => `${JSON.stringify(one)}\n`).join("");
    await ok("POST /v1/enqueue/batch", { type: "application/x-ndjson", body });
  },
  LIMIT_MS,
);

test(
  "pull queues",
  async () => {
    await post("/admin/queues/set", { queue: "render", mode: "pull" });
    for (let count = 0; count < 2; count++) await handIn({ queue: "render", task: { body: { count } } });
    const params = { queue: "render" };
    const lease = async (): Promise<string> => {
      const body = { max: 1, lease_sec: 60, wait_sec: 5, consumer: "box-3" };
      const { tasks } = await ok("POST /v1/queues/{queue}/lease", { params, body });
      return tasks[0].lease;
    };
    const first = await lease();
    await post("/v1/leases/extend", { leases: [first], lease_sec: 90 });
    await post("/v1/leases/nack", { leases: [{ lease: first, error: "no ink", permanent: true }] });
    const second = await lease();
    await post("/v1/leases/ack", { leases: [{ lease: second, response: "3 pages" }] });
    const { results } = await post("/v1/leases/ack", { leases: [first, second] });
    expect(results.map(({ status }: { status: string }) => status)).toEqual(["lost", "lost"]);
  },
  LIMIT_MS,
);

test(
  "dead letters",
  async () => {
    const task = { url: `${app.url}/no-such-page`, method: "GET" };
    const id = await handIn({ queue: "mail", task });
    await untilState(id, "dead");
    const filter = { client_id: "shop", ids: [id] };
    const replayed = await post("/admin/dead/replay", { queue: "mail", filter, rate_per_sec: 100 });
    expect(replayed).toEqual({ replayed: 1, next_cursor: null });
    await untilState(id, "dead");
    expect((await post("/admin/dead/purge", { filter })).removed).toBe(1);
  },
  LIMIT_MS,
);

test("the installation and the process", async () => {
  const { entries } = await ok("GET /admin/audit", { query: "?limit=100" });
  expect(entries.length).toBeGreaterThan(10);
  expect((await ok("GET /admin/stats")).workers.length).toBe(1);
  for (const path of [
    "/",
    "/version",
    "/health",
    "/health/live",
    "/health/ready",
    "/health/detailed",
    "/docs",
  ]) {
    await ok(`GET ${path}`);
  }
  expect(await ok("GET /metrics")).toContain("# HELP");
  for (const file of ["start.js", "swagger-ui.css"]) await ok("GET /docs/{file}", { params: { file } });
});

test(
  "every kind of problem",
  async () => {
    for (const operation of operations) {
      const name = `${operation.method} ${operation.path}`;
      const wrongKey = { "x-admin-key": "wrong" };
      const refuses = operation.security.length > 0;
      // One is enough: wrong keys are answered ever later.
      if (name === "GET /admin/stats") expect((await call(name, { headers: wrongKey })).status).toBe(401);
      if (operation.requestBody !== undefined) {
        const params = { queue: "render" };
        expect((await call(name, { params, body: { nope: 1 } })).status).toBe(400);
        expect((await call(name, { params, body: "{" })).status).toBe(400);
        expect((await call(name, { params, body: "a", type: "text/plain" })).status).toBe(415);
      } else if (operation.path.includes("{id}") && refuses) {
        expect((await call(name)).status).toBe(404);
      }
      if (operation.parameters.some((one) => one.in === "query")) {
        expect((await call(name, { query: "?nope=1" })).status).toBe(400);
      }
    }
    const task = target();
    const refused = async (status: number, name: string, sent: Sent) =>
      expect([name, (await call(name, sent)).status]).toEqual([name, status]);
    const enqueue = (status: number, given: object) =>
      refused(status, "POST /v1/enqueue", { body: { client_id: "shop", task, ...given } });
    await refused(401, "POST /v1/enqueue", {
      body: { client_id: "shop", task },
      headers: { "x-admin-key": "wrong" },
    });
    await enqueue(404, { queue: "nowhere" });
    await enqueue(422, { task: { url: "ftp://example.com/" } });
    await enqueue(413, { task: { ...task, method: "POST", body: "x".repeat(1_100_000) } });
    await post("/admin/clients/set", { client_id: "slow", overrides: { requests_per_minute: 0 } });
    await enqueue(429, { client_id: "slow" });
    await post("/admin/clients/set", { client_id: "off", enabled: false });
    await enqueue(403, { client_id: "off" });
    await post("/admin/queues/set", { queue: "closed", enabled: false });
    await enqueue(409, { queue: "closed" });
    await refused(409, "POST /v1/queues/{queue}/lease", { params: { queue: "default" }, body: {} });
    await refused(404, "POST /v1/queues/{queue}/lease", { params: { queue: "none" }, body: {} });
    await refused(409, "POST /admin/queues/delete", { body: { queue: "default" } });
    await refused(409, "POST /admin/tiers/delete", { body: { tier: "free" } });
    await refused(404, "POST /admin/tiers/delete", { body: { tier: "none" } });
    await refused(404, "POST /admin/clients/delete", { body: { client_id: "none" } });
    await refused(404, "POST /admin/queues/pause", { body: { queue: "none" } });
    await refused(404, "GET /admin/queues/get", { query: "?queue=none" });
    await refused(404, "GET /admin/clients/get", { query: "?client_id=none" });
    await refused(404, "GET /docs/{file}", { params: { file: "none" } });
    expect([...problemsSeen].sort()).toEqual([400, 401, 403, 404, 409, 413, 415, 422, 429]);
  },
  LIMIT_MS,
);

test("and no route went without an answer of its own", () => {
  const all = operations.map(({ method, path }) => `${method} ${path}`);
  expect(all.filter((name) => !succeeded.has(name))).toEqual([]);
});
