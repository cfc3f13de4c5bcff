/** Conformance: who hands tasks in is known from the first one, and may do what its settings and its tier say. */

import { describe, expect, test } from "bun:test";
import { newClient } from "../../../src/core/client.ts";
import { newTask, newTasks, success } from "../../support/tasks.ts";
import { alter, keptOf, NO_LIMITS, send, setClient, setTier, useOf } from "./admin.ts";
import {
  drain,
  idsOf,
  listAll,
  MINUTE_MS,
  type OpenStore,
  put,
  read,
  settle,
  take,
  takeOne,
  withStore,
} from "./harness.ts";

const BUILT_IN = { limits: "built-in" } as const;

export function clientTests(open: OpenStore): void {
  describe("a client", () => {
    for (const defaultTier of ["free", "premium"]) {
      test(
        `is made by its first task with the default tier, ${defaultTier}, and stays as it was made`,
        withStore(
          open,
          async ({ store, now, advance }) => {
            expect(await store.read("client", "fresh")).toBeNull();
            const before = now();
            await put(store, newTask({ clientId: "fresh" }));
            const kept = await keptOf(store, "client", "fresh");
            const { createdAtMs } = kept.value;
            expect(kept).toMatchObject({ id: "fresh", value: newClient(defaultTier, createdAtMs) });
            expect(createdAtMs).toBeGreaterThanOrEqual(before);
            expect(createdAtMs).toBeLessThanOrEqual(now());
            await advance(MINUTE_MS);
            await put(store, newTask({ clientId: "fresh" }));
            expect(await store.read("client", "fresh")).toEqual(kept);
            expect((await store.page("client", { limit: 10 })).items).toEqual([kept]);
          },
          { ...BUILT_IN, defaultTier },
        ),
      );
    }

    test(
      "that was made before its first task is what it was made as",
      withStore(open, async ({ store }) => {
        await setClient(store, "known", { tier: "basic", overrides: { requestsPerMinute: 2 } });
        const kept = await keptOf(store, "client", "known");
        expect(await send(store, 3, { clientId: "known" })).toEqual(["created", "created", "limited"]);
        await take(store, 1);
        expect(await store.read("client", "known")).toEqual(kept);
      }),
    );

    test(
      "that is disabled has its new tasks refused, and nobody else's",
      withStore(open, async ({ store }) => {
        const named = newTask({ clientId: "off", name: "n" });
        await put(store, named);
        await setClient(store, "off", { enabled: false });
        const { results } = await store.enqueue([
          newTask({ clientId: "off" }),
          newTask({ clientId: "on" }),
          newTask({ clientId: "off", name: "n" }),
        ]);
        expect(results).toMatchObject([
          { kind: "refused", why: "client_disabled" },
          { kind: "created" },
          { kind: "duplicate", id: named.id },
        ]);
        expect((await listAll(store, { clientId: "off" })).length).toBe(1);
        await setClient(store, "off", { enabled: true });
        expect(await send(store, 1, { clientId: "off" })).toEqual(["created"]);
      }),
    );

    test(
      "that is disabled has its waiting tasks held, the running ones finish, and all go on once it is enabled",
      withStore(open, async ({ store, advance, now }) => {
        const due = now() + MINUTE_MS;
        const held = [
          ...newTasks(3, { clientId: "off" }),
          ...newTasks(2, { clientId: "off", queue: "other", priority: "critical" }),
          newTask({ clientId: "off", queue: "third", scheduledAtMs: due }),
          newTask({ clientId: "off", orderingKey: "k" }),
        ];
        await put(store, newTask({ clientId: "off" }));
        const running = await takeOne(store);
        await put(store, ...held);
        await setClient(store, "off", { enabled: false });
        const free = newTasks(3, { clientId: "on" });
        await put(store, ...free);
        await advance(MINUTE_MS);
        // To claim again at once would be no use: nextInMs must not call for it, or a worker would spin.
        expect(new Set(idsOf(await drain(store)))).toEqual(new Set(idsOf(free)));
        await settle(store, success(running));
        expect(await drain(store)).toEqual([]);
        expect((await read(store, held[0]?.id ?? "")).state).toBe("ready");
        await setClient(store, "off", { enabled: true });
        expect((await take(store, 100)).length).toBeGreaterThan(0);
        await drain(store);
        for (const { id } of held) expect((await read(store, id)).state).toBe("running");
      }),
    );

    test(
      "has its own limits where it has any, and its tier's for the rest",
      withStore(
        open,
        async ({ store }) => {
          await setClient(store, "own", { overrides: { requestsPerMinute: 3 } });
          expect(await send(store, 4, { clientId: "own" })).toEqual([
            ...Array<"created">(3).fill("created"),
            "limited",
          ]);
          expect((await drain(store)).length).toBe(1);
          await setClient(store, "own", { overrides: { maxConcurrent: 2 } });
          expect(await send(store, 8, { clientId: "own" })).toEqual([
            ...Array<"created">(7).fill("created"),
            "limited",
          ]);
          expect((await drain(store)).length).toBe(1);
          await setClient(store, "own", { overrides: { requestsPerMinute: 0, maxConcurrent: 0 } });
          expect(await send(store, 1, { clientId: "own" })).toEqual(["limited"]);
          expect(await drain(store)).toEqual([]);
        },
        BUILT_IN,
      ),
    );

    test(
      "whose limit is null has none",
      withStore(
        open,
        async ({ store }) => {
          await setClient(store, "own", { overrides: NO_LIMITS });
          await setClient(store, "tier", { tier: "endless" });
          await setTier(store, "endless", NO_LIMITS);
          for (const clientId of ["own", "tier"]) {
            const { results, rates } = await store.enqueue(newTasks(150, { clientId }));
            expect(new Set(results.map(({ kind }) => kind))).toEqual(new Set(["created"]));
            expect(rates.size).toBe(0);
            expect((await drain(store)).length).toBe(150);
            expect((await useOf(store, clientId)).running).toBe(150);
          }
        },
        BUILT_IN,
      ),
    );

    test(
      "has the default tier's limits when its own tier is deleted, and its own again when that is back",
      withStore(
        open,
        async ({ store }) => {
          await setTier(store, "special", { requestsPerMinute: 500, maxConcurrent: 7 });
          await setClient(store, "orphan", { tier: "special" });
          await put(store, ...newTasks(4, { clientId: "orphan" }));
          await alter(store, "tier", "special", () => null);
          expect(await send(store, 7, { clientId: "orphan" })).toEqual([
            ...Array<"created">(6).fill("created"),
            "limited",
          ]);
          expect((await drain(store)).length).toBe(1);
          expect((await keptOf(store, "client", "orphan")).value.tier).toBe("special");
          await setTier(store, "special", { requestsPerMinute: 500, maxConcurrent: 7 });
          expect((await drain(store)).length).toBe(6);
          expect(await send(store, 1, { clientId: "orphan" })).toEqual(["created"]);
        },
        BUILT_IN,
      ),
    );

    test(
      "that is deleted leaves its tasks to the default tier, and is made anew by its next one",
      withStore(
        open,
        async ({ store, now }) => {
          await setClient(store, "gone", { tier: "premium" });
          await put(store, ...newTasks(3, { clientId: "gone" }));
          await setClient(store, "gone", { enabled: false });
          expect(await drain(store)).toEqual([]);
          await alter(store, "client", "gone", () => null);
          expect(await store.read("client", "gone")).toBeNull();
          const [claimed, ...more] = await drain(store);
          expect(more).toEqual([]);
          if (claimed === undefined) throw new Error("the deleted client's tasks are stuck");
          expect(await useOf(store, "gone")).toMatchObject({ running: 1 });
          const before = now();
          await put(store, newTask({ clientId: "gone" }));
          const { value } = await keptOf(store, "client", "gone");
          expect(value).toEqual(newClient("free", value.createdAtMs));
          expect(value.createdAtMs).toBeGreaterThanOrEqual(before);
          await settle(store, success(claimed));
          expect((await drain(store)).length).toBe(1);
        },
        BUILT_IN,
      ),
    );
  });
}
