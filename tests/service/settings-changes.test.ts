import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { type Client, newClient } from "../../src/core/client.ts";
import { TaskRunnerError } from "../../src/core/errors.ts";
import type { SettingsStore } from "../../src/core/store.ts";
import { ClientService } from "../../src/service/clients.ts";
import { changeSettings } from "../../src/service/settings-changes.ts";
import { MAX_TIERS, TierService } from "../../src/service/tiers.ts";
import { openTestStore, putSettings, type TestStore, withMethods } from "../api/support.ts";

let opened: TestStore;
beforeEach(async () => {
  opened = await openTestStore({ limits: true });
});
afterEach(() => opened.close());

const services = (store: SettingsStore) => ({ store, clock: opened.clock, defaultTier: "free" });
const entries = async () => (await opened.store.audit({ limit: 1_000 })).entries;

/** The store, where somebody else raises the client's limit between each read and the change that follows. */
function contended(times: number) {
  let left = times;
  return withMethods(opened.store, {
    change: async (change, audit) => {
      if (left-- > 0) {
        await putSettings(opened.store, "client", "a", (client) => {
          const current = client ?? newClient("free", 0);
          const maxConcurrent = (current.overrides.maxConcurrent ?? 0) + 1;
          return { ...current, overrides: { ...current.overrides, maxConcurrent } };
        });
      }
      return opened.store.change(change, audit);
    },
  });
}

describe("a change of settings", () => {
  test("is made again on what others made of them meanwhile, and audited once as it was made", async () => {
    const clients = new ClientService(services(contended(4)));
    const client = await clients.set({ client_id: "a", allowed_queues: ["q"] }, "me");
    expect(client).toMatchObject({ overrides: { max_concurrent: 4 }, allowed_queues: ["q"] });
    const mine = (await entries()).filter(({ actor }) => actor === "me");
    expect(mine).toHaveLength(1);
    expect(mine[0]).toMatchObject({
      before: { overrides: { max_concurrent: 4 }, allowed_queues: null },
      after: { overrides: { max_concurrent: 4 }, allowed_queues: ["q"] },
    });
  });

  test("is given up when others are always faster, and nothing of it was done", async () => {
    const clients = new ClientService(services(contended(5)));
    await expect(clients.set({ client_id: "a", allowed_queues: ["q"] }, "me")).rejects.toMatchObject({
      code: "overloaded",
    });
    const kept = await opened.store.read("client", "a");
    expect([kept?.value.allowedQueues, kept?.value.overrides]).toEqual([null, { maxConcurrent: 5 }]);
    expect((await entries()).some(({ actor }) => actor === "me")).toBe(false);
  });

  test("does not bring back what somebody else removed meanwhile", async () => {
    await putSettings(opened.store, "client", "a", () => newClient("free", 0));
    let removed = false;
    const store = withMethods(opened.store, {
      change: async (change, audit) => {
        if (!removed) await putSettings(opened.store, "client", "a", () => null);
        removed = true;
        return opened.store.change(change, audit);
      },
    });
    const clients = new ClientService(services(store));
    await expect(clients.delete("a", "me")).rejects.toMatchObject({ code: "client_not_found" });
    removed = false;
    await putSettings(opened.store, "client", "a", () => newClient("free", 0));
    await expect(clients.revokeKey("a", "00000000", "me")).rejects.toMatchObject({ code: "not_found" });
  });

  test("rejects as the store does, and as who makes it does", async () => {
    const store = withMethods(opened.store, {
      change: async () => {
        throw new TaskRunnerError("store_unavailable", "gone");
      },
    });
    const clients = new ClientService(services(store));
    await expect(clients.set({ client_id: "a" }, "me")).rejects.toMatchObject({ code: "store_unavailable" });
    const refusing = changeSettings(services(opened.store), {
      kind: "client",
      id: "a",
      actor: "me",
      action: "test",
      next: (): Client => {
        throw new TaskRunnerError("conflict", "no");
      },
      shown: () => null,
    });
    await expect(refusing).rejects.toMatchObject({ code: "conflict" });
    expect(await entries()).toEqual([]);
  });
});

test("tiers past the most there can be are refused; those there are can still be changed", async () => {
  const tiers = new TierService(services(opened.store));
  const limits = { requests_per_minute: 1, max_concurrent: 1 };
  const { length } = await tiers.list();
  for (let made = length; made < MAX_TIERS; made++) {
    await putSettings(opened.store, "tier", `t${made}`, () => ({ requestsPerMinute: 1, maxConcurrent: 1 }));
  }
  await expect(tiers.set({ tier: "one-more", ...limits }, "me")).rejects.toMatchObject({ code: "conflict" });
  const changed = await tiers.set({ tier: "free", ...limits, max_concurrent: 9 }, "me");
  expect(changed.max_concurrent).toBe(9);
  await tiers.delete(`t${length}`, "me");
  expect((await tiers.set({ tier: "one-more", ...limits }, "me")).tier).toBe("one-more");
});
