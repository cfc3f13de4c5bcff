import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { TaskRunnerError } from "../../src/core/errors.ts";
import type { EnqueueAnswer, ProducerStore } from "../../src/core/store.ts";
import type { NewTask } from "../../src/core/task.ts";
import { EnqueueGroup, GROUP_LIMITS } from "../../src/service/enqueue-group.ts";
import { openTestStore, type TestStore } from "../api/support.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { newTarget, newTask, newTasks } from "../support/tasks.ts";

let opened: TestStore;
beforeEach(async () => {
  opened = await openTestStore();
});
afterEach(() => opened.close());

/** The real store, with a record of the calls it got and a gate that a test may hold shut. */
function watched() {
  const calls: number[] = [];
  const gate: { held: Promise<void> | null } = { held: null };
  const store: Pick<ProducerStore, "enqueue"> = {
    async enqueue(tasks: readonly NewTask[]): Promise<EnqueueAnswer> {
      calls.push(tasks.length);
      if (gate.held !== null) await gate.held;
      return opened.store.enqueue(tasks);
    },
  };
  return { calls, gate, store };
}

describe("EnqueueGroup", () => {
  test("makes one call of what arrives within one turn, and answers each caller with its own", async () => {
    const { calls, store } = watched();
    const group = new EnqueueGroup(store);
    const tasks = newTasks(100);
    const answers = await Promise.all(tasks.map((task) => group.add([task])));
    expect(calls).toEqual([100]);
    expect(answers.map(({ results }) => results)).toMatchObject(
      tasks.map(({ id }) => [{ kind: "created", id }]),
    );
    expect(answers[0]?.durability).toBe("disk");
  });

  test("collects while a call is under way, and never has two", async () => {
    const { calls, gate, store } = watched();
    const group = new EnqueueGroup(store);
    const { promise, resolve } = Promise.withResolvers<void>();
    gate.held = promise;
    const first = group.add(newTasks(1));
    await new Promise(setImmediate);
    await new Promise(setImmediate);
    const later = [group.add(newTasks(2)), group.add(newTasks(3))];
    await new Promise(setImmediate);
    await new Promise(setImmediate);
    expect(calls).toEqual([1]);
    resolve();
    await Promise.all([first, ...later]);
    expect(calls).toEqual([1, 5]);
  });

  test("keeps a call within its bounds of tasks and bytes, and the tasks of one caller together", async () => {
    const { calls, store } = watched();
    const limits = { ...GROUP_LIMITS, maxTasksPerCall: 10, maxBytesPerCall: 100 };
    const group = new EnqueueGroup(store, limits);
    const big = () => newTask({ target: newTarget({ body: "x".repeat(60) }) });
    const bare = (count: number) => newTasks(count, { target: newTarget({ body: null }) });
    const kept = await Promise.all([
      group.add(bare(6)),
      group.add(bare(4)),
      group.add(bare(7)),
      group.add(bare(4)),
      group.add([big()]),
      group.add([big()]),
    ]);
    expect(calls).toEqual([10, 7, 5, 1]);
    expect(kept.map(({ results }) => results.length)).toEqual([6, 4, 7, 4, 1, 1]);
  });

  test("cuts many tasks into parts that each fit a call", () => {
    const group = new EnqueueGroup(watched().store, {
      ...GROUP_LIMITS,
      maxTasksPerCall: 2,
      maxBytesPerCall: 10,
    });
    const sized = [3, 3, 3, 8, 8, 20, 1].map((length) =>
      newTask({ target: newTarget({ body: "x".repeat(length) }) }),
    );
    expect(group.chunked(sized).map((chunk) => chunk.map(({ target }) => target.body?.length))).toEqual([
      [3, 3],
      [3],
      [8],
      [8],
      [20],
      [1],
    ]);
  });

  test("refuses what is too much to wait, and takes more once that has gone", async () => {
    const { store } = watched();
    const group = new EnqueueGroup(store, { ...GROUP_LIMITS, maxTasksWaiting: 2 });
    const taken = [group.add(newTasks(1)), group.add(newTasks(1))];
    await expect(group.add(newTasks(1))).rejects.toMatchObject({ code: "overloaded", retryAfterSec: 1 });
    await Promise.all(taken);
    await expect(group.add(newTasks(1))).resolves.toBeDefined();
  });

  test("refuses bodies that are too many bytes to wait", async () => {
    const group = new EnqueueGroup(watched().store, { ...GROUP_LIMITS, maxBytesWaiting: 5 });
    const taken = group.add([newTask({ target: newTarget({ body: "12345" }) })]);
    const refused = group.add([newTask({ target: newTarget({ body: "6" }) })]);
    await expect(refused).rejects.toMatchObject({ code: "overloaded" });
    await taken;
  });

  /** A store whose every call ends when told to, on a clock that moves when told to. */
  function stepped() {
    const clock = new ManualClock();
    const ends: (() => void)[] = [];
    const store: Pick<ProducerStore, "enqueue"> = {
      async enqueue(tasks) {
        await new Promise<void>((resolve) => ends.push(resolve));
        return { results: tasks.map(() => created), durability: "memory", rates: new Map() };
      },
    };
    const turn = () => new Promise(setImmediate);
    const pass = async (ms: number) => {
      await turn();
      await turn();
      await clock.advance(ms);
    };
    /** Lets the call under way go on for so long and then end. */
    const end = async (ms: number) => {
      await pass(ms);
      ends.shift()?.();
      await turn();
      await turn();
    };
    const group = new EnqueueGroup(store, { ...GROUP_LIMITS, maxTasksPerCall: 10, maxWaitMs: 1_000 }, clock);
    return { group, pass, end };
  }
  const created = { kind: "created", id: "any", state: "ready", scheduledAtMs: 0 } as const;

  test("refuses whoever would wait too long by what the latest calls took, and says when to come back", async () => {
    const { group, pass, end } = stepped();
    const first = group.add(newTasks(10));
    await end(300);
    await first;
    const taken = [group.add(newTasks(10))];
    await pass(0);
    // The one under way, one that waits and itself: 900 ms. With another before it that would be 1,200 ms.
    taken.push(group.add(newTasks(10)), group.add(newTasks(9)));
    await expect(group.add(newTasks(2))).rejects.toMatchObject({ code: "overloaded", retryAfterSec: 1 });
    // What fills up a call that waits anyway keeps nobody waiting.
    taken.push(group.add(newTasks(1)));
    expect(group.overload(1, 0)).toMatchObject({ code: "overloaded" });
    for (const _ of taken) await end(0);
    await Promise.all(taken);
    expect(group.overload(1, 0)).toBeNull();
  });

  test("a store that stands still is noticed while its call is under way", async () => {
    const { group, pass, end } = stepped();
    const quick = group.add(newTasks(1));
    await end(1);
    await quick;
    const taken = [group.add(newTasks(1))];
    await pass(400);
    taken.push(group.add(newTasks(10)), group.add(newTasks(10)));
    await expect(group.add(newTasks(10))).rejects.toMatchObject({ code: "overloaded" });
    for (const _ of taken) await end(0);
    await Promise.all(taken);
  });

  test("lets one call wait for the slowest store, and fills it", async () => {
    const { group, pass, end } = stepped();
    const first = group.add(newTasks(1));
    await end(60_000);
    await first;
    const taken = [group.add(newTasks(1))];
    await pass(0);
    taken.push(group.add(newTasks(4)), group.add(newTasks(6)));
    await expect(group.add(newTasks(1))).rejects.toMatchObject({ code: "overloaded", retryAfterSec: 120 });
    for (const _ of taken) await end(0);
    await Promise.all(taken);
  });

  test("a failing call rejects its own callers and no others", async () => {
    const failures: unknown[] = [new TaskRunnerError("store_unavailable", "gone")];
    const group = new EnqueueGroup(
      {
        enqueue: async (tasks) => {
          const failure = failures.shift();
          if (failure !== undefined) throw failure;
          return opened.store.enqueue(tasks);
        },
      },
      { ...GROUP_LIMITS, maxTasksPerCall: 2 },
    );
    const settled = await Promise.allSettled(newTasks(3).map((task) => group.add([task])));
    expect(settled.map(({ status }) => status)).toEqual(["rejected", "rejected", "fulfilled"]);
  });

  test("a store that throws in place of rejecting does not stop the next call", async () => {
    let thrown = false;
    const group = new EnqueueGroup({
      enqueue: (tasks) => {
        if (thrown) return opened.store.enqueue(tasks);
        thrown = true;
        throw new Error("a bug");
      },
    });
    await expect(group.add(newTasks(1))).rejects.toThrow("a bug");
    await expect(group.add(newTasks(1))).resolves.toMatchObject({ durability: "disk" });
  });
});
