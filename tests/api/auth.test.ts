import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import type { ClientAuth } from "../../src/api/identity.ts";
import { leaseToken } from "../../src/service/lease-token.ts";
import { newTaskId } from "../support/tasks.ts";
import {
  type Answered,
  enqueueBody,
  everyTimeAnother,
  giveKey,
  putClient,
  send,
  startApi,
  type TestApi,
  type TestApiOptions,
} from "./support.ts";

const ADMIN_KEY = "correct horse battery staple";
const AS_ADMIN = { "X-Admin-Key": ADMIN_KEY };
type Headers = Record<string, string>;
const bearer = (key: string): Headers => ({ Authorization: `Bearer ${key}` });

const codes = ({ status, body }: Answered) => [status, body?.code];
const UNAUTHORIZED = [401, "unauthorized"];
const FORBIDDEN = [403, "forbidden"];
const TASK_NOT_FOUND = [404, "task_not_found"];

/** An API with a client `ann` and a client `bob` that have a key each, and a client `kim` that has none. */
async function startWith(clientAuth: ClientAuth, options: TestApiOptions = {}) {
  const api = await startApi({ clientAuth, addressOf: everyTimeAnother(), ...options });
  const ann = await giveKey(api.store, "ann");
  const bob = await giveKey(api.store, "bob");
  await putClient(api.store, "kim");
  return { api, ann, bob };
}

const enqueue = (api: TestApi, client_id: string, headers: Headers = {}) =>
  send("POST", `${api.url}/v1/enqueue`, enqueueBody({ client_id, delay: 60 }), headers);

/** A task of this client, past the API. */
async function taskOf(api: TestApi, client_id: string): Promise<string> {
  const request = { client_id, delay: 60, task: { url: "https://example.com/" } };
  const { result } = await api.service.enqueue(request, { idempotencyKey: null, traceparent: null });
  return result.id;
}

const READS = ["GET ", "GET /explain"];
const CHANGES = ["PATCH ", "POST /replay", "POST /run", "DELETE "];

/** Answers to what is asked of one task: everything that there is, unless told otherwise. */
function onTask(
  api: TestApi,
  id: string,
  headers: Headers = {},
  asked: readonly string[] = [...READS, ...CHANGES],
): Promise<Answered>[] {
  return asked.map((one) => {
    const [method = "", rest = ""] = one.split(" ");
    const body = method === "PATCH" ? { delay: 30 } : undefined;
    return send(method, `${api.url}/v1/tasks/${id}${rest}`, body, headers);
  });
}

/** Those of a waiting task that leave it waiting. */
const HARMLESS = [...READS, "PATCH ", "POST /replay"];

async function each(answers: Promise<Answered>[]): Promise<unknown[]> {
  return (await Promise.all(answers)).map(codes);
}

const list = (api: TestApi, query: string, headers: Headers = {}) =>
  send("GET", `${api.url}/v1/tasks${query}`, undefined, headers);
const clientsOf = ({ body }: Answered) => new Set(body.tasks.map(({ client_id }: Headers) => client_id));

describe("CLIENT_AUTH=required", () => {
  let api: TestApi;
  let ann: string;
  let bob: string;
  beforeAll(async () => {
    ({ api, ann, bob } = await startWith("required", { adminKey: ADMIN_KEY }));
  });
  afterAll(() => api.close());

  test("a task needs a key of its client, in either header, or the admin key", async () => {
    expect((await enqueue(api, "ann", bearer(ann))).status).toBe(202);
    expect((await enqueue(api, "ann", { authorization: `bearer ${ann}` })).status).toBe(202);
    expect((await enqueue(api, "ann", { "X-API-Key": ann })).status).toBe(202);
    expect((await enqueue(api, "kim", AS_ADMIN)).status).toBe(202);
    for (const client of ["ann", "kim", "new"]) {
      const answer = await enqueue(api, client);
      expect(codes(answer)).toEqual(UNAUTHORIZED);
      expect(answer.headers.get("www-authenticate")).toContain("Bearer");
    }
    expect(codes(await enqueue(api, "bob", bearer(ann)))).toEqual(FORBIDDEN);
  });

  test("a key that goes with another is not looked past when it is wrong", async () => {
    expect(codes(await enqueue(api, "ann", { ...bearer(ann), "X-Admin-Key": "wrong" }))).toEqual(
      UNAUTHORIZED,
    );
    expect(codes(await enqueue(api, "ann", { ...bearer(ann), "X-API-Key": "wrong" }))).toEqual(UNAUTHORIZED);
  });

  test("of a batch, the tasks of others are refused one by one", async () => {
    const tasks = ["ann", "bob", "ann", "new"].map((client_id) => enqueueBody({ client_id }));
    const { status, body } = await send("POST", `${api.url}/v1/enqueue/batch`, { tasks }, bearer(ann));
    expect(status).toBe(202);
    expect(body.results.map(({ status: done, code }: Headers) => code ?? done)).toEqual([
      "enqueued",
      "forbidden",
      "enqueued",
      "forbidden",
    ]);
    expect(await api.store.read("client", "new")).toBeNull();
  });

  test("a client reaches its own tasks, and another's are as if they were not there", async () => {
    const own = await taskOf(api, "ann");
    const foreign = await taskOf(api, "bob");
    const statuses = (await Promise.all(onTask(api, own, bearer(ann), HARMLESS))).map(({ status }) => status);
    expect(statuses).toEqual([200, 200, 200, 409]);
    const foreignOnes = await Promise.all(onTask(api, foreign, bearer(ann)));
    const unknownOnes = await Promise.all(onTask(api, newTaskId(), bearer(ann)));
    expect(foreignOnes.map(codes)).toEqual(foreignOnes.map(() => TASK_NOT_FOUND));
    expect(foreignOnes.map(({ body }) => body)).toEqual(unknownOnes.map(({ body }) => body));
    expect(await api.store.get(foreign)).toMatchObject({ state: "scheduled" });
    expect((await send("POST", `${api.url}/v1/tasks/${own}/run`, undefined, bearer(ann))).status).toBe(200);
    expect((await send("DELETE", `${api.url}/v1/tasks/${own}`, undefined, bearer(ann))).status).toBe(200);
  });

  test("a listing is of the key's client, whatever else is asked for", async () => {
    await taskOf(api, "ann");
    await taskOf(api, "bob");
    expect(clientsOf(await list(api, "", bearer(bob)))).toEqual(new Set(["bob"]));
    expect(clientsOf(await list(api, "?client_id=bob", bearer(bob)))).toEqual(new Set(["bob"]));
    expect(codes(await list(api, "?client_id=ann", bearer(bob)))).toEqual(FORBIDDEN);
    expect([...clientsOf(await list(api, "?limit=100", AS_ADMIN))]).toContain("ann");
    expect(clientsOf(await list(api, "?client_id=bob", AS_ADMIN))).toEqual(new Set(["bob"]));
  });

  test("the admin key reaches every task", async () => {
    const id = await taskOf(api, "bob");
    const statuses = (await Promise.all(onTask(api, id, AS_ADMIN, HARMLESS))).map(({ status }) => status);
    expect(statuses).toEqual([200, 200, 200, 409]);
  });

  test("a disabled client's key opens what it has, but takes nothing new", async () => {
    const key = await giveKey(api.store, "dan");
    const id = await taskOf(api, "dan");
    await putClient(api.store, "dan", { enabled: false });
    expect(codes(await enqueue(api, "dan", bearer(key)))).toEqual([403, "client_disabled"]);
    expect((await send("GET", `${api.url}/v1/tasks/${id}`, undefined, bearer(key))).status).toBe(200);
  });

  test("a key is made, used and revoked, and is worth nothing from then on", async () => {
    const made = await send("POST", `${api.url}/admin/clients/keys/create`, { client_id: "eve" }, AS_ADMIN);
    expect(made.status).toBe(200);
    const { key, key_id } = made.body;
    expect((await enqueue(api, "eve", bearer(key))).status).toBe(202);
    const revoke = { client_id: "eve", key_id };
    await send("POST", `${api.url}/admin/clients/keys/revoke`, revoke, AS_ADMIN);
    expect(codes(await enqueue(api, "eve", bearer(key)))).toEqual(UNAUTHORIZED);
  });

  test("a client's key opens no door of the admin's", async () => {
    expect(codes(await send("GET", `${api.url}/admin/clients`, undefined, bearer(ann)))).toEqual(
      UNAUTHORIZED,
    );
    const withAdmin = { ...bearer(ann), ...AS_ADMIN };
    expect((await send("GET", `${api.url}/admin/clients`, undefined, withAdmin)).status).toBe(200);
  });

  test("health, version and the document need no key, and look at none", async () => {
    for (const path of ["/health", "/health/live", "/version", "/openapi.json", "/"]) {
      expect((await send("GET", `${api.url}${path}`, undefined, bearer("wrong"))).status).toBe(200);
    }
  });

  test("the audit names whoever held the admin key by its fingerprint", async () => {
    await send("POST", `${api.url}/admin/clients/set`, { client_id: "fay" }, AS_ADMIN);
    const { body } = await send("GET", `${api.url}/admin/audit?limit=1`, undefined, AS_ADMIN);
    const fingerprint = createHash("sha256").update(ADMIN_KEY).digest("hex").slice(0, 8);
    expect(body.entries[0]).toMatchObject({ actor: `key:${fingerprint}`, subject: "fay" });
  });

  test("the document tells which keys open what", async () => {
    const { body } = await send("GET", `${api.url}/openapi.json`);
    expect(Object.keys(body.components.securitySchemes).sort()).toEqual([
      "adminKey",
      "clientBearer",
      "clientKey",
    ]);
    const any = [{ adminKey: [] }, { clientKey: [] }, { clientBearer: [] }];
    expect(body.paths["/v1/enqueue"].post.security).toEqual(any);
    expect(body.paths["/v1/tasks"].get.security).toEqual(any);
    expect(body.paths["/admin/clients"].get.security).toEqual([{ adminKey: [] }]);
    expect(body.paths["/health"].get.security).toEqual([]);
  });
});

describe("CLIENT_AUTH=optional", () => {
  let api: TestApi;
  let ann: string;
  beforeAll(async () => {
    ({ api, ann } = await startWith("optional", { adminKey: ADMIN_KEY }));
  });
  afterAll(() => api.close());

  test("a client that has keys must use one, the others need none", async () => {
    expect(codes(await enqueue(api, "ann"))).toEqual(UNAUTHORIZED);
    expect((await enqueue(api, "ann", bearer(ann))).status).toBe(202);
    expect((await enqueue(api, "kim")).status).toBe(202);
    expect((await enqueue(api, "new")).status).toBe(202);
    expect(codes(await enqueue(api, "kim", bearer("wrong")))).toEqual(UNAUTHORIZED);
    const tasks = ["kim", "ann"].map((client_id) => enqueueBody({ client_id }));
    const { body } = await send("POST", `${api.url}/v1/enqueue/batch`, { tasks });
    expect(body.results.map(({ status, code }: Headers) => code ?? status)).toEqual([
      "enqueued",
      "unauthorized",
    ]);
  });

  test("a client's first key closes the way without one at once, and its last key's end opens it", async () => {
    expect((await enqueue(api, "gus")).status).toBe(202);
    await giveKey(api.store, "gus");
    expect(codes(await enqueue(api, "gus"))).toEqual(UNAUTHORIZED);
    await putClient(api.store, "gus", { keys: [] });
    expect((await enqueue(api, "gus")).status).toBe(202);
  });

  test("without a key a task of a client with keys is as if it were not there", async () => {
    const at = (id: string) => send("GET", `${api.url}/v1/tasks/${id}`);
    const hidden = await at(await taskOf(api, "ann"));
    expect(codes(hidden)).toEqual(TASK_NOT_FOUND);
    expect(hidden.body).toEqual((await at(newTaskId())).body);
    expect((await at(await taskOf(api, "kim"))).status).toBe(200);
  });

  test("without a key nobody lists or changes where an admin key is set", async () => {
    const id = await taskOf(api, "kim");
    expect(codes(await list(api, "?client_id=kim"))).toEqual(UNAUTHORIZED);
    expect(await each(onTask(api, id, {}, CHANGES))).toEqual(Array.from({ length: 4 }, () => UNAUTHORIZED));
    expect((await list(api, "", bearer(ann))).status).toBe(200);
  });

  test("without an admin key, clients without keys are free and the others are not", async () => {
    const { api: open, ann: key } = await startWith("optional");
    try {
      const id = await taskOf(open, "kim");
      const foreign = await taskOf(open, "ann");
      expect((await list(open, "?client_id=kim")).status).toBe(200);
      expect(codes(await list(open, "?client_id=ann"))).toEqual(UNAUTHORIZED);
      expect(codes(await list(open, ""))).toEqual(UNAUTHORIZED);
      expect((await send("DELETE", `${open.url}/v1/tasks/${id}`)).status).toBe(200);
      expect(await each(onTask(open, foreign))).toEqual(Array.from({ length: 6 }, () => TASK_NOT_FOUND));
      expect((await send("DELETE", `${open.url}/v1/tasks/${foreign}`, undefined, bearer(key))).status).toBe(
        200,
      );
      expect((await send("GET", `${open.url}/admin/clients`)).status).toBe(200);
      const { body } = await send("GET", `${open.url}/health/detailed`);
      expect(body.warnings).toEqual([expect.stringContaining("make a key for any client")]);
    } finally {
      await open.close();
    }
  });
});

describe("CLIENT_AUTH=required without an admin key", () => {
  test("leaves administration open, and tasks to who has their client's key", async () => {
    const { api, ann } = await startWith("required");
    try {
      expect((await send("GET", `${api.url}/admin/clients`)).status).toBe(200);
      const id = await taskOf(api, "ann");
      expect(await each(onTask(api, id))).toEqual(Array.from({ length: 6 }, () => UNAUTHORIZED));
      // No admin key is set, so whatever is presented as one says nothing.
      expect(await each(onTask(api, id, AS_ADMIN))).toEqual(Array.from({ length: 6 }, () => UNAUTHORIZED));
      expect((await list(api, "", { ...AS_ADMIN, ...bearer(ann) })).status).toBe(200);
    } finally {
      await api.close();
    }
  });
});

describe("CLIENT_AUTH=off", () => {
  test("looks at no client key, and asks the store for none", async () => {
    let reads = 0;
    const { api, bob } = await startWith("off", {
      adminKey: ADMIN_KEY,
      wrapStore: (store) =>
        new Proxy(store, {
          get(target, name) {
            if (name === "read") reads++;
            const value = Reflect.get(target, name);
            return typeof value === "function" ? value.bind(target) : value;
          },
        }),
    });
    try {
      for (const headers of [{}, bearer("wrong"), bearer(bob), { "X-API-Key": "wrong" }]) {
        const answer = await enqueue(api, "ann", headers);
        expect(answer.status).toBe(202);
        const read = await send("GET", `${api.url}/v1/tasks/${answer.body.task_id}`, undefined, headers);
        expect(read.status).toBe(200);
      }
      expect(reads).toBe(0);
      expect(codes(await list(api, "", bearer(bob)))).toEqual(UNAUTHORIZED);
      expect((await list(api, "", AS_ADMIN)).status).toBe(200);
    } finally {
      await api.close();
    }
  });
});

const NO_LEASE = leaseToken({ taskId: newTaskId(), fence: 1, startedAtMs: 1 });

/** Every route that is not open, as its own document has them. */
async function guardedRoutes(api: TestApi): Promise<{ method: string; path: string }[]> {
  const { body } = await send("GET", `${api.url}/openapi.json`);
  return Object.entries<Record<string, { security: unknown[] }>>(body.paths).flatMap(([path, operations]) =>
    Object.entries(operations)
      .filter(([, { security }]) => security.length > 0)
      .map(([method]) => ({ method: method.toUpperCase(), path })),
  );
}

/** A body that the route would take, were it not for the key. */
function bodyFor(path: string, method: string): unknown {
  if (method === "PATCH") return { delay: 30 };
  if (path.startsWith("/v1/leases/")) return { leases: [NO_LEASE] };
  if (path.endsWith("/lease")) return {};
  if (path === "/v1/enqueue") return enqueueBody({ client_id: "ann" });
  if (path === "/v1/enqueue/batch") return { tasks: [enqueueBody({ client_id: "ann" })] };
  if (method !== "POST" || path.startsWith("/v1")) return undefined;
  if (path.startsWith("/admin/clients")) return { client_id: "ann" };
  if (path === "/admin/tiers/set") return { tier: "basic", requests_per_minute: 1, max_concurrent: 1 };
  return path.startsWith("/admin/tiers") ? { tier: "basic" } : { queue: "default" };
}

test("missing, wrong, foreign and revoked keys open no route, change nothing and show up nowhere", async () => {
  const { api, ann, bob } = await startWith("required", { adminKey: ADMIN_KEY, logLevel: "debug" });
  try {
    const revoked = await giveKey(api.store, "ann");
    const { value } = (await api.store.read("client", "ann")) ?? {};
    await putClient(api.store, "ann", { keys: value?.keys.slice(0, 1) ?? [] });
    const id = await taskOf(api, "ann");
    const altered = `${ann.slice(0, -1)}${ann.endsWith("A") ? "B" : "A"}`;
    const attempts: Headers[] = [
      {},
      { "X-Admin-Key": ADMIN_KEY.toUpperCase() },
      bearer(altered),
      { "X-API-Key": altered },
      bearer(revoked),
      bearer(bob),
      { "X-Admin-Key": ann },
      bearer(ADMIN_KEY),
    ];
    const state = async () =>
      JSON.stringify([
        await api.store.list({ limit: 100 }),
        await api.store.page("client", { limit: 100 }),
        await api.store.page("tier", { limit: 100 }),
        await api.store.page("queue", { limit: 100 }),
        await api.store.audit({ limit: 100 }),
      ]);
    const before = await state();
    const routes = await guardedRoutes(api);
    let sent = 0;
    let answers = "";
    for (const { method, path } of routes) {
      for (const headers of attempts) {
        const url = `${api.url}${path.replace("{id}", id).replace("{queue}", "default")}`;
        const body = bodyFor(path, method);
        const answer = await send(method, url, body, headers);
        answers += JSON.stringify([answer.body, ...answer.headers]);
        sent++;
        const isForeign = headers.Authorization === `Bearer ${bob}`;
        if (!isForeign || path.startsWith("/admin")) expect(codes(answer)).toEqual(UNAUTHORIZED);
        else if (path.startsWith("/v1/tasks/")) expect(codes(answer)).toEqual(TASK_NOT_FOUND);
        else if (path === "/v1/enqueue" || path.endsWith("/lease")) expect(codes(answer)).toEqual(FORBIDDEN);
        else if (path.startsWith("/v1/leases/"))
          expect(answer.body.results).toMatchObject([{ status: "lost" }]);
        else if (path === "/v1/tasks") expect(answer.body.tasks).toEqual([]);
        else expect(answer.body).toMatchObject({ enqueued: 0, rejected: 1 });
      }
    }
    expect(sent).toBeGreaterThan(200);
    expect(await state()).toBe(before);
    const written = JSON.stringify(api.logged);
    expect(written).toContain("wrong keys were presented");
    for (const key of [ADMIN_KEY, ann, bob, revoked, altered]) {
      for (const part of [key, key.toUpperCase(), key.slice(-20), key.slice(-40, -20)]) {
        if (part.length < 8) continue;
        expect(answers).not.toContain(part);
        expect(written).not.toContain(part);
      }
    }
  } finally {
    await api.close();
  }
});
