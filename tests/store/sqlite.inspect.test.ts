/** The inspection of the embedded store: all that can break is broken by hand, found, and mended where that is safe. */

import { describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync, type SQLInputValue } from "node:sqlite";
import { inspectAll, SOON_COUNTED } from "../../src/core/inspection.ts";
import type { TaskStore } from "../../src/core/store.ts";
import { openSqliteStore } from "../../src/store/sqlite/store.ts";
import {
  DAY_MS,
  DEFAULT_SETTINGS,
  drain,
  idsOf,
  liftLimits,
  put,
  read,
} from "../conformance/store/harness.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { newTask, newTasks } from "../support/tasks.ts";
import { expectFound, type Filled, fill, saidOf } from "./inspect-support.ts";

interface Opened {
  readonly store: TaskStore;
  readonly clock: ManualClock;
  /** Changes the file behind the store's back. */
  run(sql: string, ...params: readonly SQLInputValue[]): void;
}

async function withFilled(body: (opened: Opened, filled: Filled) => Promise<void>): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), "task-runner-inspect-"));
  const path = join(dir, "task-runner.db");
  const clock = new ManualClock();
  const store = await openSqliteStore({ path, settings: DEFAULT_SETTINGS, clock });
  const db = new DatabaseSync(path);
  try {
    await liftLimits(store);
    const filled = await fill(store, clock.now());
    expect(await saidOf(store)).toEqual([]);
    const run = (sql: string, ...params: readonly SQLInputValue[]) => {
      expect(Number(db.prepare(sql).run(...params).changes)).toBeGreaterThan(0);
    };
    await body({ store, clock, run }, filled);
  } finally {
    db.close();
    await store.close();
    await rm(dir, { recursive: true, force: true });
  }
}

const LANE = "2/default/client-a";
const OF_LANE = "WHERE queue = 'default' AND rank = 2 AND client = 'client-a'";

describe("what is found, and mended where that is safe:", () => {
  test("a running task without a lease is taken back", () =>
    withFilled(async ({ store, run }, { running }) => {
      run("UPDATE tasks SET lease_ms = NULL WHERE id = ?", running.id);
      const said = await saidOf(store);
      expect(said.map(({ kind }) => kind)).toEqual(["running_without_lease", "wrong_slots", "wrong_slots"]);
      expect((await saidOf(store, true)).length).toBe(1);
      expect(await saidOf(store)).toEqual([]);
      expect(idsOf(await store.rescue(10))).toEqual([running.id]);
      expect(await saidOf(store)).toEqual([]);
    }));

  test("a lease of a task that does not run", () =>
    withFilled(async ({ store, run }, { ready }) => {
      run("UPDATE tasks SET lease_ms = 1, worker = 'w' WHERE id = ?", ready[0]?.id ?? "");
      expect((await saidOf(store, true)).map(({ kind }) => kind)).toEqual(["orphan_lease"]);
      expect(await saidOf(store)).toEqual([]);
      expect(await store.rescue(10)).toEqual([]);
      expect(idsOf(await drain(store))).toContain(ready[0]?.id ?? "");
    }));

  test("a lane that left its ring", () =>
    withFilled(async ({ store, run }, { ready }) => {
      run(`UPDATE lanes SET turn = NULL ${OF_LANE}`);
      await expectFound(store, { kind: "lost_lane", subject: LANE }, { mends: true });
      expect(idsOf(await drain(store))).toEqual(expect.arrayContaining(idsOf(ready)));
    }));

  test("a lane that stands where it has nothing to do", () =>
    withFilled(async ({ store, run }) => {
      run("UPDATE lanes SET turn = 99 WHERE queue = 'first'");
      await expectFound(store, { kind: "stray_lane", subject: "2/first/client-a" }, { mends: true });
      run("UPDATE lanes SET turn = 99 WHERE client = 'limited'");
      await expectFound(store, { kind: "stray_lane", subject: "2/default/limited" }, { mends: true });
    }));

  test("lanes that wait although there is room", () =>
    withFilled(async ({ store, run }) => {
      run(`UPDATE settings SET value = json_set(value, '$.overrides.maxConcurrent', 5), revision = revision + 100
           WHERE kind = 'client' AND id = 'limited'`);
      run("UPDATE meta SET value = value + 100 WHERE key = 'revision'");
      await expectFound(store, { kind: "stuck_lane", subject: "client limited" }, { mends: true });
      expect((await drain(store)).some(({ clientId }) => clientId === "limited")).toBe(true);
    }));

  test("a task set aside for a host that is not known", () =>
    withFilled(async ({ store, run }, { ready }) => {
      run("UPDATE tasks SET state = 8, hold = 77 WHERE id = ?", ready[0]?.id ?? "");
      run(`UPDATE lanes SET ready = ready - 1, barred = barred + 1 ${OF_LANE}`);
      await expectFound(store, { kind: "lost_place" }, { mends: true });
      expect(idsOf(await drain(store))).toContain(ready[0]?.id ?? "");
    }));

  test("a finished task that nobody will remove, and one that is not finished and would be", () =>
    withFilled(async ({ store, clock, run }, { done, ready }) => {
      run("UPDATE tasks SET expires_ms = NULL WHERE id = ?", done.id);
      await expectFound(store, { kind: "wrong_retention", subject: done.id }, { mends: true });
      run("UPDATE tasks SET expires_ms = 1 WHERE id = ?", ready[0]?.id ?? "");
      await expectFound(store, { kind: "wrong_retention", subject: ready[0]?.id as string }, { mends: true });
      await clock.advance(2 * DAY_MS);
      await store.sweep(100);
      expect(await store.get(done.id)).toBeNull();
      expect(await store.get(ready[0]?.id ?? "")).not.toBeNull();
    }));

  test("counts that are not what is there", () =>
    withFilled(async ({ store, run }) => {
      const before = await store.counts();
      run(`UPDATE lanes SET ready = ready + 5, dead = 2 ${OF_LANE}`);
      const detail = "it counts ready 8 for 3, dead 2 for 0";
      await expectFound(store, { kind: "wrong_count", subject: LANE, detail }, { mends: true });
      expect(await store.counts()).toEqual(before);
      run("UPDATE orderings SET live = 9");
      await expectFound(store, { kind: "wrong_count", subject: "key ordered/key" }, { mends: true });
    }));

  test("slots that nobody uses, and leases without slots", () =>
    withFilled(async ({ store, run }) => {
      run("UPDATE flows SET running = 7 WHERE kind = 'queue' AND id = 'first'");
      await expectFound(store, { kind: "wrong_slots", subject: "queue first" }, { mends: true });
      run("DELETE FROM flows WHERE kind = 'queue' AND id = 'first'");
      await expectFound(store, { kind: "wrong_slots", subject: "queue first" }, { mends: true });
      expect((await store.queueUse(["first"]))[0]?.running).toBe(1);
      run("INSERT INTO flows (kind, id, running, parked) VALUES ('client', 'nobody', 3, 0)");
      await expectFound(store, { kind: "wrong_slots", subject: "client nobody" }, { mends: true });
    }));

  test("a count of waiting lanes", () =>
    withFilled(async ({ store, run }) => {
      run("UPDATE flows SET parked = 4 WHERE kind = 'client' AND id = 'limited'");
      await expectFound(store, { kind: "wrong_parked", subject: "client limited" }, { mends: true });
    }));

  test("names of tasks that are not there, or over", () =>
    withFilled(async ({ store, clock, run }, { done }) => {
      run("INSERT INTO names (scope, id) VALUES ('n/default/ghost', ?)", newTask().id);
      await expectFound(store, { kind: "dangling_name", subject: "n/default/ghost" }, { mends: true });
      run("INSERT INTO names (scope, id) VALUES ('n/default/over', ?)", done.id);
      await expectFound(store, { kind: "dangling_name", subject: "n/default/over" }, { mends: true });
      await put(store, newTask({ name: "ghost" }));
      await clock.advance(DAY_MS);
      await put(store, newTask({ name: "over" }));
    }));

  test("an ordering key held by a task that is not there", () =>
    withFilled(async ({ store, run }, { ordered }) => {
      run("UPDATE orderings SET holder = 999999");
      const said = await saidOf(store);
      expect(said.map(({ kind }) => kind)).toEqual(["lost_order", "stale_holder"]);
      await saidOf(store, true);
      expect(idsOf(await drain(store))).toContain(ordered[1].id);
    }));

  test("an ordering key that nobody has goes to the task that has its turn", () =>
    withFilled(async ({ store, run }, { ordered }) => {
      run("UPDATE orderings SET holder = NULL");
      expect((await saidOf(store)).map(({ kind }) => kind)).toEqual(["lost_order", "lost_order"]);
      expect(await saidOf(store, true)).toEqual([
        expect.objectContaining({ kind: "lost_order", subject: ordered[0].id, mended: true }),
      ]);
      expect(await saidOf(store)).toEqual([]);
      const handedOut = idsOf(await drain(store));
      expect(handedOut).toContain(ordered[0].id);
      expect(handedOut).not.toContain(ordered[1].id);
    }));

  test("records that cannot be read, which are left to people", () =>
    withFilled(async ({ store, run }, { ready, done }) => {
      run("UPDATE specs SET spec = '{' WHERE seq = (SELECT seq FROM tasks WHERE id = ?)", ready[0]?.id ?? "");
      await expectFound(
        store,
        { kind: "unreadable_record", subject: ready[0]?.id as string },
        { mends: false },
      );
      run("UPDATE settings SET value = 'x' WHERE kind = 'tier' AND id = 'basic'");
      expect((await saidOf(store)).map(({ subject }) => subject)).toContain("tier basic");
      expect((await read(store, done.id)).state).toBe("succeeded");
    }));

  test("what a task is, without the task", () =>
    withFilled(async ({ store, run }) => {
      run("INSERT INTO specs (seq, spec) VALUES (5000, '{}')");
      await expectFound(store, { kind: "orphan_record", subject: "spec 5000" }, { mends: true });
    }));

  test("a count of tasks set aside", () =>
    withFilled(async ({ store, run }) => {
      await store.holdHost("http://held.test", 60_000);
      run("UPDATE holds SET barred = 3");
      await expectFound(store, { kind: "wrong_count", subject: "host http://held.test" }, { mends: true });
    }));
});

test("the tasks of a large store are counted only where that was asked for", () =>
  withFilled(async ({ store, run }) => {
    await put(store, ...newTasks(1));
    run("UPDATE tasks SET seq = seq + ? WHERE seq = (SELECT max(seq) FROM tasks)", SOON_COUNTED);
    run("UPDATE specs SET seq = seq + ? WHERE seq = (SELECT max(seq) FROM specs)", SOON_COUNTED);
    run(`UPDATE lanes SET succeeded = succeeded + 1 ${OF_LANE}`);
    const light = await inspectAll(store, { thorough: false });
    expect(light.violations).toEqual([]);
    expect(light.skipped).toBe(1);
    expect((await inspectAll(store, { thorough: true })).totals).toEqual({
      wrong_count: { found: 1, mended: 0 },
    });
  }));
