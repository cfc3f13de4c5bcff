/** The receiver kit has a task's work done once, whichever of its deliveries come, and in whatever order. */

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { type Mark, type MarkStore, MemoryMarks, onceOnly } from "task-runner/receiver";

const delivery = (fence: number, taskId = "task") => ({ taskId, fence });

/** What is to go through to be counted, and a way to hold it up. */
function work() {
  const held = Promise.withResolvers<void>();
  const begun = Promise.withResolvers<void>();
  let done = 0;
  return {
    done: () => done,
    now: () => {
      done++;
    },
    held: async () => {
      begun.resolve();
      await held.promise;
      done++;
    },
    begun: begun.promise,
    letGo: () => held.resolve(),
  };
}

describe("onceOnly", () => {
  test("does the work of the first delivery, and of no later one", async () => {
    const once = onceOnly(new MemoryMarks());
    const { now, done } = work();
    expect(await once(delivery(1), now)).toBe("first");
    expect(await once(delivery(2), now)).toBe("repeat");
    expect(await once(delivery(2), now)).toBe("repeat");
    expect(await once(delivery(1, "another"), now)).toBe("first");
    expect(done()).toBe(2);
  });

  test("does it again after it failed, with the failure told to who called", async () => {
    const once = onceOnly(new MemoryMarks());
    const { now, done } = work();
    const failing = () => Promise.reject(new Error("the database is down"));
    await expect(once(delivery(1), failing)).rejects.toThrow("the database is down");
    const throwing = () => {
      throw new Error("at once");
    };
    await expect(once(delivery(2), throwing)).rejects.toThrow("at once");
    expect(await once(delivery(3), now)).toBe("first");
    expect(await once(delivery(4), now)).toBe("repeat");
    expect(done()).toBe(1);
  });

  test("refuses a delivery that is older than one that has begun", async () => {
    const once = onceOnly(new MemoryMarks());
    const { now, done } = work();
    await once(delivery(5), () => Promise.reject(new Error("later"))).catch(() => {});
    expect(await once(delivery(4), now)).toBe("stale");
    expect(await once(delivery(6), now)).toBe("first");
    expect(await once(delivery(4), now)).toBe("stale");
    expect(done()).toBe(1);
  });

  test("does not answer for a delivery that comes twice while its work is under way", async () => {
    const once = onceOnly(new MemoryMarks());
    const { held, begun, letGo, done, now } = work();
    const first = once(delivery(1), held);
    await begun;
    expect(await once(delivery(1), now)).toBe("stale");
    letGo();
    expect(await first).toBe("first");
    expect(await once(delivery(1), now)).toBe("repeat");
    expect(done()).toBe(1);
  });

  test("lets a later delivery take over, after which the one before no longer counts", async () => {
    const once = onceOnly(new MemoryMarks());
    const slow = work();
    const first = once(delivery(1), slow.held);
    await slow.begun;
    const { now, done } = work();
    expect(await once(delivery(2), now)).toBe("first");
    slow.letGo();
    expect(await first).toBe("stale");
    expect(await once(delivery(3), now)).toBe("repeat");
    expect(done()).toBe(1);
  });

  test("of any deliveries of a task, each done by itself, does the work of the first that does not fail", async () => {
    const runs = fc.array(fc.record({ fence: fc.integer({ min: 1, max: 6 }), fails: fc.boolean() }), {
      maxLength: 20,
    });
    await fc.assert(
      fc.asyncProperty(runs, async (deliveries) => {
        const once = onceOnly(new MemoryMarks());
        let latest = 0;
        let doneBy: number | null = null;
        for (const { fence, fails } of deliveries) {
          const verdict = await once(delivery(fence), () => {
            if (fails) throw new Error("failed");
          }).catch(() => "failed");
          if (fence < latest) expect(verdict).toBe("stale");
          else if (doneBy !== null) expect(verdict).toBe("repeat");
          else if (fence === latest) expect(verdict).toBe("stale");
          else {
            expect(verdict).toBe(fails ? "failed" : "first");
            if (!fails) doneBy = fence;
            latest = fence;
          }
        }
      }),
    );
  });

  test("rejects as its store does, and then the work was not begun", async () => {
    const down: MarkStore = { compareAndSet: () => Promise.reject(new Error("no store")) };
    const { now, done } = work();
    await expect(onceOnly(down)(delivery(1), now)).rejects.toThrow("no store");
    expect(done()).toBe(0);
  });

  test("gives up on a store in which others are always faster", async () => {
    let fence = 0;
    const restless: MarkStore = { compareAndSet: async () => ({ fence: ++fence, done: false }) };
    const { now, done } = work();
    expect(await onceOnly(restless)(delivery(1_000), now)).toBe("stale");
    expect(done()).toBe(0);
    expect(fence).toBe(10);
  });
});

describe("marks in memory", () => {
  test("are replaced where they are as expected, and left alone otherwise", async () => {
    const marks = new MemoryMarks();
    const one: Mark = { fence: 1, done: false };
    expect(await marks.compareAndSet("a", null, one)).toBeNull();
    expect(await marks.compareAndSet("a", null, { fence: 2, done: false })).toEqual(one);
    expect(await marks.compareAndSet("a", { fence: 1, done: true }, { fence: 2, done: false })).toEqual(one);
    expect(await marks.compareAndSet("a", { ...one }, { fence: 1, done: true })).toEqual(one);
    expect(await marks.compareAndSet("a", null, one)).toEqual({ fence: 1, done: true });
  });

  test("are as many as they may be: the one that was changed longest ago goes", async () => {
    const once = onceOnly(new MemoryMarks(2));
    const nothing = () => {};
    for (const task of ["a", "b"]) await once(delivery(1, task), nothing);
    expect(await once(delivery(2, "a"), nothing)).toBe("repeat");
    await once(delivery(1, "c"), nothing);
    expect(await once(delivery(2, "b"), nothing)).toBe("repeat");
    expect(await once(delivery(2, "a"), nothing)).toBe("first");
  });
});
