/** Conformance: a store tells at once when a worker may have something to do. */

import { describe, expect, test } from "bun:test";
import type { StoreHint, TaskStore } from "../../../src/core/store.ts";
import { newTask, success } from "../../support/tasks.ts";
import {
  HOUR_MS,
  MINUTE_MS,
  type OpenedStore,
  type OpenStore,
  put,
  settle,
  takeOne,
  withStore,
} from "./harness.ts";

/** Far more than a hint takes; hints may be lost in the world, but not where nothing goes wrong. */
const PATIENCE_MS = 2_000;

export function hintTests(open: OpenStore): void {
  describe("hints", () => {
    const causes: ReadonlyArray<
      readonly [string, StoreHint, (opened: OpenedStore) => Promise<() => Promise<unknown>>]
    > = [
      [
        "enqueueing a task that is ready",
        "work",
        async ({ store }) =>
          () =>
            put(store, newTask()),
      ],
      [
        "enqueueing a task due sooner than any before",
        "work",
        async ({ store, now }) => {
          await put(store, newTask({ scheduledAtMs: now() + HOUR_MS }));
          await store.claim({ worker: "w", limit: 1, leaseMs: MINUTE_MS });
          return () => put(store, newTask({ scheduledAtMs: now() + MINUTE_MS }));
        },
      ],
      [
        "moving a task to an earlier time",
        "work",
        async ({ store, now }) => {
          const task = newTask({ scheduledAtMs: now() + HOUR_MS });
          await put(store, task);
          return () => store.reschedule(task.id, { scheduledAtMs: now() + MINUTE_MS });
        },
      ],
      [
        "making a task run now",
        "work",
        async ({ store, now }) => {
          const task = newTask({ scheduledAtMs: now() + HOUR_MS });
          await put(store, task);
          return () => store.runNow(task.id);
        },
      ],
      [
        "replaying a task",
        "work",
        async ({ store }) => {
          const task = newTask();
          await put(store, task);
          await settle(store, success(await takeOne(store)));
          return () => store.replay(task.id);
        },
      ],
      [
        "cancelling a running task",
        "leases",
        async ({ store }) => {
          const task = newTask();
          await put(store, task);
          await takeOne(store);
          return () => store.cancel(task.id);
        },
      ],
    ];
    for (const [what, hint, prepare] of causes) {
      test(
        `${what} hints at ${hint}`,
        withStore(open, async (opened) => {
          const act = await prepare(opened);
          await quiet(opened);
          const ear = listen(opened.store);
          await act();
          expect(await ear.heard(opened, hint)).toBe(true);
        }),
      );
    }

    test(
      "reach every listener until it stops listening",
      withStore(open, async (opened) => {
        const { store } = opened;
        const [gone, here, alsoHere] = [listen(store), listen(store), listen(store)];
        gone.stop();
        gone.stop();
        await put(store, newTask());
        expect(await here.heard(opened, "work")).toBe(true);
        expect(await alsoHere.heard(opened, "work")).toBe(true);
        expect(gone.hints).toEqual([]);
      }),
    );

    test(
      "come to a listener that throws without keeping them from the others or failing the call",
      withStore(open, async (opened) => {
        const { store } = opened;
        store.onHint(() => {
          throw new Error("a listener's own mistake");
        });
        const ear = listen(store);
        await put(store, newTask());
        expect(await ear.heard(opened, "work")).toBe(true);
      }),
    );
  });
}

export interface Ear {
  readonly hints: ReadonlyArray<{ readonly hint: StoreHint; readonly atMs: number }>;
  /** Waits, bounded, until the hint came; false when it did not. The store's time goes on meanwhile. */
  heard(opened: Pick<OpenedStore, "advance">, hint: StoreHint): Promise<boolean>;
  stop(): void;
}

export function listen(store: TaskStore): Ear {
  const hints: Array<{ hint: StoreHint; atMs: number }> = [];
  const stop = store.onHint((hint) => {
    hints.push({ hint, atMs: performance.now() });
  });
  return {
    hints,
    stop,
    async heard(opened, hint) {
      const untilMs = performance.now() + PATIENCE_MS;
      while (performance.now() < untilMs) {
        if (hints.some((one) => one.hint === hint)) return true;
        await pass(opened);
      }
      return false;
    },
  };
}

/** Lets hints of what was done before arrive, so that they are not taken for a later one's. */
export async function quiet(opened: Pick<OpenedStore, "advance">): Promise<void> {
  for (let i = 0; i < 5; i++) await pass(opened);
}

/** A moment of real time, and of the store's: it may look for news by either. */
async function pass({ advance }: Pick<OpenedStore, "advance">): Promise<void> {
  const PAUSE_MS = 2;
  await Bun.sleep(PAUSE_MS);
  await advance(PAUSE_MS);
}
