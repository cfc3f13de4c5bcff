/** The OpenAPI document is valid, has all that the server has and nothing else, and says truly which keys are asked for. */

import { afterEach, describe, expect, spyOn, test } from "bun:test";
import { Validator } from "@seriousme/openapi-schema-validator";
import { Elysia } from "elysia";
import type { ClientAuth } from "../../src/api/identity.ts";
import { isKeyless, type Operation, operationsOf, Schemas, schemaFaults } from "./openapi-document.ts";
import { everyTimeAnother, giveKey, send, startApi, type TestApi, type TestApiOptions } from "./support.ts";

const LIMIT_MS = 60_000;
const ADMIN_KEY = "an-admin-key";
const MODES: readonly ClientAuth[] = ["off", "optional", "required"];
const SETUPS = MODES.flatMap((clientAuth) =>
  [null, ADMIN_KEY].map((adminKey) => [clientAuth, adminKey === null ? "no" : "an", adminKey] as const),
);

let api: TestApi | undefined;
afterEach(async () => {
  await api?.close();
  api = undefined;
});

async function start(options: TestApiOptions = {}) {
  api = await startApi({ addressOf: everyTimeAnother(), ...options });
  const { body } = await send("GET", `${api.url}${options.pathPrefix ?? ""}/openapi.json`);
  return { api, document: body, operations: operationsOf(body) };
}

const forMode = (clientAuth: ClientAuth, adminKey: string | null) => ({
  clientAuth,
  ...(adminKey !== null && { adminKey }),
});

describe("the document", () => {
  test.each(SETUPS)(
    "is OpenAPI 3.1 with CLIENT_AUTH=%s and %s admin key",
    async (clientAuth, _, adminKey) => {
      const { document } = await start({ ...forMode(clientAuth, adminKey), pathPrefix: "/apps/tasks" });
      expect(await new Validator().validate(document)).toEqual({ valid: true });
    },
  );

  test("holds schemas that are JSON Schema 2020-12, and no reference that leads nowhere", async () => {
    const { document } = await start();
    expect(schemaFaults(document)).toEqual([]);
  });

  test("would be refused where something were amiss", async () => {
    const { document } = await start();
    document.components.schemas.Task.properties.queue.type = 7;
    document.components.schemas.Client.properties.tier = { $ref: "#/components/schemas/Nothing" };
    expect(schemaFaults(document).length).toBe(2);
    delete document.paths["/v1/enqueue"].post.responses[202].description;
    expect((await new Validator().validate(document)).valid).toBe(false);
  });

  test("has every route that the server has, and no other", async () => {
    const registered = spyOn(Elysia.prototype, "route");
    try {
      const { operations } = await start();
      const has = registered.mock.calls
        .map(([method, path]) => `${method} ${path}`.replace(/:(\w+)/g, "{$1}"))
        .filter((route) => !route.startsWith("HEAD "));
      expect(operations.map(({ method, path }) => `${method} ${path}`).sort()).toEqual(has.sort());
    } finally {
      registered.mockRestore();
    }
  });

  test("names its operations uniquely, each under one heading that is listed", async () => {
    const { document, operations } = await start();
    const ids = operations.map(({ operationId }) => operationId);
    expect(new Set(ids).size).toBe(ids.length);
    for (const id of ids) expect(id).toMatch(/^[a-z][a-z0-9_]*$/);
    const listed = document.tags.map(({ name }: { name: string }) => name);
    for (const { tags } of operations) expect([tags.length, listed.includes(tags[0])]).toEqual([1, true]);
  });

  test("tells of every operation what it answers, its problems and what else may come", async () => {
    const { document, operations } = await start({ adminKey: ADMIN_KEY, clientAuth: "required" });
    const names = Object.keys(document.components.responses);
    for (const operation of operations) {
      const { operationId, responses } = operation;
      const statuses = Object.keys(responses);
      expect([operationId, statuses.some((status) => /^2\d\d$/.test(status))]).toEqual([operationId, true]);
      expect([operationId, statuses]).toEqual([operationId, expect.arrayContaining(["default"])]);
      const expected = [
        ...(operation.security.length > 0 ? ["401", "429", "503"] : []),
        ...(operation.requestBody !== undefined ? ["400", "413", "415"] : []),
        ...(operation.parameters.some((one) => one.in === "query") ? ["400"] : []),
        ...(operation.path.endsWith("}") || operation.path.includes("}/") ? ["404"] : []),
      ];
      expect([operationId, statuses]).toEqual([operationId, expect.arrayContaining(expected)]);
      for (const { $ref } of Object.values(responses)) {
        if ($ref !== undefined) expect(names).toContain($ref.replace("#/components/responses/", ""));
      }
    }
    expect(document.components.responses.Problem429.headers).toHaveProperty("Retry-After");
    expect(document.components.responses.Problem409.description).toContain("queue_disabled");
  });

  test("has for every body an example that fits", async () => {
    const { document, operations } = await start();
    const schemas = new Schemas(document);
    const taking = operations.filter(({ requestBody }) => requestBody !== undefined);
    expect(taking.length).toBeGreaterThan(20);
    for (const operation of taking) {
      const { path, requestBody } = operation;
      const example = requestBody?.content["application/json"]?.example;
      if (example === undefined) throw new Error(`${path} has no example: add one to openapi-examples.ts`);
      expect([path, schemas.problemWithRequest(operation, "application/json", example)]).toEqual([
        path,
        null,
      ]);
    }
  });

  test("says of a parameter whether it has to be there", async () => {
    const { operations } = await start();
    const required = (id: string, name: string) =>
      operations.find(({ operationId }) => operationId === id)?.parameters.find((one) => one.name === name)
        ?.required;
    expect(required("get_admin_clients_get", "client_id")).toBe(true);
    expect(required("get_admin_queues_get", "queue")).toBe(true);
    expect(required("get_v1_tasks", "queue")).toBe(false);
    expect(required("get_v1_tasks_id", "id")).toBe(true);
  });
});

describe("the keys that the document asks for are those that are asked for", () => {
  test.each(SETUPS)(
    "with CLIENT_AUTH=%s and %s admin key",
    async (clientAuth, _, adminKey) => {
      const { api, document, operations } = await start(forMode(clientAuth, adminKey));
      const key = await giveKey(api.store, "ann");
      const schemes = new Set(operations.flatMap(({ security }) => security.flatMap(Object.keys)));
      expect(Object.keys(document.components.securitySchemes).sort()).toEqual([...schemes].sort());
      const wrong = `${key.slice(0, -4)}AAAA`;
      const shown: readonly (readonly [scheme: string, right: boolean, headers: Record<string, string>])[] = [
        ["adminKey", adminKey !== null, { "x-admin-key": ADMIN_KEY }],
        ["adminKey", false, { "x-admin-key": "wrong" }],
        ["clientKey", true, { "x-api-key": key }],
        ["clientKey", false, { "x-api-key": wrong }],
        ["clientBearer", true, { authorization: `Bearer ${key}` }],
        ["clientBearer", false, { authorization: `Bearer ${wrong}` }],
      ];
      const found: string[] = [];
      const told: string[] = [];
      for (const operation of operations) {
        const name = `${operation.method} ${operation.path}`;
        if (await letsIn(api, operation, {})) found.push(`${name} without a key`);
        if (isKeyless(operation)) told.push(`${name} without a key`);
        for (const [scheme, right, headers] of shown) {
          const what = `${name} with ${right ? "a right" : "a wrong"} ${scheme}`;
          const looksAt = operation.security.some((keys) => scheme in keys);
          if (await letsIn(api, operation, headers)) found.push(what);
          // A key that nobody looks at neither opens nor closes.
          if (looksAt ? right : isKeyless(operation)) told.push(what);
        }
      }
      expect(found).toEqual(told);
    },
    LIMIT_MS,
  );

  test("leasing needs a key wherever clients may have keys", async () => {
    const { operations } = await start({ clientAuth: "optional" });
    const leases = operations.filter(({ path }) => /\/lease/.test(path));
    expect(leases.length).toBe(4);
    for (const { security } of leases) expect(security).toEqual([{ clientKey: [] }, { clientBearer: [] }]);
  });
});

/** Whether a request that says nothing of use comes past the keys, to be refused for what it says or answered. */
async function letsIn({ url }: TestApi, operation: Operation, headers: Record<string, string>) {
  const { method, requestBody } = operation;
  // Of a client without keys, for whom no key is asked.
  const query = operation.path === "/v1/tasks" ? "?client_id=bob" : "";
  const path = operation.path.replace(/\{\w+\}/g, "none");
  const response = await fetch(`${url}${path}${query}`, {
    method,
    headers: { ...headers, ...(requestBody !== undefined && { "content-type": "application/json" }) },
    ...(requestBody !== undefined && { body: "{}" }),
  });
  await response.body?.cancel();
  return response.status !== 401;
}
