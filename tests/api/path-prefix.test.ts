/** PATH_PREFIX: the whole API under a path that a proxy sends here, health without it too, and nothing else outside. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { loadConfig } from "../config/load.ts";
import { enqueueBody, send, startApi, type TestApi } from "./support.ts";

const PREFIX = "/apps/tasks";

let api: TestApi;
beforeAll(async () => {
  api = await startApi({ pathPrefix: PREFIX });
});
afterAll(() => api.close());

describe("under a path prefix", () => {
  test("a task is handed in, read and cancelled", async () => {
    const under = `${api.url}${PREFIX}`;
    const { status, body } = await send("POST", `${under}/v1/enqueue`, enqueueBody({ delay: 3_600 }));
    expect(status).toBe(202);
    expect((await send("GET", `${under}/v1/tasks/${body.task_id}`)).body.task_id).toBe(body.task_id);
    expect((await send("DELETE", `${under}/v1/tasks/${body.task_id}`)).body.state).toBe("cancelled");
    expect((await send("GET", `${under}/admin/clients`)).status).toBe(200);
  });

  test("methods are told there, and what is not there is a problem", async () => {
    const wrong = await send("PUT", `${api.url}${PREFIX}/v1/enqueue`);
    expect([wrong.status, wrong.headers.get("allow")]).toEqual([405, "POST, OPTIONS"]);
    expect((await send("GET", `${api.url}${PREFIX}/nowhere`)).body.code).toBe("not_found");
  });

  test.each(["", "/"])("its root%p points to paths that are there", async (ending) => {
    const { status, body } = await send("GET", `${api.url}${PREFIX}${ending}`);
    expect([status, body.name]).toEqual([200, "task-runner"]);
    for (const path of [body.openapi, body.health, body.docs]) {
      expect((await fetch(`${api.url}${path}`)).status).toBe(200);
    }
    expect(body.enqueue).toBe(`${PREFIX}/v1/enqueue`);
  });

  test("the document says where its paths are", async () => {
    const { body } = await send("GET", `${api.url}${PREFIX}/openapi.json`);
    expect(body.servers).toEqual([{ url: PREFIX }]);
    expect(Object.keys(body.paths)).toContain("/v1/enqueue");
  });

  test.each(["/health", "/health/live", "/health/ready", "/health/detailed"])(
    "%s answers with the prefix and, for probes, without it",
    async (path) => {
      for (const at of [PREFIX, ""]) expect((await send("GET", `${api.url}${at}${path}`)).status).toBe(200);
    },
  );

  test.each([
    "/",
    "/v1/tasks",
    "/v1/enqueue",
    "/admin/clients",
    "/version",
    "/openapi.json",
    "/docs",
    "/docs/start.js",
    "/apps/tasksx/version",
  ])("%s is not there without it", async (path) => {
    expect((await send("GET", `${api.url}${path}`)).status).toBe(404);
  });
});

test("without one the document names no server", async () => {
  const plain = await startApi();
  try {
    expect("servers" in (await send("GET", `${plain.url}/openapi.json`)).body).toBe(false);
  } finally {
    await plain.close();
  }
});

describe("PATH_PREFIX", () => {
  test.each(["/tasks", "/a/b-c/~d.e_f"])("%s is taken", (text) => {
    const { config, problems } = loadConfig({ PATH_PREFIX: text });
    expect([config.PATH_PREFIX, problems]).toEqual([text, []]);
  });

  test.each(["tasks", "/", "/tasks/", "//tasks", "/a b", "/:id", "/*", "https://example.com/tasks"])(
    "%s is refused with what is allowed",
    (text) => {
      const { problems } = loadConfig({ PATH_PREFIX: text });
      expect(problems.map(({ line }) => line)).toEqual([
        expect.stringMatching(/^PATH_PREFIX=.* is not allowed: a path such as \/tasks/),
      ]);
    },
  );
});
