/** Conformance: settings are changed by who knows what they are, one after the other, and are listed whole. */

import { describe, expect, test } from "bun:test";
import { BUILT_IN_TIERS, type Client, newClient, type Tier } from "../../../src/core/client.ts";
import { newQueue } from "../../../src/core/queue.ts";
import type { Kept, SettingsKind, SettingsOf, TaskStore } from "../../../src/core/store.ts";
import { alter, auditEntry, keptOf, NO_LIMITS, setClient, setQueue } from "./admin.ts";
import { idsOf, type OpenedStore, type OpenStore, reopened, secondOf, withStore } from "./harness.ts";

const BUILT_IN = { limits: "built-in" } as const;

const CLIENT: Client = {
  tier: "premium",
  enabled: false,
  overrides: { requestsPerMinute: null, maxConcurrent: 0 },
  allowedQueues: [],
  allowedHosts: ["example.com", "*.grüße.example", "[::1]"],
  keys: [
    { id: "0a1b2c3d", hash: "f".repeat(64), label: null, createdAtMs: 1 },
    { id: "4e5f6a7b", hash: "0".repeat(64), label: 'a "label"\n\u0000 🚀', createdAtMs: 1_767_225_600_001 },
  ],
  signing: [{ id: "1a2b3c4d", sealed: "c2VhbGVkIQ==", createdAtMs: 2 }],
  createdAtMs: 1_767_225_600_000,
};

/** A value of each kind, and another one that differs from it. */
const VALUES: { readonly [K in SettingsKind]: readonly [SettingsOf[K], SettingsOf[K]] } = {
  client: [CLIENT, { ...newClient("free", 5), overrides: { requestsPerMinute: 5_000 } }],
  tier: [
    { requestsPerMinute: 7, maxConcurrent: null },
    { requestsPerMinute: null, maxConcurrent: 1_000_000 },
  ],
  queue: [
    { ...newQueue(3), maxDispatchesPerSec: 0.125, permanentStatuses: [410], target: { headers: {} } },
    { ...newQueue(4), paused: true, deadTarget: { kind: "queue", queue: "graves" }, retry: { jitter: 0 } },
  ],
};
const KINDS = Object.keys(VALUES) as readonly SettingsKind[];

export function settingsTests(open: OpenStore, offers: { reopen: boolean; second: boolean }): void {
  describe("settings", () => {
    test(
      "begin with the built-in tiers and nothing else but the default queue",
      withStore(
        open,
        async ({ store }) => {
          const { items, nextCursor } = await store.page("tier", { limit: 10 });
          expect(nextCursor).toBeNull();
          expect(items.map(({ id, value }) => [id, value])).toEqual(
            Object.entries(BUILT_IN_TIERS).sort(byId),
          );
          for (const kept of items) expect(await store.read("tier", kept.id)).toEqual(kept);
          expect(await store.page("client", { limit: 10 })).toEqual({ items: [], nextCursor: null });
          const queues = await store.page("queue", { limit: 10 });
          expect(["", "default"]).toContain(idsOf(queues.items).join());
          expect((await store.audit({ limit: 10 })).entries).toEqual([]);
          expect(await store.read("tier", "nowhere")).toBeNull();
        },
        BUILT_IN,
      ),
    );

    for (const kind of KINDS) {
      test(
        `of a ${kind} are kept whole, changed only by who knows their revision, and gone when removed`,
        withStore(open, ({ store }) => expectCompared(store, kind)),
      );
    }

    test(
      "of one id are another thing in each kind",
      withStore(open, async ({ store }) => {
        await alter(store, "tier", "same", () => NO_LIMITS);
        await setQueue(store, "same", { weight: 2 });
        expect(await store.read("client", "same")).toBeNull();
        await setClient(store, "same", { tier: "same" });
        await alter(store, "tier", "same", () => null);
        expect((await keptOf(store, "queue", "same")).value.weight).toBe(2);
        expect((await keptOf(store, "client", "same")).value.tier).toBe("same");
      }),
    );

    test(
      "changed by several at once from one revision are changed once",
      withStore(
        open,
        async (opened) => {
          const other = offers.second ? await secondOf(opened) : opened.store;
          await setClient(opened.store, "c", {});
          const kept = await keptOf(opened.store, "client", "c");
          const answers = await Promise.all(
            Array.from({ length: 12 }, (_, i) =>
              (i % 2 ? other : opened.store).change(
                { kind: "client", id: "c", from: kept.revision, value: { ...kept.value, createdAtMs: i } },
                auditEntry({ after: i }),
              ),
            ),
          );
          expect(answers.filter((done) => done).length).toBe(1);
          const winner = answers.indexOf(true);
          expect((await keptOf(other, "client", "c")).value.createdAtMs).toBe(winner);
          expect((await other.audit({ limit: 20 })).entries.map(({ after }) => after)).toEqual([
            winner,
            null,
          ]);
        },
        BUILT_IN,
      ),
    );

    test.skipIf(!offers.reopen)(
      "are there when the store is opened again, those of the built-in tiers as they were changed",
      withStore(open, async (opened) => {
        await alter(opened.store, "tier", "basic", () => ({ requestsPerMinute: 1, maxConcurrent: 2 }));
        await setClient(opened.store, "c", CLIENT);
        const kept = [await keptOf(opened.store, "tier", "basic"), await keptOf(opened.store, "client", "c")];
        const again = await reopened(opened);
        expect([await keptOf(again, "tier", "basic"), await keptOf(again, "client", "c")]).toEqual(kept);
        expect((await again.page("tier", { limit: 10 })).items.length).toBe(4);
      }),
    );
  });

  describe("a page of settings", () => {
    const IDS = ["10", "9", "A", "B", "Z", "_", "a", "a-b", "a.b", "a:b", "ab", "b", "x".repeat(100), "z"];
    for (const limit of [1, 3, IDS.length, 1_000]) {
      test(
        `holds at most ${limit}, and page by page each is there once, in the order of their ids`,
        withStore(open, async ({ store }) => {
          const mixed = IDS.toSorted((a, b) => a.length - b.length || (a < b ? 1 : -1));
          for (const id of mixed) await setClient(store, id, { createdAtMs: id.length });
          const all = await pages(store, limit);
          expect(idsOf(all)).toEqual(IDS.toSorted());
          for (const kept of all) expect(kept).toEqual(await keptOf(store, "client", kept.id));
        }),
      );
    }

    test(
      "shows those that stay exactly once while others come and go",
      withStore(open, async ({ store }) => {
        const staying = Array.from({ length: 20 }, (_, i) => `s${10 + i}`);
        for (const id of staying) {
          await setClient(store, id, {});
          await setClient(store, `${id}-gone`, {});
        }
        const listed = await pages(store, 3, async (seen) => {
          const last = seen.at(-1)?.id ?? "";
          if (last.endsWith("-gone")) await alter(store, "client", last, () => null);
          await setClient(store, `a-${seen.length}`, {});
          await setClient(store, `s9-${seen.length}`, {});
        });
        expect(idsOf(listed).filter((id) => staying.includes(id))).toEqual(staying);
        expect(new Set(idsOf(listed)).size).toBe(listed.length);
      }),
    );
  });
}

/** Every rule of compare-and-set, for one kind. */
async function expectCompared<K extends SettingsKind>(store: TaskStore, kind: K): Promise<void> {
  const [first, second] = VALUES[kind] as readonly [SettingsOf[K], SettingsOf[K]];
  const change = (from: number | null, value: SettingsOf[K] | null) =>
    store.change({ kind, id: "it", from, value }, auditEntry());
  const now = (): Promise<Kept<SettingsOf[K]> | null> => store.read(kind, "it");
  const revisions: number[] = [];
  for (let round = 0; round < 2; round++) {
    expect(await now()).toBeNull();
    expect(await change((revisions.at(-1) ?? 0) + 1, first)).toBe(false);
    for (const revision of revisions) expect(await change(revision, first)).toBe(false);
    expect(await now()).toBeNull();
    expect(await change(null, first)).toBe(true);
    const made = await keptOf(store, kind, "it");
    expect(made).toEqual({ id: "it", value: first, revision: made.revision });
    for (const from of [null, made.revision + 1, made.revision - 1, ...revisions]) {
      expect(await change(from, second)).toBe(false);
      expect(await change(from, null)).toBe(false);
    }
    expect(await now()).toEqual(made);
    expect(await change(made.revision, second)).toBe(true);
    const changed = await keptOf(store, kind, "it");
    expect(changed.value).toEqual(second);
    // The same again is a change too: who read the one before cannot know that it is the same.
    expect(await change(changed.revision, second)).toBe(true);
    const same = await keptOf(store, kind, "it");
    expect(await change(same.revision, null)).toBe(true);
    revisions.push(made.revision, changed.revision, same.revision);
    expect(new Set(revisions).size).toBe(revisions.length);
  }
}

/** The clients, page by page, with something done between the pages. */
async function pages(
  store: OpenedStore["store"],
  limit: number,
  between: (seen: readonly Kept<Client>[]) => Promise<void> = async () => {},
): Promise<Kept<Client>[]> {
  const seen: Kept<Client>[] = [];
  let cursor: string | null = null;
  for (let calls = 0; calls < 100; calls++) {
    const page: Awaited<ReturnType<typeof store.page<"client">>> = await store.page("client", {
      limit,
      ...(cursor === null ? {} : { cursor }),
    });
    expect(page.items.length).toBeLessThanOrEqual(limit);
    seen.push(...page.items);
    cursor = page.nextCursor;
    if (cursor === null) return seen;
    await between(seen);
  }
  throw new Error("the pages do not end");
}

function byId([a]: readonly [string, Tier], [b]: readonly [string, Tier]): number {
  return a < b ? -1 : 1;
}
