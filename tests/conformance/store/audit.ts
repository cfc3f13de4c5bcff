/** Conformance: every change by a person is on record, with it or not at all, and the record does not grow without end. */

import { describe, expect, test } from "bun:test";
import { newClient } from "../../../src/core/client.ts";
import { type AuditEntry, MAX_AUDIT_ENTRIES, type TaskStore } from "../../../src/core/store.ts";
import { newTask } from "../../support/tasks.ts";
import { auditEntry, keptOf, NO_LIMITS } from "./admin.ts";
import { type OpenStore, put, reopened, secondOf, withStore } from "./harness.ts";

const BUILT_IN = { limits: "built-in" } as const;

export function auditTests(open: OpenStore, offers: { reopen: boolean; second: boolean }): void {
  describe("the audit", () => {
    test(
      "is empty at first, and using the store leaves nothing in it",
      withStore(
        open,
        async ({ store }) => {
          expect(await store.audit({ limit: 10 })).toEqual({ entries: [], nextCursor: null });
          await put(store, newTask({ queue: "new", clientId: "new" }));
          expect(await store.audit({ limit: 10 })).toEqual({ entries: [], nextCursor: null });
        },
        BUILT_IN,
      ),
    );

    test(
      "keeps entries whole, newest first",
      withStore(
        open,
        async ({ store }) => {
          const entries = [
            auditEntry({ before: null, after: { tier: "grüße", limits: { a: null, b: [1, "2", {}] } } }),
            auditEntry({ actor: "key:0a1b2c3d", before: { deep: [[[]]] }, after: null, atMs: 5 }),
            auditEntry({ action: "dead.replay", subject: 'q "u"\n\u0000 🚀', before: 0, after: "" }),
            auditEntry({ before: false, after: [1.5, -1, 1e21] }),
          ];
          for (const entry of entries) await store.record(entry);
          expect((await store.audit({ limit: 10 })).entries).toEqual(entries.toReversed());
        },
        BUILT_IN,
      ),
    );

    test(
      "gets an entry with a change, a removal and a purge, and none with a change that was not made",
      withStore(
        open,
        async ({ store }) => {
          const change = (from: number | null, subject: string, remove = false) =>
            store.change(
              { kind: "client", id: "c", from, value: remove ? null : newClient("free", 1) },
              auditEntry({ subject }),
            );
          expect(await change(null, "made")).toBe(true);
          expect(await change(null, "lost")).toBe(false);
          const { revision } = await keptOf(store, "client", "c");
          expect(await change(revision + 1, "lost")).toBe(false);
          expect(await change(revision, "removed", true)).toBe(true);
          expect(await change(revision, "lost", true)).toBe(false);
          await store.purge("default", auditEntry({ subject: "purged" }));
          const { entries } = await store.audit({ limit: 10 });
          expect(entries.map(({ subject }) => subject)).toEqual(["purged", "removed", "made"]);
        },
        BUILT_IN,
      ),
    );

    for (const limit of [1, 7, 30, 1_000]) {
      test(
        `page by page of ${limit} shows each entry once, though new ones come meanwhile`,
        withStore(
          open,
          async ({ store }) => {
            for (let i = 0; i < 30; i++) await store.record(auditEntry({ after: i }));
            const seen = await everyEntry(store, limit, () => store.record(auditEntry({ after: -1 })));
            expect(seen.map(({ after }) => after)).toEqual(Array.from({ length: 30 }, (_, i) => 29 - i));
          },
          BUILT_IN,
        ),
      );
    }

    test(
      `keeps the latest ${MAX_AUDIT_ENTRIES} entries`,
      withStore(
        open,
        async ({ store }) => {
          const total = MAX_AUDIT_ENTRIES + 50;
          for (let from = 0; from < total; from += 250) {
            const numbers = Array.from({ length: Math.min(250, total - from) }, (_, i) => from + i);
            await Promise.all(numbers.map((after) => store.record(auditEntry({ after }))));
          }
          const tier = { kind: "tier", id: "last", from: null, value: NO_LIMITS } as const;
          expect(await store.change(tier, auditEntry({ after: total }))).toBe(true);
          const seen = await everyEntry(store, 1_000);
          expect(seen.length).toBe(MAX_AUDIT_ENTRIES);
          expect(seen[0]?.after).toBe(total);
          // Those sent together may have come in any order.
          expect(Math.min(...seen.map(({ after }) => Number(after)))).toBeGreaterThanOrEqual(0);
          expect(new Set(seen.map(({ after }) => after)).size).toBe(MAX_AUDIT_ENTRIES);
          expect(seen.filter(({ after }) => Number(after) >= 250).length).toBeGreaterThanOrEqual(total - 250);
        },
        BUILT_IN,
      ),
      30_000,
    );

    test.skipIf(!offers.second)(
      "is one for all handles",
      withStore(
        open,
        async (opened) => {
          const other = await secondOf(opened);
          for (let i = 0; i < 6; i++) await (i % 2 ? other : opened.store).record(auditEntry({ after: i }));
          const { entries } = await other.audit({ limit: 10 });
          expect(entries.map(({ after }) => after)).toEqual([5, 4, 3, 2, 1, 0]);
          expect((await opened.store.audit({ limit: 10 })).entries).toEqual(entries);
        },
        BUILT_IN,
      ),
    );

    test.skipIf(!offers.reopen)(
      "is there when the store is opened again",
      withStore(
        open,
        async (opened) => {
          const entry = auditEntry({ after: { a: 1 } });
          await opened.store.record(entry);
          const again = await reopened(opened);
          await again.record(auditEntry());
          expect((await again.audit({ limit: 10 })).entries).toEqual([auditEntry(), entry]);
        },
        BUILT_IN,
      ),
    );
  });
}

/** The record page by page, with something done between the pages. */
async function everyEntry(
  store: TaskStore,
  limit: number,
  between: () => Promise<void> = async () => {},
): Promise<AuditEntry[]> {
  const seen: AuditEntry[] = [];
  let cursor: string | null = null;
  for (let calls = 0; calls < 100; calls++) {
    const page: Awaited<ReturnType<TaskStore["audit"]>> = await store.audit({
      limit,
      ...(cursor === null ? {} : { cursor }),
    });
    expect(page.entries.length).toBeLessThanOrEqual(limit);
    seen.push(...page.entries);
    cursor = page.nextCursor;
    if (cursor === null) return seen;
    await between();
  }
  throw new Error("the record does not end");
}
