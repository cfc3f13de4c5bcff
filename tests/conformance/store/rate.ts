/** Conformance: no sixty seconds see more of a client's requests than its limit, and none is refused without need. */

import { describe, expect, test } from "bun:test";
import type { EnqueueResult, RateState } from "../../../src/core/store.ts";
import { newTask, newTasks, success } from "../../support/tasks.ts";
import { send, setClient, setQueue, setTier, useOf } from "./admin.ts";
import {
  idsOf,
  listAll,
  MINUTE_MS,
  type OpenStore,
  put,
  reopened,
  SECOND_MS,
  secondOf,
  settle,
  takeOne,
  withStore,
} from "./harness.ts";

const BUILT_IN = { limits: "built-in" } as const;
const TEN_CREATED = Array<"created">(10).fill("created");

export function rateTests(open: OpenStore, offers: { reopen: boolean; second: boolean }): void {
  describe("requests a minute", () => {
    test(
      "may come all at once; the next is refused, told its tier, its limit and when there is room, and is not kept",
      withStore(
        open,
        async ({ store, advance, now }) => {
          const before = now();
          expect(await send(store, 10)).toEqual(TEN_CREATED);
          const after = now();
          await advance(20 * SECOND_MS);
          const askedMs = now();
          const { results } = await store.enqueue([newTask()]);
          expect(results).toMatchObject([{ kind: "limited", tier: "free", limit: 10 }]);
          const { retryAfterMs } = limitedOf(results);
          expect(retryAfterMs).toBeLessThanOrEqual(after + MINUTE_MS - askedMs);
          expect(retryAfterMs).toBeGreaterThanOrEqual(before + MINUTE_MS - now());
          expect((await listAll(store)).length).toBe(10);
          await advance(retryAfterMs - 5 * SECOND_MS);
          expect(await send(store, 1)).toEqual(["limited"]);
          await advance(5 * SECOND_MS);
          // All of them leave within a second of each other: they came together.
          expect(await send(store, 11)).toEqual([...TEN_CREATED, "limited"]);
        },
        BUILT_IN,
      ),
    );

    test(
      "leave one after the other as they came",
      withStore(
        open,
        async ({ store, advance }) => {
          for (let i = 0; i < 10; i++) {
            expect(await send(store, 1)).toEqual(["created"]);
            await advance(5 * SECOND_MS);
          }
          expect(await send(store, 1)).toEqual(["limited"]);
          await advance(10 * SECOND_MS);
          for (let i = 0; i < 4; i++) {
            expect(await send(store, 2)).toEqual(["created", "limited"]);
            await advance(5 * SECOND_MS);
          }
        },
        BUILT_IN,
      ),
    );

    test(
      "are admitted each on its own within a call, in order, beside those of others",
      withStore(
        open,
        async ({ store }) => {
          const named = newTask({ name: "taken" });
          const calls = [
            named,
            ...newTasks(8),
            newTask({ clientId: "other" }),
            newTask({ name: "taken" }),
            newTask(),
            newTask({ name: "free" }),
            newTask({ name: "taken" }),
            newTask({ clientId: "other" }),
          ];
          const { results, rates } = await store.enqueue(calls);
          expect(results.map(({ kind }) => kind)).toEqual([
            ...Array<"created">(9).fill("created"),
            "created",
            "duplicate",
            "created",
            "limited",
            "duplicate",
            "created",
          ]);
          expect([...rates.keys()].sort()).toEqual(["client-a", "other"]);
          expectRate(rates.get("client-a"), 10, 0);
          expectRate(rates.get("other"), 10, 8);
          // A task that was refused has not taken its name.
          await put(store, newTask({ name: "free", clientId: "other" }));
        },
        BUILT_IN,
      ),
    );

    test(
      "that made no task are not charged: duplicates, refused ones, limited ones, and the same task sent again",
      withStore(
        open,
        async ({ store, advance }) => {
          const first = newTask({ name: "n", idempotencyKey: "k" });
          await put(store, first);
          for (let i = 0; i < 12; i++) {
            expect(await send(store, 1, { name: "n" })).toEqual(["duplicate"]);
            expect(await send(store, 1, { idempotencyKey: "k", queue: "other" })).toEqual(["duplicate"]);
            // As happens when an answer is lost: a store may tell it again or refuse the call, and charges nothing.
            await Promise.allSettled([store.enqueue([first])]);
          }
          await setQueue(store, "closed", { enabled: false });
          expect(new Set(await send(store, 12, { queue: "closed" }))).toEqual(new Set(["refused"]));
          await setClient(store, "client-a", { enabled: false });
          expect(new Set(await send(store, 12))).toEqual(new Set(["refused"]));
          await setClient(store, "client-a", { enabled: true });
          expect(await useOf(store, "client-a")).toMatchObject({ requests: 1 });
          await advance(30 * SECOND_MS);
          expect(await send(store, 12)).toEqual([...TEN_CREATED.slice(1), "limited", "limited", "limited"]);
          await advance(31 * SECOND_MS);
          expect(await send(store, 2)).toEqual(["created", "limited"]);
          expect((await listAll(store)).length).toBe(11);
        },
        BUILT_IN,
      ),
    );

    test(
      "are charged when they come, whatever becomes of their tasks and whenever those run",
      withStore(
        open,
        async ({ store, now }) => {
          await put(store, ...newTasks(8, { scheduledAtMs: now() + 10 * MINUTE_MS }));
          const cancelled = newTask();
          await put(store, cancelled);
          await store.cancel(cancelled.id);
          await put(store, newTask());
          await settle(store, success(await takeOne(store)));
          expect(await send(store, 1)).toEqual(["limited"]);
          expect((await useOf(store, "client-a")).requests).toBe(10);
        },
        BUILT_IN,
      ),
    );

    test(
      "are told with every answer: the limit, what is left, and when all of it is there again",
      withStore(
        open,
        async ({ store, advance }) => {
          const rate = async (count: number) => (await store.enqueue(newTasks(count))).rates.get("client-a");
          expectRate(await rate(4), 10, 6);
          await advance(20 * SECOND_MS);
          expectRate(await rate(1), 10, 5);
          expectRate(await rate(7), 10, 0);
          await advance(30 * SECOND_MS);
          expectRate(await rate(1), 10, 0, 30 * SECOND_MS);
          await advance(11 * SECOND_MS);
          expectRate(await rate(1), 10, 3);
          await setTier(store, "free", { requestsPerMinute: 2 });
          expectRate(await rate(1), 2, 0);
        },
        BUILT_IN,
      ),
    );

    test(
      "past a limit that was lowered are refused until enough of those before have left",
      withStore(
        open,
        async ({ store, advance }) => {
          for (const count of [5, 3, 2]) {
            await put(store, ...newTasks(count));
            await advance(10 * SECOND_MS);
          }
          await setTier(store, "free", { requestsPerMinute: 4 });
          // Of ten at 0, 10 and 20 s seven have to go: those of the tenth second are the last of them.
          const { retryAfterMs } = limitedOf((await store.enqueue([newTask()])).results);
          expect(retryAfterMs).toBeLessThanOrEqual(40 * SECOND_MS);
          expect(retryAfterMs).toBeGreaterThan(39 * SECOND_MS);
          await advance(retryAfterMs);
          expect(await send(store, 3)).toEqual(["created", "created", "limited"]);
        },
        BUILT_IN,
      ),
    );

    test.skipIf(!offers.second)(
      "are counted together, through whichever handle they come, one by one and at the same time",
      withStore(
        open,
        async (opened) => {
          const other = await secondOf(opened);
          const sent: string[] = [];
          for (let i = 0; i < 6; i++) sent.push(...(await send(i % 2 ? other : opened.store, 1)));
          const together = await Promise.all(
            Array.from({ length: 8 }, (_, i) => send(i % 2 ? other : opened.store, 1)),
          );
          expect([...sent, ...together.flat()].filter((kind) => kind === "created").length).toBe(10);
          expect((await listAll(other)).length).toBe(10);
        },
        BUILT_IN,
      ),
    );

    test.skipIf(!offers.reopen)(
      "are still counted after the store was opened again",
      withStore(
        open,
        async (opened) => {
          const tasks = newTasks(9);
          await put(opened.store, ...tasks);
          const again = await reopened(opened);
          expect(await send(again, 2)).toEqual(["created", "limited"]);
          expect(idsOf(await listAll(again)).length).toBe(10);
        },
        BUILT_IN,
      ),
    );
  });
}

function limitedOf(results: readonly EnqueueResult[]): Extract<EnqueueResult, { kind: "limited" }> {
  const limited = results.find((result) => result.kind === "limited");
  if (limited === undefined) throw new Error(`expected one to be refused: ${JSON.stringify(results)}`);
  return limited;
}

/** `resetMs` is a minute right after a request, less what has passed since; within a second, for one is exact to that. */
function expectRate(
  rate: RateState | undefined,
  limit: number,
  remaining: number,
  resetMs = MINUTE_MS,
): void {
  expect(rate).toMatchObject({ limit, remaining });
  expect(rate?.resetMs ?? 0).toBeLessThanOrEqual(resetMs);
  expect(rate?.resetMs ?? 0).toBeGreaterThan(resetMs - SECOND_MS);
}
