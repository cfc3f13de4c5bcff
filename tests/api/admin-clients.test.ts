import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { newTask } from "../support/tasks.ts";
import { type AdminApi, actions, claim, lastEntry, refusal, startAdminApi } from "./admin-support.ts";
import { enqueueBody, paths } from "./support.ts";

let api: AdminApi;
beforeEach(async () => {
  api = await startAdminApi();
});
afterEach(() => api.close());

const NEW_CLIENT = {
  client_id: "my-service",
  tier: "free",
  enabled: true,
  overrides: {},
  limits: { requests_per_minute: 10, max_concurrent: 1 },
  allowed_queues: null,
  allowed_hosts: null,
  keys: [],
  signing: [],
  created_at: "2026-01-01T00:00:00.000Z",
  running: 0,
  requests_last_minute: 0,
};

const set = (body: Record<string, unknown>) =>
  api.post("/admin/clients/set", { client_id: "my-service", ...body });
const read = (id = "my-service") => api.get(`/admin/clients/get?client_id=${id}`);

describe("POST /admin/clients/set", () => {
  test("makes a client that is not known, with the default tier", async () => {
    const answer = await set({});
    expect([answer.status, answer.body]).toEqual([200, NEW_CLIENT]);
    expect((await read()).body).toEqual(NEW_CLIENT);
  });

  test("takes the body that the original's users send", async () => {
    const { status, body } = await set({ tier: "premium", enabled: true });
    expect(status).toBe(200);
    expect(body.limits).toEqual({ requests_per_minute: 1_000, max_concurrent: 20 });
  });

  test("keeps what is left out", async () => {
    await set({ tier: "basic", overrides: { max_concurrent: 7 }, allowed_queues: ["a"] });
    const { body } = await set({ enabled: false });
    expect(body).toEqual({
      ...NEW_CLIENT,
      tier: "basic",
      enabled: false,
      overrides: { max_concurrent: 7 },
      limits: { requests_per_minute: 100, max_concurrent: 7 },
      allowed_queues: ["a"],
    });
  });

  test("replaces overrides as a whole, null being no limit and {} none of its own", async () => {
    await set({ overrides: { requests_per_minute: 5, max_concurrent: 5 } });
    const unlimited = await set({ overrides: { requests_per_minute: null } });
    expect(unlimited.body.overrides).toEqual({ requests_per_minute: null });
    expect(unlimited.body.limits).toEqual({ requests_per_minute: null, max_concurrent: 1 });
    const none = await set({ overrides: {} });
    expect([none.body.overrides, none.body.limits]).toEqual([{}, NEW_CLIENT.limits]);
  });

  test("counts from the next request on", async () => {
    await set({ overrides: { requests_per_minute: 0 } });
    expect((await api.post("/v1/enqueue", enqueueBody())).status).toBe(429);
    await set({ overrides: {} });
    expect((await api.post("/v1/enqueue", enqueueBody())).status).toBe(202);
    await set({ enabled: false });
    expect(refusal(await api.post("/v1/enqueue", enqueueBody()))).toEqual([403, "client_disabled"]);
  });

  test("lists are of different names, hosts in the one spelling that urls have", async () => {
    const { body } = await set({
      allowed_queues: ["b", "a", "b"],
      allowed_hosts: ["EXAMPLE.com.", "*.Example.org", "::1", "[0:0::2]", "0x7f.1", "bücher.example"],
    });
    expect(body.allowed_queues).toEqual(["b", "a"]);
    expect(body.allowed_hosts).toEqual([
      "example.com",
      "*.example.org",
      "[::1]",
      "[::2]",
      "127.0.0.1",
      "xn--bcher-kva.example",
    ]);
    const open = await set({ allowed_queues: null, allowed_hosts: null });
    expect([open.body.allowed_queues, open.body.allowed_hosts]).toEqual([null, null]);
  });

  test("its lists hold", async () => {
    await set({ allowed_queues: ["a"], allowed_hosts: ["*.example.com"] });
    const to = (queue: string, url: string) => api.post("/v1/enqueue", enqueueBody({ queue, task: { url } }));
    expect((await to("a", "https://hook.example.com/")).status).toBe(202);
    expect(refusal(await to("b", "https://hook.example.com/"))).toEqual([403, "forbidden"]);
    expect(refusal(await to("a", "https://example.org/"))).toEqual([403, "forbidden"]);
  });

  test.each([
    "https://example.com",
    "example.com:80",
    "[::1]:80",
    "example.com/a",
    "user@example.com",
    "*",
    "*.",
    "a.*.com",
    "*.127.0.0.1",
    "*.[::1]",
    "",
    "a b",
  ])("refuses %p as a host", async (host) => {
    const answer = await set({ allowed_hosts: ["example.com", host] });
    expect([answer.status, paths(answer)]).toEqual([400, ["allowed_hosts.1"]]);
  });

  test("names every wrong field, and what it may be", async () => {
    const answer = await set({
      client_id: "a b",
      tier: "go ld",
      enabled: "yes",
      overrides: { max_concurrent: -1, requests_per_minute: 1.5, burst: 3 },
      allowed_queues: ["a", "b c"],
      allowed_hosts: [],
      colour: "red",
    });
    expect(refusal(answer)).toEqual([400, "validation_failed"]);
    expect(paths(answer).sort()).toEqual([
      "allowed_hosts",
      "allowed_queues.1",
      "client_id",
      "colour",
      "enabled",
      "overrides.burst",
      "overrides.max_concurrent",
      "overrides.requests_per_minute",
      "tier",
    ]);
    const limit = answer.body.errors.find(
      ({ path }: { path: string }) => path === "overrides.max_concurrent",
    );
    expect(limit.message).toBe("must be a whole number from 0 to 1000000000, or null for no limit");
    expect(paths(await set({ allowed_queues: "a" }))).toEqual(["allowed_queues"]);
    expect(paths(await api.post("/admin/clients/set", {}))).toEqual(["client_id"]);
    expect(paths(await api.post("/admin/clients/set", []))).toEqual(["body"]);
    expect(await actions(api)).toEqual([]);
  });

  test("refuses a tier that is not there, and names those that are", async () => {
    const answer = await set({ tier: "gold" });
    expect([answer.status, paths(answer)]).toEqual([400, ["tier"]]);
    for (const tier of ["free", "basic", "premium", "enterprise"]) {
      expect(answer.body.errors[0].message).toContain(tier);
    }
    expect((await read()).status).toBe(404);
  });

  test("is audited with what it was and what it became, without what the client uses", async () => {
    await set({ tier: "basic" });
    const { limits: _limits, running: _running, requests_last_minute: _requests, ...shown } = NEW_CLIENT;
    expect(await lastEntry(api)).toEqual({
      at: "2026-01-01T00:00:00.000Z",
      actor: "open",
      action: "clients.set",
      subject: "my-service",
      before: null,
      after: { ...shown, tier: "basic" },
    });
    await set({ enabled: false });
    expect(await lastEntry(api)).toMatchObject({
      before: { ...shown, tier: "basic" },
      after: { ...shown, tier: "basic", enabled: false },
    });
  });

  test("a repeated request changes nothing and is audited once", async () => {
    await set({ tier: "basic", allowed_hosts: ["a.com"] });
    const again = await set({ tier: "basic", allowed_hosts: ["a.com"] });
    expect(again.status).toBe(200);
    expect(await actions(api)).toEqual(["clients.set"]);
  });

  test("two at the same moment both hold", async () => {
    const answers = await Promise.all([
      set({ tier: "basic" }),
      set({ allowed_queues: ["a"] }),
      set({ overrides: { max_concurrent: 2 } }),
    ]);
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);
    expect((await read()).body).toMatchObject({
      tier: "basic",
      allowed_queues: ["a"],
      overrides: { max_concurrent: 2 },
    });
    expect(await actions(api)).toHaveLength(3);
  });

  test("refuses what is not JSON, and what is too long", async () => {
    const text = await api.post("/admin/clients/set", "client_id=a", { "content-type": "text/plain" });
    expect(text.status).toBe(415);
    expect(refusal(await api.post("/admin/clients/set", "{"))).toEqual([400, "malformed_json"]);
    const long = `{"client_id":"${"a".repeat(300_000)}"}`;
    expect((await api.post("/admin/clients/set", long)).status).toBe(413);
  });
});

describe("GET /admin/clients", () => {
  test("tells what a client is using", async () => {
    await api.post("/v1/enqueue", enqueueBody());
    await api.post("/v1/enqueue", enqueueBody());
    await claim(api.store, 10);
    expect((await read()).body).toMatchObject({ running: 1, requests_last_minute: 2 });
    await api.clock.advance(61_000);
    expect((await read()).body).toMatchObject({ running: 1, requests_last_minute: 0 });
  });

  test("lists them by id, page by page, each with its limits", async () => {
    await api.post("/admin/tiers/set", { tier: "gone", requests_per_minute: 1, max_concurrent: 1 });
    for (const [id, tier] of [
      ["b", "premium"],
      ["c", "gone"],
      ["a", "free"],
    ]) {
      await api.post("/admin/clients/set", { client_id: id, tier });
    }
    await api.post("/admin/tiers/delete", { tier: "gone" });
    const first = await api.get("/admin/clients?limit=2");
    expect(first.body.clients.map((client: { client_id: string }) => client.client_id)).toEqual(["a", "b"]);
    const second = await api.get(
      `/admin/clients?limit=2&cursor=${encodeURIComponent(first.body.next_cursor)}`,
    );
    expect(second.body.next_cursor).toBeNull();
    const limits = [...first.body.clients, ...second.body.clients].map(({ limits }) => limits);
    expect(limits.map(({ requests_per_minute: perMinute }) => perMinute)).toEqual([10, 1_000, 10]);
  });

  test("a client whose tier is gone has the limits of the default one", async () => {
    await api.close();
    api = await startAdminApi({ settings: { defaultTier: "basic" } });
    await api.post("/admin/tiers/set", { tier: "gone", requests_per_minute: 1, max_concurrent: 1 });
    await set({ tier: "gone" });
    await api.post("/admin/tiers/delete", { tier: "gone" });
    expect((await read()).body).toMatchObject({
      tier: "gone",
      limits: { requests_per_minute: 100, max_concurrent: 5 },
    });
  });

  test("refuses wrong parameters, and ids that are not there", async () => {
    expect(paths(await api.get("/admin/clients?limit=0&cursor=&page=2")).sort()).toEqual([
      "cursor",
      "limit",
      "page",
    ]);
    expect(paths(await api.get("/admin/clients?limit=1&limit=2"))).toEqual(["limit"]);
    expect(paths(await api.get("/admin/clients?cursor=no-cursor!"))).toEqual(["cursor"]);
    expect(paths(await api.get("/admin/clients/get"))).toEqual(["client_id"]);
    expect(paths(await api.get("/admin/clients/get?client_id=a%20b"))).toEqual(["client_id"]);
    expect(refusal(await read("nobody"))).toEqual([404, "client_not_found"]);
    expect(refusal(await read("__proto__"))).toEqual([404, "client_not_found"]);
  });
});

describe("POST /admin/clients/delete", () => {
  test("removes the client, and its next task makes it anew", async () => {
    await set({ tier: "premium" });
    const answer = await api.post("/admin/clients/delete", { client_id: "my-service" });
    expect([answer.status, answer.body]).toEqual([200, { status: "deleted", client_id: "my-service" }]);
    expect((await read()).status).toBe(404);
    expect(await lastEntry(api)).toMatchObject({
      action: "clients.delete",
      subject: "my-service",
      before: { tier: "premium" },
      after: null,
    });
    await api.post("/v1/enqueue", enqueueBody());
    expect((await read()).body.tier).toBe("free");
  });

  test("does not find one that is not there", async () => {
    const answer = await api.post("/admin/clients/delete", { client_id: "nobody" });
    expect(refusal(answer)).toEqual([404, "client_not_found"]);
    expect(paths(await api.post("/admin/clients/delete", {}))).toEqual(["client_id"]);
  });

  test("leaves its tasks", async () => {
    const task = newTask({ clientId: "my-service" });
    await api.store.enqueue([task]);
    await api.post("/admin/clients/delete", { client_id: "my-service" });
    expect((await claim(api.store)).map(({ id }) => id)).toEqual([task.id]);
  });
});

describe("API keys of a client", () => {
  const create = (body: Record<string, unknown> = {}) =>
    api.post("/admin/clients/keys/create", { client_id: "my-service", ...body });
  const revoke = (keyId: unknown) =>
    api.post("/admin/clients/keys/revoke", { client_id: "my-service", key_id: keyId });

  test("a key is shown once, and its client made where it is not known", async () => {
    const { status, body, headers } = await create({ label: "web" });
    expect(status).toBe(200);
    expect(headers.get("cache-control")).toBe("no-store");
    expect(body.key).toMatch(/^trk\.my-service\.[A-Za-z0-9_-]{43}$/);
    const secret = body.key.split(".").at(-1);
    expect(body.key_id).toBe(createHash("sha256").update(secret).digest("hex").slice(0, 8));
    expect(body).toMatchObject({ client_id: "my-service", label: "web", created_at: NEW_CLIENT.created_at });
    const client = await read();
    expect(client.body.keys).toEqual([
      { key_id: body.key_id, label: "web", created_at: NEW_CLIENT.created_at },
    ]);
    const hash = createHash("sha256").update(secret).digest("hex");
    const all = JSON.stringify([client.body, (await api.get("/admin/clients")).body]);
    expect(all).not.toContain(secret);
    expect(all).not.toContain(hash);
  });

  test("the audit tells of keys by their ids, and never holds one or its hash", async () => {
    const { body } = await create();
    expect(await lastEntry(api)).toMatchObject({
      action: "clients.keys.create",
      subject: "my-service",
      before: null,
      after: { keys: [{ key_id: body.key_id, label: null }] },
    });
    await revoke(body.key_id);
    expect(await lastEntry(api)).toMatchObject({
      action: "clients.keys.revoke",
      before: { keys: [{ key_id: body.key_id }] },
      after: { keys: [] },
    });
    const secret = body.key.split(".").at(-1);
    const audit = JSON.stringify((await api.get("/admin/audit")).body);
    expect(audit).not.toContain(secret);
    expect(audit).not.toContain(createHash("sha256").update(secret).digest("hex"));
  });

  test("ten of them at most, of those not revoked", async () => {
    const keys = [];
    for (let made = 0; made < 10; made++) keys.push((await create()).body.key_id);
    const refused = await create();
    expect(refusal(refused)).toEqual([409, "conflict"]);
    expect(refused.body.detail).toContain("10 keys");
    expect((await revoke(keys[0])).body.keys).toHaveLength(9);
    expect((await create()).status).toBe(200);
  });

  test("keys that are made at the same moment are all there", async () => {
    const made = await Promise.all([create(), create(), create()]);
    const ids = made.map(({ body }) => body.key_id).sort();
    const listed = (await read()).body.keys.map((key: { key_id: string }) => key.key_id).sort();
    expect(listed).toEqual(ids);
  });

  test("a revoked key opens nothing, from the next request on", async () => {
    await api.close();
    api = await startAdminApi({ clientAuth: "required" });
    const { key, key_id: keyId } = (await create()).body;
    const enqueue = () => api.post("/v1/enqueue", enqueueBody(), { authorization: `Bearer ${key}` });
    expect((await enqueue()).status).toBe(202);
    expect((await revoke(keyId)).status).toBe(200);
    expect((await enqueue()).status).toBe(401);
  });

  test("refuses keys and clients that are not there, and labels that are none", async () => {
    expect(refusal(await revoke("00000000"))).toEqual([404, "client_not_found"]);
    await create();
    const answer = await revoke("00000000");
    expect(refusal(answer)).toEqual([404, "not_found"]);
    expect(paths(await revoke("x"))).toEqual(["key_id"]);
    expect(paths(await revoke(undefined))).toEqual(["key_id"]);
    expect(paths(await create({ label: "" }))).toEqual(["label"]);
    expect(paths(await create({ label: "a\nb" }))).toEqual(["label"]);
    expect(paths(await create({ key: "mine" }))).toEqual(["key"]);
    expect((await create({ label: null })).body.label).toBeNull();
  });
});

describe("the admin key", () => {
  const ROUTES = [
    ["GET", "/admin/clients"],
    ["GET", "/admin/clients/get?client_id=a"],
    ["POST", "/admin/clients/set"],
    ["POST", "/admin/clients/delete"],
    ["POST", "/admin/clients/keys/create"],
    ["POST", "/admin/clients/keys/revoke"],
    ["POST", "/admin/clients/secrets/create"],
    ["POST", "/admin/clients/secrets/revoke"],
    ["GET", "/admin/tiers"],
    ["POST", "/admin/tiers/set"],
    ["POST", "/admin/tiers/delete"],
    ["GET", "/admin/queues"],
    ["GET", "/admin/queues/get?queue=a"],
    ["POST", "/admin/queues/set"],
    ["POST", "/admin/queues/pause"],
    ["POST", "/admin/queues/resume"],
    ["POST", "/admin/queues/purge"],
    ["POST", "/admin/queues/delete"],
    ["POST", "/admin/queues/secrets/create"],
    ["POST", "/admin/queues/secrets/revoke"],
    ["POST", "/admin/dead/replay"],
    ["POST", "/admin/dead/purge"],
    ["GET", "/admin/audit"],
  ] as const;

  test("is asked for by every admin route, and names who did it by its fingerprint", async () => {
    await api.close();
    api = await startAdminApi({ adminKey: "k3y" });
    for (const [method, path] of ROUTES) {
      const answer = method === "GET" ? await api.get(path) : await api.post(path, {});
      expect([path, ...refusal(answer)]).toEqual([path, 401, "unauthorized"]);
    }
    const key = { "x-admin-key": "k3y" };
    await api.post("/admin/clients/set", { client_id: "a" }, key);
    const { body } = await api.get("/admin/audit", key);
    const fingerprint = createHash("sha256").update("k3y").digest("hex").slice(0, 8);
    expect(body.entries[0].actor).toBe(`key:${fingerprint}`);
    expect(JSON.stringify(body)).not.toContain("k3y");
  });

  test("every admin route is in the document, behind the key", async () => {
    await api.close();
    api = await startAdminApi({ adminKey: "k3y" });
    const { paths: documented, components } = (await api.get("/openapi.json")).body;
    for (const [method, path] of ROUTES) {
      const operation = documented[path.replace(/\?.*/, "")]?.[method.toLowerCase()];
      expect([path, operation?.security]).toEqual([path, [{ adminKey: [] }]]);
    }
    expect(documented["/v1/tasks/{id}/explain"].get.summary).toContain("Explain");
    expect(Object.keys(components.schemas)).toEqual(
      expect.arrayContaining(["Client", "Tier", "Queue", "Explanation", "AuditEntry", "QueueSetRequest"]),
    );
  });
});
