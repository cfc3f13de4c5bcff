/** Conformance: a paused queue hands out nothing, and no queue has more running than it says. */

import { describe, expect, test } from "bun:test";
import { PRIORITIES } from "../../../src/core/priority.ts";
import { newTask, newTasks, success } from "../../support/tasks.ts";
import { queueUseOf, setClient, setQueue } from "./admin.ts";
import {
  drain,
  idsOf,
  LEASE_MS,
  MINUTE_MS,
  type OpenStore,
  put,
  secondOf,
  settle,
  take,
  takeOne,
  tally,
  withStore,
} from "./harness.ts";
import { listen, quiet } from "./hints.ts";

const REQUEST = { worker: "worker-2", limit: 100, leaseMs: LEASE_MS };

export function queueLimitTests(open: OpenStore, offers: { second: boolean }): void {
  describe("a paused queue", () => {
    test(
      "takes tasks, hands none out, lets those running finish, and goes on at once when it is resumed",
      withStore(open, async ({ store, advance, now }) => {
        await put(store, newTask());
        const running = await takeOne(store);
        await put(store, newTask({ clientId: "b", orderingKey: "k" }));
        await setQueue(store, "default", { paused: true });
        const held = [
          ...newTasks(3),
          newTask({ clientId: "b", priority: "low", orderingKey: "k" }),
          newTask({ clientId: "c", scheduledAtMs: now() + MINUTE_MS }),
        ];
        const free = newTasks(2, { queue: "other" });
        await put(store, ...held, ...free);
        await advance(MINUTE_MS);
        expect(new Set(idsOf(await drain(store)))).toEqual(new Set(idsOf(free)));
        await settle(store, success(running));
        expect(await drain(store)).toEqual([]);
        await setQueue(store, "default", { paused: false });
        expect((await take(store, 100)).length).toBeGreaterThan(0);
        await drain(store);
        // All but the second of a key: its head runs.
        expect(await queueUseOf(store, "default")).toMatchObject({ running: held.length });
      }),
    );

    test(
      "that is resumed, a client that is enabled and a limit that is raised hint at work",
      withStore(open, async (opened) => {
        const { store } = opened;
        await setQueue(store, "default", { paused: true });
        await setClient(store, "client-a", { enabled: false });
        await put(store, newTask({ clientId: "b" }));
        await setClient(store, "c", { overrides: { maxConcurrent: 0 } });
        await put(store, newTask({ clientId: "c", queue: "other" }));
        expect(await drain(store)).toEqual([]);
        for (const change of [
          () => setQueue(store, "default", { paused: false }),
          () => setClient(store, "client-a", { enabled: true }),
          () => setClient(store, "c", { overrides: {} }),
        ]) {
          await quiet(opened);
          const ear = listen(store);
          await change();
          expect(await ear.heard(opened, "work")).toBe(true);
          ear.stop();
        }
      }),
    );
  });

  describe("a queue's tasks running at once", () => {
    test(
      "are at most as many as it says over all clients and priorities, and rules change for those that wait",
      withStore(open, async (opened) => {
        const { store } = opened;
        for (const clientId of ["a", "b", "c"])
          for (const priority of PRIORITIES) await put(store, ...newTasks(3, { clientId, priority }));
        await setQueue(store, "default", { maxConcurrent: 4 });
        const running = await drain(store, 3);
        expect(running.length).toBe(4);
        expect((await store.claim(REQUEST)).nextInMs).toBeNull();
        await put(store, ...newTasks(2, { queue: "other" }));
        expect((await drain(store)).length).toBe(2);
        const [first, ...rest] = running;
        if (first === undefined) throw new Error("expected tasks");
        expect((await store.settleAndClaim([success(first)], REQUEST)).claim.tasks.length).toBe(1);
        await setQueue(store, "default", { maxConcurrent: 2 });
        await settle(store, ...rest.slice(0, 2).map((one) => success(one)));
        expect(await drain(store)).toEqual([]);
        await setQueue(store, "default", { maxConcurrent: 5 });
        expect((await drain(store, 1)).length).toBe(3);
        await setQueue(store, "default", { maxConcurrent: null });
        expect((await drain(store)).length).toBe(36 - 4 - 1 - 3);
      }),
    );

    test.skipIf(!offers.second)(
      "are counted over all workers",
      withStore(open, async (opened) => {
        const other = await secondOf(opened);
        await setQueue(opened.store, "default", { maxConcurrent: 3 });
        await put(opened.store, ...newTasks(20), ...newTasks(20, { clientId: "b" }));
        const claims = await Promise.all(
          Array.from({ length: 8 }, (_, i) => take(i % 2 ? opened.store : other, 2, { worker: `w${i}` })),
        );
        expect(claims.flat().length).toBe(3);
      }),
    );

    test(
      "and its clients' limits hold both, and neither blocks what only the other holds back",
      withStore(open, async ({ store }) => {
        await setClient(store, "a", { overrides: { maxConcurrent: 1 } });
        await setQueue(store, "closed", { paused: true });
        await setQueue(store, "narrow", { maxConcurrent: 2 });
        const at = (clientId: string, queue: string) => newTasks(2, { clientId, queue });
        for (const clientId of ["a", "b"])
          for (const queue of ["closed", "narrow", "wide"]) await put(store, ...at(clientId, queue));
        const running = await drain(store, 1);
        // One of a's, and of b's the two of the wide queue and what a leaves of the narrow one.
        const shares = tally(running, ({ clientId, queue }) => `${clientId} ${queue}`);
        expect(tally(running, ({ clientId }) => clientId).a).toBe(1);
        expect(shares["b wide"]).toBe(2);
        expect(tally(running, ({ queue }) => queue).narrow).toBe(2);
        await setQueue(store, "closed", { paused: false });
        expect(tally(await drain(store), ({ clientId, queue }) => `${clientId} ${queue}`)).toEqual({
          "b closed": 2,
        });
        // Each that ends makes room for one that waits, till all have run.
        const ran: string[] = [];
        for (let rounds = 0; rounds < 12; rounds++) {
          const held = rounds === 0 ? running : await drain(store, 1);
          ran.push(...idsOf(held));
          await settle(store, ...held.map((one) => success(one)));
        }
        expect(new Set(ran).size).toBe(10);
      }),
    );
  });
}
