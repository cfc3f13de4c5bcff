/** Conformance: the end of a task can bring new tasks with it, all of it in one step or none. */

import { describe, expect, test } from "bun:test";
import type { Settlement } from "../../../src/core/store.ts";
import type { NewTask } from "../../../src/core/task.ts";
import { death, newTask, newTasks, success } from "../../support/tasks.ts";
import { keptOf, send, setClient, setQueue, useOf } from "./admin.ts";
import {
  drain,
  HOUR_MS,
  idsOf,
  LEASE_MS,
  listAll,
  type OpenStore,
  put,
  read,
  settle,
  take,
  takeOne,
  withStore,
} from "./harness.ts";
import { expectCounts } from "./listing.ts";

const REQUEST = { worker: "worker-2", limit: 10, leaseMs: LEASE_MS };

export function followUpTests(open: OpenStore): void {
  describe("follow-ups", () => {
    test(
      "are accepted with the end they follow, in one step, and can be claimed in the same call",
      withStore(open, async ({ store, now }) => {
        await put(store, newTask());
        const claimed = await takeOne(store);
        const scheduledAtMs = now() + HOUR_MS;
        const followUps = [
          newTask({
            queue: "graves",
            clientId: "undertaker",
            priority: "high",
            metadata: { of: claimed.id },
          }),
          newTask({ scheduledAtMs }),
        ];
        const { settled, claim } = await store.settleAndClaim([{ ...death(claimed), followUps }], REQUEST);
        expect(settled).toEqual(["settled"]);
        expect(idsOf(claim.tasks)).toEqual([followUps[0]?.id ?? ""]);
        expect(claim.tasks[0]).toMatchObject({ queue: "graves", metadata: { of: claimed.id } });
        expect((await read(store, claimed.id)).state).toBe("dead");
        expect(await read(store, followUps[1]?.id ?? "")).toMatchObject({
          state: "scheduled",
          scheduledAtMs,
        });
        expect((await keptOf(store, "queue", "graves")).value.enabled).toBe(true);
        expect((await keptOf(store, "client", "undertaker")).value.tier).toBe("free");
        await expectCounts(store);
      }),
    );

    test(
      "of a lease that is not good are not accepted, nor a second time when the settlement is repeated",
      withStore(open, async ({ store, advance }) => {
        await put(store, ...newTasks(2));
        const [old, good] = await take(store, 2);
        if (!old || !good) throw new Error("expected two tasks");
        await advance(LEASE_MS - 1_000);
        await store.extend([{ taskId: good.id, fence: good.fence }], 2 * LEASE_MS);
        await advance(2_000);
        await store.rescue(10);
        const [lost, made] = newTasks(2, { queue: "graves" });
        if (!lost || !made) throw new Error("expected two tasks");
        const late: Settlement = { ...death(old), followUps: [lost] };
        const ending: Settlement = { ...death(good), followUps: [made] };
        expect(await store.settle([late, ending, ending])).toEqual(["stale", "settled", "stale"]);
        expect(await store.get(lost.id)).toBeNull();
        expect((await read(store, made.id)).state).toBe("ready");
        expect(await store.settle([ending, late])).toEqual(["stale", "stale"]);
        expect(await store.settle([{ ...ending, followUps: [newTask({ queue: "graves" })] }])).toEqual([
          "stale",
        ]);
        expect(idsOf(await listAll(store, { queue: "graves" }))).toEqual([made.id]);
        await expectCounts(store);
      }),
    );

    test(
      "are accepted whatever their client and queue allow to others, and are not charged",
      withStore(
        open,
        async ({ store }) => {
          await put(store, ...newTasks(10));
          await setQueue(store, "closed", { enabled: false });
          const followUps = [newTask(), newTask({ queue: "closed" }), newTask({ clientId: "off" })];
          await setClient(store, "off", { enabled: false });
          await setClient(store, "client-a", { allowedQueues: [] });
          await settle(store, { ...death(await takeOne(store)), followUps });
          for (const { id } of followUps) expect((await read(store, id)).state).toBe("ready");
          expect((await useOf(store, "client-a")).requests).toBe(10);
          await setClient(store, "client-a", { allowedQueues: null });
          expect(await send(store, 1)).toEqual(["limited"]);
          // Once accepted they are tasks like others.
          expect((await drain(store)).length).toBe(1);
        },
        { limits: "built-in" },
      ),
    );

    test(
      "whose name is taken are not made again, and the settlement holds",
      withStore(open, async ({ store }) => {
        const taken = newTask({ queue: "graves", name: "n" });
        await put(store, newTask());
        const claimed = await takeOne(store);
        await put(store, taken);
        const followUps = [newTask({ queue: "graves", name: "n" }), newTask({ queue: "graves" })];
        await settle(store, { ...death(claimed), followUps });
        expect((await read(store, claimed.id)).state).toBe("dead");
        expect(new Set(idsOf(await listAll(store, { queue: "graves" })))).toEqual(
          new Set([taken.id, followUps[1]?.id ?? ""]),
        );
      }),
    );

    test(
      "that cannot be kept take the settlement with them",
      withStore(open, async ({ store }) => {
        await put(store, newTask());
        const claimed = await takeOne(store);
        const unreadable: NewTask = Object.defineProperty({ ...newTask() }, "target", {
          get: () => {
            throw new Error("unreadable target");
          },
        });
        const refused = await store.settle([{ ...death(claimed), followUps: [newTask(), unreadable] }]).then(
          () => false,
          () => true,
        );
        expect(refused).toBe(true);
        expect((await read(store, claimed.id)).state).toBe("running");
        expect((await listAll(store)).length).toBe(1);
        await settle(store, success(claimed));
      }),
    );
  });
}
