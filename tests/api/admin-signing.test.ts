/** The admin routes of signing secrets: shown once, sealed in the store, two at most, and on record without the secret. */

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { sealer } from "../support/signing.ts";
import { type AdminApi, actions, lastEntry, refusal, startAdminApi } from "./admin-support.ts";
import { paths } from "./support.ts";

let api: AdminApi;
beforeEach(async () => {
  api = await startAdminApi({ sealer, logLevel: "debug" });
});
afterEach(() => api.close());

const SECRET = /^whsec_[A-Za-z0-9+/]{43}=$/;

describe.each([
  { kind: "client", field: "client_id", unknown: "client_not_found" },
  { kind: "queue", field: "queue", unknown: "queue_not_found" },
] as const)("signing secrets of a $kind", ({ kind, field, unknown }) => {
  const owner = { [field]: "shop" };
  const create = (body: object = owner) => api.post(`/admin/${kind}s/secrets/create`, body);
  const revoke = (secretId: unknown, body: object = owner) =>
    api.post(`/admin/${kind}s/secrets/revoke`, { ...body, secret_id: secretId });
  const read = () => api.get(`/admin/${kind}s/get?${field}=shop`);

  test("are shown once, make their owner, and are listed without the secret", async () => {
    const created = await create();
    expect(created.status).toBe(200);
    expect(created.headers.get("cache-control")).toBe("no-store");
    const { secret, secret_id: id } = created.body;
    expect(created.body).toEqual({
      ...owner,
      secret_id: expect.stringMatching(/^[0-9a-f]{8}$/),
      secret: expect.stringMatching(SECRET),
      created_at: "2026-01-01T00:00:00.000Z",
    });
    const shown = { secret_id: id, created_at: "2026-01-01T00:00:00.000Z" };
    expect((await read()).body).toMatchObject({ ...owner, signing: [shown] });
    const listed = (await api.get(`/admin/${kind}s`)).body;
    const audit = (await api.get("/admin/audit")).body;
    const logged = JSON.stringify(api.logged);
    const kept = await api.store.read(kind, "shop");
    for (const text of [listed, audit, kept].map((value) => JSON.stringify(value)).concat(logged)) {
      expect(text).not.toContain(secret.slice("whsec_".length, -4));
    }
    expect(JSON.stringify(listed)).toContain(id);
    const [sealed] = kept?.value.signing ?? [];
    expect(sealer.open(sealed?.sealed ?? "", { kind, owner: "shop", secretId: id })).toBe(secret);
  });

  test("are two at most; the newest comes first, and a revoked one makes room", async () => {
    const first = (await create()).body;
    api.clock.advance(1_000);
    const second = (await create()).body;
    expect(second.secret).not.toBe(first.secret);
    const third = await create();
    expect(refusal(third)).toEqual([409, "conflict"]);
    expect(third.body.detail).toContain(`/admin/${kind}s/secrets/revoke`);
    const ids = ({ signing }: { signing: { secret_id: string }[] }) =>
      signing.map(({ secret_id }) => secret_id);
    expect(ids((await read()).body)).toEqual([second.secret_id, first.secret_id]);
    const left = await revoke(first.secret_id);
    expect([left.status, ids(left.body)]).toEqual([200, [second.secret_id]]);
    expect((await create()).status).toBe(200);
  });

  test("are on record with who made and revoked them, and no other change touches them", async () => {
    const { secret_id: id } = (await create()).body;
    expect(await lastEntry(api)).toMatchObject({
      actor: "open",
      action: `${kind}s.secrets.create`,
      subject: "shop",
      before: null,
      after: { signing: [{ secret_id: id }] },
    });
    await api.post(`/admin/${kind}s/set`, { ...owner, enabled: false });
    expect((await read()).body.signing).toHaveLength(1);
    await revoke(id);
    const entry = await lastEntry(api);
    expect(entry).toMatchObject({
      action: `${kind}s.secrets.revoke`,
      before: { signing: [{ secret_id: id }] },
      after: { signing: [] },
    });
    expect(JSON.stringify(entry)).not.toContain("sealed");
    expect(await actions(api)).toHaveLength(3);
  });

  test("that are not there cannot be revoked", async () => {
    expect(refusal(await revoke("00000000"))).toEqual([404, unknown]);
    const { secret_id: id } = (await create()).body;
    await revoke(id);
    expect(refusal(await revoke(id))).toEqual([404, "not_found"]);
  });

  test("are refused by name where the request is wrong", async () => {
    expect(paths(await create({}))).toEqual([field]);
    expect(paths(await create({ ...owner, secret: "whsec_mine" }))).toEqual(["secret"]);
    expect(paths(await revoke("whsec_x", { [field]: "a b" })).sort()).toEqual([field, "secret_id"].sort());
  });
});

test("without SECRETS_KEY none is made, and the refusal says what to set", async () => {
  const keyless = await startAdminApi();
  try {
    const client = await keyless.post("/admin/clients/secrets/create", { client_id: "shop" });
    const queue = await keyless.post("/admin/queues/secrets/create", { queue: "shop" });
    for (const answer of [client, queue]) {
      expect(refusal(answer)).toEqual([409, "conflict"]);
      expect(answer.body.detail).toContain("SECRETS_KEY");
    }
    expect((await keyless.get("/admin/clients/get?client_id=shop")).status).toBe(404);
    expect(await actions(keyless)).toEqual([]);
  } finally {
    await keyless.close();
  }
});

test("the routes are for whoever has the admin key", async () => {
  const guarded = await startAdminApi({ sealer, adminKey: "the-key" });
  try {
    for (const path of ["clients", "queues"]) {
      const body = path === "clients" ? { client_id: "shop" } : { queue: "shop" };
      const create = `/admin/${path}/secrets/create`;
      expect((await guarded.post(create, body)).status).toBe(401);
      const revoke = { ...body, secret_id: "00000000" };
      expect((await guarded.post(`/admin/${path}/secrets/revoke`, revoke)).status).toBe(401);
      expect((await guarded.post(create, body, { "x-admin-key": "the-key" })).status).toBe(200);
    }
  } finally {
    await guarded.close();
  }
});
