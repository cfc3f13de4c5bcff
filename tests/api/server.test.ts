import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { HealthSource } from "../../src/api/health.ts";
import { createHealthApi } from "../../src/api/server.ts";
import { createLogger } from "../../src/telemetry/logger.ts";
import { newTaskId } from "../support/tasks.ts";
import { enqueueBody, everyTimeAnother, send, startApi, type TestApi, WELL } from "./support.ts";

const KEY = "correct horse battery staple";
const ILL: HealthSource = {
  live: () => ({ ok: false, reason: "the loop stands still" }),
  ready: async () => ({ ok: false, reason: "the disk is full" }),
  detailed: async () => {
    throw new Error("the store is closed");
  },
};

let open: TestApi;
let locked: TestApi;
beforeAll(async () => {
  open = await startApi();
  locked = await startApi({ adminKey: KEY, health: ILL, addressOf: everyTimeAnother() });
});
afterAll(async () => {
  await open.close();
  await locked.close();
});

describe("every answer", () => {
  test("carries the caller's X-Request-Id", async () => {
    const headers = { "X-Request-Id": "abc-123" };
    for (const path of ["/version", "/nowhere", "/v1/tasks/x"]) {
      const { headers: got } = await send("GET", `${open.url}${path}`, undefined, headers);
      expect(got.get("x-request-id")).toBe("abc-123");
    }
  });

  test("carries one made here where the caller's is of no use, and never the same twice", async () => {
    const seen = new Set<string | null>();
    for (const given of ["", "a b", "ü", "x".repeat(129)]) {
      const { headers } = await send("GET", `${open.url}/version`, undefined, { "X-Request-Id": given });
      expect(headers.get("x-request-id")).toMatch(/^[\x21-\x7e]{1,128}$/);
      expect(headers.get("x-request-id")).not.toBe(given);
      seen.add(headers.get("x-request-id"));
    }
    expect(seen.size).toBe(4);
  });
});

describe("paths and methods", () => {
  test("what is not there is told as a problem", async () => {
    for (const path of ["/nowhere", "/v1", "/v1/tasks/a/b", "/admin"]) {
      const answer = await send("GET", `${open.url}${path}`);
      expect([answer.status, answer.body.code]).toEqual([404, "not_found"]);
      expect(answer.headers.get("content-type")).toBe("application/problem+json");
    }
  });

  test.each([
    ["GET", "/v1/enqueue", "POST, OPTIONS"],
    ["PUT", "/v1/tasks/x", "GET, HEAD, DELETE, PATCH, OPTIONS"],
    ["POST", "/version", "GET, HEAD, OPTIONS"],
    ["DELETE", "/v1/tasks", "GET, HEAD, OPTIONS"],
  ])("%s %s is told what it takes", async (method, path, allow) => {
    const answer = await send(method, `${open.url}${path}`);
    expect([answer.status, answer.body.code, answer.headers.get("allow")]).toEqual([
      405,
      "method_not_allowed",
      allow,
    ]);
  });

  test.each(["a", "api", "x:1", "[::1]", "task-runner.example.com"])(
    "are the same on the host %s",
    async (host) => {
      const answer = await send("GET", `${open.url}/version`, undefined, { Host: host });
      expect([answer.status, answer.body.version]).toEqual([200, "1.2.3"]);
    },
  );

  test("HEAD answers as GET does, without a body", async () => {
    const response = await fetch(`${open.url}/version`, { method: "HEAD" });
    expect([response.status, await response.text()]).toEqual([200, ""]);
    expect((await fetch(`${open.url}/v1/tasks/x`, { method: "HEAD" })).status).toBe(404);
    expect((await fetch(`${locked.url}/v1/tasks`, { method: "HEAD" })).status).toBe(401);
  });

  test("OPTIONS tells the methods", async () => {
    const response = await fetch(`${open.url}/v1/tasks`, { method: "OPTIONS" });
    expect([response.status, response.headers.get("allow")]).toEqual([204, "GET, HEAD, OPTIONS"]);
  });

  test("the root points to the document", async () => {
    const { status, body } = await send("GET", open.url);
    expect([status, body.name, body.version]).toEqual([200, "task-runner", "1.2.3"]);
    expect([body.openapi, body.docs]).toEqual(["/openapi.json", "/docs"]);
  });
});

describe("the admin key", () => {
  const guarded = (id: string) => [
    ["GET", "/v1/tasks"],
    ["DELETE", `/v1/tasks/${id}`],
    ["PATCH", `/v1/tasks/${id}`],
    ["POST", `/v1/tasks/${id}/run`],
    ["POST", `/v1/tasks/${id}/replay`],
  ];

  test("is needed to list and change tasks where one is set", async () => {
    for (const key of [undefined, "wrong", `${KEY} `.repeat(2), KEY.toUpperCase()]) {
      for (const [method = "", path] of guarded(newTaskId())) {
        const headers: Record<string, string> = key === undefined ? {} : { "X-Admin-Key": key };
        const answer = await send(method, `${locked.url}${path}`, undefined, headers);
        expect([answer.status, answer.body.code]).toEqual([401, "unauthorized"]);
        expect(JSON.stringify(answer.body)).not.toContain(KEY);
        expect(answer.headers.get("www-authenticate")).toContain("X-Admin-Key");
      }
    }
  });

  test("opens them when it is right", async () => {
    const answer = await send("GET", `${locked.url}/v1/tasks`, undefined, { "X-Admin-Key": KEY });
    expect(answer.status).toBe(200);
  });

  test("is not needed to hand in a task and to read it", async () => {
    const { status, body } = await send("POST", `${locked.url}/v1/enqueue`, enqueueBody());
    expect(status).toBe(202);
    expect((await send("GET", `${locked.url}/v1/tasks/${body.task_id}`)).status).toBe(200);
  });

  test("is not asked for where none is set", async () => {
    expect((await send("GET", `${open.url}/v1/tasks`)).status).toBe(200);
    expect((await send("DELETE", `${open.url}/v1/tasks/${newTaskId()}`)).status).toBe(404);
  });
});

describe("health", () => {
  test("says that all is well", async () => {
    for (const path of ["/health", "/health/live", "/health/ready"]) {
      const { status, body } = await send("GET", `${open.url}${path}`);
      expect([status, body]).toEqual([200, { status: "ok" }]);
    }
  });

  test("says what is wrong", async () => {
    const live = await send("GET", `${locked.url}/health/live`);
    expect([live.status, live.body]).toEqual([
      503,
      { status: "unavailable", reason: "the loop stands still" },
    ]);
    for (const path of ["/health", "/health/ready"]) {
      const { status, body } = await send("GET", `${locked.url}${path}`);
      expect([status, body]).toEqual([503, { status: "unavailable", reason: "the disk is full" }]);
    }
  });

  test("a question that fails is an answer too", async () => {
    const { status, body } = await send("GET", `${locked.url}/health/detailed`);
    expect([status, body.reason]).toEqual([503, "the store is closed"]);
  });

  test("says loudly that admin is open, and only then", async () => {
    const { body } = await send("GET", `${open.url}/health/detailed`);
    expect(body).toMatchObject({ status: "ok", version: "1.2.3", role: "serve" });
    expect(body.warnings).toEqual([expect.stringContaining("ADMIN IS OPEN")]);
    expect((await send("GET", `${locked.url}/health/detailed`)).body.warnings).toEqual([]);
  });

  test("a worker's port answers health and version and nothing else", async () => {
    const logger = createLogger({ level: "error", role: "work", destination: { write: () => {} } });
    const { fetch } = createHealthApi({ health: WELL, logger, version: "1.2.3" });
    const status = async (method: string, path: string) =>
      (await fetch(new Request(`http://localhost${path}`, { method }))).status;
    expect(await status("GET", "/health/ready")).toBe(200);
    expect(await status("GET", "/version")).toBe(200);
    expect(await status("POST", "/v1/enqueue")).toBe(404);
    expect(await status("GET", "/v1/tasks")).toBe(404);
  });
});

describe("GET /openapi.json", () => {
  test("describes every route, with what it takes and answers", async () => {
    const { status, body } = await send("GET", `${open.url}/openapi.json`);
    expect([status, body.openapi, body.info.version]).toEqual([200, "3.1.0", "1.2.3"]);
    const paths = Object.keys(body.paths);
    expect(paths.filter((path) => path.startsWith("/admin")).length).toBeGreaterThan(15);
    expect(paths.filter((path) => !path.startsWith("/admin")).sort()).toEqual([
      "/",
      "/docs",
      "/docs/{file}",
      "/health",
      "/health/detailed",
      "/health/live",
      "/health/ready",
      "/openapi.json",
      "/v1/enqueue",
      "/v1/enqueue/batch",
      "/v1/leases/ack",
      "/v1/leases/extend",
      "/v1/leases/nack",
      "/v1/queues/{queue}/lease",
      "/v1/tasks",
      "/v1/tasks/{id}",
      "/v1/tasks/{id}/explain",
      "/v1/tasks/{id}/replay",
      "/v1/tasks/{id}/run",
      "/version",
    ]);
    const { post } = body.paths["/v1/enqueue"];
    expect(post.requestBody.content["application/json"].schema.$ref).toBe(
      "#/components/schemas/EnqueueRequest",
    );
    expect(body.components.schemas.EnqueueRequest).toMatchObject({
      type: "object",
      required: ["client_id", "task"],
      additionalProperties: false,
    });
    const statuses = [200, 202, 400, 401, 403, 404, 409, 413, 415, 422, 429, 503];
    expect(Object.keys(post.responses).sort()).toEqual([...statuses.map(String), "default"]);
    expect(Object.keys(post.responses["202"].headers)).toContain("RateLimit-Remaining");
    expect(post.responses["429"].$ref).toBe("#/components/responses/Problem429");
    expect(Object.keys(body.components.responses.Problem429.headers)).toContain("Retry-After");
    expect(body.paths["/v1/tasks"].get.parameters.map(({ name }: { name: string }) => name)).toContain(
      "cursor",
    );
  });

  test("holds no two operations of one id, and no reference that leads nowhere", async () => {
    const { body } = await send("GET", `${open.url}/openapi.json`);
    const operations = Object.values<Record<string, { operationId: string }>>(body.paths).flatMap((path) =>
      Object.values(path),
    );
    const ids = operations.map(({ operationId }) => operationId);
    expect(new Set(ids).size).toBe(ids.length);
    const text = JSON.stringify(body);
    for (const [, name] of text.matchAll(/"\$ref":"#\/components\/schemas\/(\w+)"/g)) {
      expect(Object.keys(body.components.schemas)).toContain(name ?? "");
    }
    expect(text).not.toContain('"$id"');
  });
});
