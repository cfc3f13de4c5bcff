/** Conformance: a change to what a client may do holds at once and everywhere, also for what was checked before it. */

import { describe, expect, test } from "bun:test";
import { newTask } from "../../support/tasks.ts";
import { keptOf, NO_LIMITS, send, setClient, setQueue, setTier } from "./admin.ts";
import { drain, HOUR_MS, type OpenStore, put, secondOf, take, withStore } from "./harness.ts";

const BUILT_IN = { limits: "built-in" } as const;

export function clientChangeTests(open: OpenStore, offers: { second: boolean }): void {
  describe("a change of a tier", () => {
    test(
      "holds for the next enqueue and the next claim",
      withStore(
        open,
        async ({ store }) => {
          expect(await send(store, 10)).toEqual(Array<"created">(10).fill("created"));
          expect((await take(store, 10)).length).toBe(1);
          await setTier(store, "free", { requestsPerMinute: 12, maxConcurrent: 4 });
          expect((await take(store, 10)).length).toBe(3);
          expect(await send(store, 3)).toEqual(["created", "created", "limited"]);
          await setClient(store, "client-a", { tier: "basic" });
          expect((await take(store, 10)).length).toBe(1);
          expect(await send(store, 1)).toEqual(["created"]);
          await setTier(store, "basic", { requestsPerMinute: 13 });
          expect(await send(store, 1)).toEqual(["limited"]);
          await setTier(store, "basic", NO_LIMITS);
          expect(await send(store, 200)).toEqual(Array<"created">(200).fill("created"));
          expect((await drain(store)).length).toBe(208);
        },
        BUILT_IN,
      ),
    );

    test.skipIf(!offers.second)(
      "or of a client or a queue made through one handle holds at once for another, whatever that has seen",
      withStore(
        open,
        async (opened) => {
          const { store } = opened;
          const other = await secondOf(opened);
          for (const handle of [store, other]) await put(handle, newTask());
          expect((await take(store, 10)).length).toBe(1);
          await setTier(other, "free", { requestsPerMinute: 3, maxConcurrent: 2 });
          expect(await send(store, 2)).toEqual(["created", "limited"]);
          expect((await take(store, 10)).length).toBe(1);
          await setClient(store, "client-a", { overrides: NO_LIMITS });
          expect(await send(other, 20)).toEqual(Array<"created">(20).fill("created"));
          expect((await take(other, 5)).length).toBe(5);
          await setClient(other, "client-a", { overrides: NO_LIMITS, enabled: false });
          expect(await send(store, 1)).toEqual(["refused"]);
          expect(await take(store, 5)).toEqual([]);
          await setClient(other, "client-a", { overrides: NO_LIMITS, enabled: true });
          await setQueue(other, "default", { enabled: false, paused: true });
          expect(await send(store, 1)).toEqual(["refused"]);
          expect(await take(store, 5)).toEqual([]);
          await setQueue(other, "default", { paused: false });
          expect((await take(store, 5)).length).toBe(5);
        },
        BUILT_IN,
      ),
    );
  });

  describe("what a worker has to know of a client", () => {
    test(
      "comes with its tasks as it is then, whatever it was when they were accepted",
      withStore(open, async ({ store }) => {
        const signing = [{ id: "0a1b2c3d", sealed: "c2VhbGVk", createdAtMs: 17 }];
        await put(store, newTask(), newTask({ clientId: "b" }), newTask(), newTask());
        await setClient(store, "client-a", { signing });
        const rules = (await take(store, 3)).map(({ clientId, clientRules }) => [clientId, clientRules]);
        const own = ["client-a", { allowedHosts: null, signing }];
        expect(rules.sort(([a], [b]) => (String(a) < String(b) ? -1 : 1))).toEqual([["b", null], own, own]);
        await setClient(store, "client-a", { signing: [], allowedHosts: ["example.com"] });
        expect((await take(store, 1))[0]?.clientRules).toEqual({
          allowedHosts: ["example.com"],
          signing: [],
        });
      }),
    );
  });

  describe("a client with lists of what it may use", () => {
    for (const [what, lists] of [
      ["queues", { allowedQueues: ["default"] }],
      ["hosts", { allowedHosts: ["*.example.com"] }],
      ["nothing at all", { allowedQueues: [], allowedHosts: [] }],
    ] as const) {
      test(
        `of ${what} has to be held against their current version`,
        withStore(open, async ({ store }) => {
          await setClient(store, "listed", { ...lists, overrides: { requestsPerMinute: 3 } });
          const first = (await keptOf(store, "client", "listed")).revision;
          const sent = (clientRevision: number | null) =>
            send(store, 1, { clientId: "listed", clientRevision });
          expect(await sent(null)).toEqual(["unchecked"]);
          expect(await sent(first + 1)).toEqual(["unchecked"]);
          // By being used a client does not change.
          expect([await sent(first), await sent(first)]).toEqual([["created"], ["created"]]);
          await setClient(store, "listed", { ...lists, createdAtMs: 18 });
          const second = (await keptOf(store, "client", "listed")).revision;
          expect(await sent(first)).toEqual(["unchecked"]);
          // None of those unchecked has been charged.
          expect([await sent(second), await sent(second)]).toEqual([["created"], ["limited"]]);
          await setClient(store, "listed", { allowedQueues: null, allowedHosts: null, overrides: {} });
          expect([await sent(null), await sent(first)]).toEqual([["created"], ["created"]]);
        }),
      );
    }

    test(
      "is told of a name that is taken before it is held against anything, and each task is for itself",
      withStore(open, async ({ store, now }) => {
        const scheduledAtMs = now() + HOUR_MS;
        const named = newTask({ clientId: "listed", name: "n", scheduledAtMs });
        await put(store, named);
        await setClient(store, "listed", { allowedQueues: ["default"] });
        const { revision } = await keptOf(store, "client", "listed");
        const checked = newTask({ clientId: "listed", clientRevision: revision, name: "m" });
        const { results } = await store.enqueue([
          newTask({ clientId: "listed", name: "n" }),
          newTask({ clientId: "listed", name: "m" }),
          checked,
          newTask({ clientId: "free" }),
        ]);
        expect(results).toMatchObject([
          { kind: "duplicate", id: named.id },
          { kind: "unchecked" },
          { kind: "created", id: checked.id },
          { kind: "created" },
        ]);
      }),
    );
  });
}
