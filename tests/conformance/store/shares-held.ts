/** Shares under limits: priorities and weights are kept where only one task may run at a time. */

import { describe, expect, test } from "bun:test";
import type { TaskStore } from "../../../src/core/store.ts";
import { newTasks, success } from "../../support/tasks.ts";
import { setClient, setQueue } from "./admin.ts";
import { type OpenStore, put, settle, takeOne, tally, withStore } from "./harness.ts";

/** Claims and settles one task after the other; what `of` says of each. */
async function oneByOne(
  store: TaskStore,
  count: number,
  of: (task: Awaited<ReturnType<typeof takeOne>>) => string,
): Promise<Record<string, number>> {
  const seen: string[] = [];
  for (let at = 0; at < count; at++) {
    const task = await takeOne(store);
    seen.push(of(task));
    await settle(store, success(task));
  }
  return tally(seen, (one) => one);
}

export function heldShareTests(open: OpenStore): void {
  describe("shares where one may run at a time", () => {
    test(
      "are those of the priorities, of one client at its limit",
      withStore(open, async ({ store }) => {
        await setClient(store, "one", { overrides: { maxConcurrent: 1 } });
        for (const priority of ["low", "critical", "normal", "high"] as const) {
          await put(store, ...newTasks(80, { clientId: "one", priority }));
        }
        const shares = await oneByOne(store, 75, ({ priority }) => priority);
        expect(shares.critical).toBeWithin(38, 43);
        expect(shares.high).toBeWithin(18, 23);
        expect(shares.normal).toBeWithin(9, 12);
        expect(shares.low).toBeWithin(4, 7);
      }),
    );

    test(
      "are those of the priorities, of many clients in a queue at its limit",
      withStore(open, async ({ store }) => {
        await setQueue(store, "narrow", { maxConcurrent: 1 });
        for (const priority of ["low", "critical"] as const) {
          for (const clientId of ["a", "b", "c"])
            await put(store, ...newTasks(40, { queue: "narrow", clientId, priority }));
        }
        const shares = await oneByOne(store, 90, ({ priority, clientId }) => `${priority} ${clientId}`);
        for (const clientId of ["a", "b", "c"]) {
          expect(shares[`critical ${clientId}`]).toBeWithin(24, 30);
          expect(shares[`low ${clientId}`]).toBeWithin(2, 6);
        }
      }),
    );

    test(
      "are those of the queues' weights, of one client at its limit",
      withStore(open, async ({ store }) => {
        await setClient(store, "one", { overrides: { maxConcurrent: 1 } });
        await setQueue(store, "heavy", { weight: 5 });
        for (const queue of ["light", "heavy"]) await put(store, ...newTasks(80, { clientId: "one", queue }));
        const shares = await oneByOne(store, 60, ({ queue }) => queue);
        expect(shares.heavy).toBeWithin(48, 53);
        expect(shares.light).toBeWithin(8, 13);
      }),
    );
  });
}
