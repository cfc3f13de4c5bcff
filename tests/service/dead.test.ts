import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { TaskRunnerError } from "../../src/core/errors.ts";
import type { TaskStore } from "../../src/core/store.ts";
import { DeadLetters } from "../../src/service/dead.ts";
import { deadTask } from "../api/admin-support.ts";
import { openTestStore, type TestStore, withMethods } from "../api/support.ts";
import { newTaskId } from "../support/tasks.ts";

let opened: TestStore;
beforeEach(async () => {
  opened = await openTestStore();
});
afterEach(() => opened.close());

const lettersOf = (store: TaskStore) => new DeadLetters({ store, clock: opened.clock });

/** The store, whose every page holds at most so many tasks, whatever it is asked for. */
function shortPages(size: number, store = opened.store) {
  return withMethods(store, {
    list: (filter) => store.list({ ...filter, limit: Math.min(size, filter.limit) }),
  });
}

async function deadTasks(count: number): Promise<string[]> {
  const ids: string[] = [];
  for (let made = 0; made < count; made++) ids.push(await deadTask(opened.store));
  return ids;
}

describe("DeadLetters", () => {
  test("reads page after page, up to the limit", async () => {
    await deadTasks(7);
    const dead = lettersOf(shortPages(2));
    const first = await dead.purge({ limit: 5 }, "me");
    expect(first.removed).toBe(5);
    const { removed, next_cursor: next } = await dead.purge({ cursor: first.next_cursor ?? "" }, "me");
    expect([removed, next]).toEqual([2, null]);
  });

  test("when the store fails on the way, tells and audits what was done, and goes on from there", async () => {
    await deadTasks(5);
    let calls = 0;
    let fails = true;
    const store = withMethods(shortPages(2), {
      replayMany: (tasks) => {
        if (fails && ++calls === 2) throw new TaskRunnerError("store_unavailable", "gone");
        return opened.store.replayMany(tasks);
      },
    });
    const dead = lettersOf(store);
    const first = await dead.replay({}, "me");
    expect(first).toEqual({ replayed: 2, next_cursor: expect.any(String) });
    const { entries } = await opened.store.audit({ limit: 1 });
    expect(entries[0]).toMatchObject({ actor: "me", action: "dead.replay", after: { replayed: 2 } });
    fails = false;
    const rest = await dead.replay({ cursor: first.next_cursor ?? "" }, "me");
    expect(rest).toEqual({ replayed: 3, next_cursor: null });
  });

  test("rejects as the store does when nothing was done, and with what nobody expects", async () => {
    await deadTasks(3);
    const failing = (reason: Error, after: number) => {
      let calls = 0;
      const store = withMethods(shortPages(1), {
        forget: (ids) => {
          if (++calls > after) throw reason;
          return opened.store.forget(ids);
        },
      });
      return lettersOf(store).purge({}, "me");
    };
    await expect(failing(new TaskRunnerError("store_unavailable", "gone"), 0)).rejects.toMatchObject({
      code: "store_unavailable",
    });
    await expect(failing(new TypeError("a bug"), 1)).rejects.toThrow("a bug");
  });

  test("answers before all is looked through where hardly any task fits", async () => {
    let pages = 0;
    const store = withMethods(opened.store, {
      list: async () => ({ tasks: [], nextCursor: `page-${++pages}` }),
    });
    const { removed, next_cursor: next } = await lettersOf(store).purge({}, "me");
    expect([removed, next, pages]).toEqual([0, "~page-100", 100]);
  });

  test("looks up named tasks a few at a time, each once", async () => {
    let underWay = 0;
    let most = 0;
    const asked: string[] = [];
    const store = withMethods(opened.store, {
      get: async (id) => {
        asked.push(id);
        most = Math.max(most, ++underWay);
        const task = await opened.store.get(id);
        underWay--;
        return task;
      },
    });
    const [dead = ""] = await deadTasks(1);
    const ids = [...Array.from({ length: 120 }, () => newTaskId()), dead];
    const done = await lettersOf(store).replay({ filter: { ids: [...ids, ...ids] } }, "me");
    expect(done).toEqual({ replayed: 1, next_cursor: null });
    expect(asked).toEqual(ids);
    expect(most).toBeLessThanOrEqual(50);
  });

  test("one that is started over by somebody else meanwhile is not counted", async () => {
    const [id = ""] = await deadTasks(1);
    const store = withMethods(opened.store, {
      replayMany: async (tasks) => {
        await opened.store.replay(id);
        return opened.store.replayMany(tasks);
      },
    });
    expect(await lettersOf(store).replay({}, "me")).toEqual({ replayed: 0, next_cursor: null });
  });
});
