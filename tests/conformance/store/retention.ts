/** Conformance: finished tasks stay readable for their time and no longer, and nothing unfinished is ever swept. */

import { describe, expect, test } from "bun:test";
import { TaskRunnerError } from "../../../src/core/errors.ts";
import type { ClaimedTask, Settlement } from "../../../src/core/store.ts";
import type { NewTask } from "../../../src/core/task.ts";
import { death, newTarget, newTask, newTasks, retry, success } from "../../support/tasks.ts";
import {
  DAY_MS,
  HOUR_MS,
  listAll,
  MINUTE_MS,
  type OpenedStore,
  type OpenStore,
  put,
  read,
  settle,
  take,
  takeOne,
  withStore,
} from "./harness.ts";

const ENDS = ["succeeded", "dead", "cancelled"] as const;
const SETTINGS = { retentionSucceededMs: HOUR_MS, retentionDeadMs: 7 * DAY_MS, dedupWindowMs: HOUR_MS };

export function retentionTests(open: OpenStore): void {
  describe("retention", () => {
    for (const end of ENDS) {
      const defaultMs = end === "dead" ? SETTINGS.retentionDeadMs : SETTINGS.retentionSucceededMs;
      for (const [whose, retentionMs] of [
        ["the store's", null],
        ["its own", 3 * HOUR_MS],
      ] as const) {
        test(
          `a ${end} task stays readable for ${whose} retention, counted from its end`,
          withStore(
            open,
            async (opened) => {
              const { store, advance } = opened;
              const { id } = await finished(opened, end, { retentionMs });
              await advance((retentionMs ?? defaultMs) - MINUTE_MS);
              expect((await store.sweep(100)).tasks).toBe(0);
              expect((await read(store, id)).state).toBe(end);
              await advance(2 * MINUTE_MS);
              expect(await store.sweep(100)).toMatchObject({ tasks: 1, more: false });
              expect(await store.get(id)).toBeNull();
              expect(await listAll(store)).toEqual([]);
            },
            SETTINGS,
          ),
        );
      }

      test(
        `a ${end} task of no retention is gone at once`,
        withStore(
          open,
          async (opened) => {
            const { store } = opened;
            const { id } = await finished(opened, end, { retentionMs: 0 });
            expect(await store.get(id)).toBeNull();
            expect(await listAll(store)).toEqual([]);
          },
          SETTINGS,
        ),
      );
    }

    test(
      "a store whose own retention is nothing drops finished tasks at once",
      withStore(
        open,
        async (opened) => {
          for (const end of ENDS) {
            const { id } = await finished(opened, end, {});
            expect(await opened.store.get(id)).toBeNull();
          }
        },
        { retentionSucceededMs: 0, retentionDeadMs: 0 },
      ),
    );

    test(
      "a replayed task is kept until it ends anew, and from then on for its retention",
      withStore(
        open,
        async (opened) => {
          const { store, advance } = opened;
          const { id } = await finished(opened, "succeeded", {});
          await store.replay(id);
          await advance(10 * DAY_MS);
          expect((await store.sweep(100)).tasks).toBe(0);
          await settle(store, success(await takeOne(store)));
          await advance(HOUR_MS - MINUTE_MS);
          await store.sweep(100);
          expect((await read(store, id)).state).toBe("succeeded");
        },
        SETTINGS,
      ),
    );
  });

  describe("sweep", () => {
    test(
      "removes at most its limit and says whether there is more",
      withStore(
        open,
        async ({ store, advance }) => {
          await put(store, ...newTasks(10));
          await settle(store, ...(await take(store, 10)).map((claimed) => success(claimed)));
          await advance(HOUR_MS + MINUTE_MS);
          expect(await store.sweep(4)).toMatchObject({ tasks: 4, more: true });
          expect((await listAll(store)).length).toBe(6);
          expect(await store.sweep(100)).toMatchObject({ tasks: 6, more: false });
          expect(await store.sweep(100)).toEqual({ tasks: 0, names: 0, more: false });
        },
        SETTINGS,
      ),
    );

    test(
      "removes names no longer taken, at most its limit of them",
      withStore(
        open,
        async ({ store, advance }) => {
          const tasks = Array.from({ length: 6 }, (_, i) => newTask({ name: `n${i}`, retentionMs: 0 }));
          await put(store, ...tasks);
          await settle(store, ...(await take(store, 6)).map((claimed) => success(claimed)));
          expect((await store.sweep(100)).names).toBe(0);
          await advance(HOUR_MS + MINUTE_MS);
          const first = await store.sweep(4);
          expect(first.names).toBeLessThanOrEqual(4);
          expect(first.more).toBe(true);
          expect(first.names + (await store.sweep(100)).names).toBe(6);
          expect(await store.sweep(100)).toEqual({ tasks: 0, names: 0, more: false });
        },
        SETTINGS,
      ),
    );

    test(
      "never removes a task that waits or runs, however old it is",
      withStore(
        open,
        async ({ store, advance, now }) => {
          const scheduled = newTask({ scheduledAtMs: now() + 366 * DAY_MS, retentionMs: 0 });
          const [running, retrying, ready] = [
            newTask({ retentionMs: 0 }),
            newTask({ retentionMs: 0 }),
            newTask(),
          ];
          await put(store, scheduled, running);
          await takeOne(store, { leaseMs: 400 * DAY_MS });
          await put(store, retrying);
          await settle(store, retry(await takeOne(store), 365 * DAY_MS));
          await put(store, ready);
          await advance(300 * DAY_MS);
          expect(await store.sweep(1_000)).toEqual({ tasks: 0, names: 0, more: false });
          const states = await Promise.all(
            [scheduled, running, retrying, ready].map(async ({ id }) => (await read(store, id)).state),
          );
          expect(states).toEqual(["scheduled", "running", "retrying", "ready"]);
        },
        SETTINGS,
      ),
    );
  });

  describe("a store's own size", () => {
    test(
      "past it nothing new is accepted, and nothing of the call is kept",
      withStore(
        open,
        async ({ store }) => {
          const refused = await store.enqueue(newTasks(3)).then(
            () => null,
            (error: unknown) => error,
          );
          expect(refused).toBeInstanceOf(TaskRunnerError);
          expect((refused as TaskRunnerError).code).toBe("store_full");
          expect(await listAll(store)).toEqual([]);
        },
        { maxBytes: 1 },
      ),
    );

    test(
      "past it what waits can still be worked off, finished tasks go early, and then there is room again",
      withStore(
        open,
        async ({ store, advance }) => {
          const body = "x".repeat(65_536);
          const fill = () => store.enqueue(newTasks(4, { target: newTarget({ body }) }));
          let accepted = 0;
          let refusal: unknown = null;
          while (refusal === null && accepted < 400) {
            await advance(1);
            await fill().then(
              () => {
                accepted += 4;
              },
              (error: unknown) => {
                refusal = error;
              },
            );
          }
          expect(refusal).toMatchObject({ code: "store_full" });
          // The bound is of the store's size, not of the bodies alone: it must not be missed by much either way.
          expect(accepted).toBeGreaterThan(16);
          expect(accepted).toBeLessThan(160);
          const claimed = await take(store, 1_000);
          expect(claimed.length).toBe(accepted);
          await settle(store, ...claimed.map((one) => success(one)));
          for (let sweeps = 0; sweeps < 10; sweeps++) {
            await store.sweep(1_000);
            await advance(MINUTE_MS);
          }
          expect((await fill()).results.length).toBe(4);
        },
        { ...SETTINGS, maxBytes: 4 * 1_048_576 },
      ),
    );
  });
}

/** A new task brought to its end. */
async function finished(
  { store }: OpenedStore,
  end: (typeof ENDS)[number],
  overrides: Partial<NewTask>,
): Promise<NewTask> {
  const task = newTask(overrides);
  await put(store, task);
  const ending: Record<"succeeded" | "dead", (claimed: ClaimedTask) => Settlement> = {
    succeeded: success,
    dead: death,
  };
  if (end === "cancelled") expect((await store.cancel(task.id)).kind).toBe("changed");
  else await settle(store, ending[end](await takeOne(store)));
  return task;
}
