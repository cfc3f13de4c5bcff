import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { TierService } from "../../src/service/tiers.ts";
import { type AdminApi, actions, lastEntry, refusal, startAdminApi } from "./admin-support.ts";
import { paths } from "./support.ts";

let api: AdminApi;
beforeEach(async () => {
  api = await startAdminApi();
});
afterEach(() => api.close());

const set = (body: Record<string, unknown>) => api.post("/admin/tiers/set", body);
const PARTNER = { tier: "partner", requests_per_minute: 300, max_concurrent: null };

describe("the tiers", () => {
  test("are the built-in ones from the smallest, then the others by name", async () => {
    await set({ ...PARTNER, tier: "b" });
    await set({ ...PARTNER, tier: "a" });
    const { status, body } = await api.get("/admin/tiers");
    expect(status).toBe(200);
    expect(body).toEqual({
      tiers: [
        { tier: "free", requests_per_minute: 10, max_concurrent: 1, built_in: true },
        { tier: "basic", requests_per_minute: 100, max_concurrent: 5, built_in: true },
        { tier: "premium", requests_per_minute: 1_000, max_concurrent: 20, built_in: true },
        { tier: "enterprise", requests_per_minute: 5_000, max_concurrent: 50, built_in: true },
        { ...PARTNER, tier: "a", built_in: false },
        { ...PARTNER, tier: "b", built_in: false },
      ],
    });
  });

  test("a new one is made, and a built-in one changed, for all of its clients at once", async () => {
    const made = await set(PARTNER);
    expect([made.status, made.body]).toEqual([200, { ...PARTNER, built_in: false }]);
    await api.post("/admin/clients/set", { client_id: "a" });
    const changed = await set({ tier: "free", requests_per_minute: 0, max_concurrent: 2 });
    expect(changed.body.built_in).toBe(true);
    expect((await api.get("/admin/clients/get?client_id=a")).body.limits).toEqual({
      requests_per_minute: 0,
      max_concurrent: 2,
    });
  });

  test("a change is audited, and one that changes nothing is not", async () => {
    await set(PARTNER);
    await set(PARTNER);
    await set({ ...PARTNER, max_concurrent: 3 });
    expect(await lastEntry(api)).toMatchObject({
      actor: "open",
      action: "tiers.set",
      subject: "partner",
      before: { ...PARTNER, built_in: false },
      after: { ...PARTNER, max_concurrent: 3, built_in: false },
    });
    await api.post("/admin/tiers/delete", { tier: "partner" });
    expect(await lastEntry(api)).toMatchObject({ action: "tiers.delete", after: null });
    expect(await actions(api)).toEqual(["tiers.delete", "tiers.set", "tiers.set"]);
  });

  test("one that is deleted is gone, and cannot be deleted again", async () => {
    await set(PARTNER);
    const answer = await api.post("/admin/tiers/delete", { tier: "partner" });
    expect([answer.status, answer.body]).toEqual([200, { status: "deleted", tier: "partner" }]);
    const again = await api.post("/admin/tiers/delete", { tier: "partner" });
    expect(refusal(again)).toEqual([404, "tier_not_found"]);
    expect(again.body.detail).toContain("enterprise");
  });

  test("the built-in ones and that of new clients cannot be deleted", async () => {
    expect(refusal(await api.post("/admin/tiers/delete", { tier: "premium" }))).toEqual([409, "conflict"]);
    expect(refusal(await api.post("/admin/tiers/delete", { tier: "constructor" }))).toEqual([
      404,
      "tier_not_found",
    ]);
  });

  test("limits are whole numbers from 0 to a thousand million, or null, and both are told", async () => {
    expect((await set({ tier: "a", requests_per_minute: 0, max_concurrent: 1e9 })).status).toBe(200);
    expect(paths(await set({ tier: "a" }))).toEqual(["requests_per_minute", "max_concurrent"]);
    const wrong = { tier: "a", requests_per_minute: 1e9 + 1, max_concurrent: "1" };
    expect(paths(await set(wrong))).toEqual(["requests_per_minute", "max_concurrent"]);
    expect(paths(await set({ ...PARTNER, tier: "a".repeat(65) }))).toEqual(["tier"]);
    expect(paths(await set({ ...PARTNER, tier: "a.b" }))).toEqual(["tier"]);
    expect(paths(await set({ ...PARTNER, built_in: true }))).toEqual(["built_in"]);
    expect(paths(await api.post("/admin/tiers/delete", {}))).toEqual(["tier"]);
  });
});

test("the tier of new clients cannot be deleted, whichever it is", async () => {
  const tiers = new TierService({ store: api.store, clock: api.clock, defaultTier: "partner" });
  await set(PARTNER);
  await expect(tiers.delete("partner", "open")).rejects.toMatchObject({ code: "conflict" });
});
