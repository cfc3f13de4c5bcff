/** A random walk on the store and on the model of its queues, which must agree on every order and every state. */

import { expect } from "bun:test";
import { PRIORITIES, priorityOf, rankOf } from "../../src/core/priority.ts";
import type { ClaimedTask } from "../../src/core/store.ts";
import { keysUnder } from "../../src/store/redis/keys.ts";
import { listAll, put, read, SECOND_MS, settle } from "../conformance/store/harness.ts";
import { seeded } from "../soak/kill-round.ts";
import { death, newTask, release, retry, success } from "../support/tasks.ts";
import { QueueModel } from "./redis.model.ts";
import { dump, type Opened } from "./redis.still.ts";

/** Time stands still at multiples of this, and all that falls due does so halfway between two. */
const STEP_MS = 2_000;
/** So that leases, too, run out halfway between two instants. */
const HELD_MS = 61_000;
/** An enqueue moves no more due tasks than this; the rest is left to the next one, in an order of its own. */
const MAX_PROMOTED = 100;
const MAX_LIVE = 300;

/** Random operations on the store and on the model, which must agree on every order and every state. */
export async function wander(one: Opened, seed: number, steps: number): Promise<void> {
  const random = seeded(seed);
  const below = (bound: number) => Math.floor(random() * bound);
  const { store, now } = one;
  const model = new QueueModel();
  const held = new Map<string, ClaimedTask>();
  const pick = <T>(items: readonly T[]): T | undefined => items[below(items.length)];
  const idle = () => pick([...model.tasks.values()].filter(({ state }) => state !== "running"));

  /** Between two of the instants at which time stands, so that it does not matter how long a command is under way. */
  const afterMs = () => STEP_MS / 2 + below(15) * STEP_MS;
  const soonMs = () => now() + afterMs();

  const enqueue = async (count: number) => {
    const tasks = Array.from({ length: count }, () =>
      newTask({
        clientId: `c${below(3)}`,
        priority: pick(PRIORITIES.slice(0, 2)) ?? "normal",
        orderingKey: below(6) === 0 ? `k${below(4)}` : null,
        retentionMs: below(2) === 0 ? 0 : null,
        scheduledAtMs: below(3) === 0 ? soonMs() : null,
      }),
    );
    expect(model.promote(now())).toBeLessThan(MAX_PROMOTED);
    await put(store, ...tasks);
    for (const task of tasks) {
      const lane = `${rankOf(task.priority)}/${task.queue}/${task.clientId}`;
      model.enqueue({ id: task.id, lane, key: task.orderingKey, dueMs: task.scheduledAtMs ?? now() }, now());
    }
  };

  const claim = async (limit: number) => {
    model.promote(now());
    const ready = model.ready;
    const { tasks } = await store.claim({ worker: "w", limit, leaseMs: HELD_MS });
    expect(tasks.length).toBe(Math.min(limit, ready));
    for (const task of tasks) {
      expect(model.before(task.id)).toEqual([]);
      model.claim(task.id, task.leaseUntilMs);
      held.set(task.id, task);
    }
  };

  const settleSome = async (count: number) => {
    const chosen = [...held.values()].sort(() => random() - 0.5).slice(0, count);
    if (chosen.length === 0) return;
    const verdicts = chosen.map((task) => {
      held.delete(task.id);
      const kind = below(6);
      if (kind < 2) return { settlement: success(task), apply: async () => model.end(task.id) };
      if (kind === 2) return { settlement: release(task, 0), apply: async () => model.release(task.id) };
      if (kind === 3)
        return { settlement: release(task, afterMs()), apply: () => waits(task.id, "scheduled") };
      if (kind === 4) return { settlement: retry(task, afterMs()), apply: () => waits(task.id, "retrying") };
      return { settlement: death(task), apply: async () => model.end(task.id) };
    });
    await settle(store, ...verdicts.map(({ settlement }) => settlement));
    for (const { apply } of verdicts) await apply();
  };
  const waits = async (id: string, state: "scheduled" | "retrying") => {
    // To the millisecond, which no test can know beforehand.
    model.wait(id, state, (await read(store, id)).dueMs);
  };

  /** Lets what is held run out, while time goes on in steps that leave no more due at once than is moved at once. */
  const rescue = async () => {
    for (let passed = 0; passed <= HELD_MS; passed += STEP_MS) {
      one.advance(STEP_MS);
      await claim(1);
    }
    const expected = [...held.values()]
      .filter(({ leaseUntilMs }) => leaseUntilMs < now())
      .map(({ id }) => id);
    const rescued: string[] = [];
    for (let rounds = 0; rounds < 50 && rescued.length < expected.length; rounds++) {
      for (const { id, state } of await store.rescue(50)) {
        rescued.push(id);
        held.delete(id);
        if (state === "cancelled") model.end(id);
        else model.release(id);
      }
    }
    expect(rescued.sort()).toEqual(expected.sort());
  };

  const change = async () => {
    const task = idle();
    if (task === undefined) return;
    const what = below(4);
    if (what === 0) {
      expect((await store.cancel(task.id)).kind).toBe("changed");
      model.end(task.id);
    } else if (what === 1) {
      expect((await store.runNow(task.id)).kind).toBe("changed");
      if (task.state === "scheduled" || task.state === "retrying") {
        model.move(task.id, now(), now());
        task.dueMs = (await read(store, task.id)).dueMs;
      }
    } else if (what === 2) {
      const dueMs = soonMs();
      expect((await store.reschedule(task.id, { scheduledAtMs: dueMs })).kind).toBe("changed");
      model.move(task.id, dueMs, now());
    } else {
      const rank = below(2);
      expect((await store.reschedule(task.id, { priority: priorityOf(rank) })).kind).toBe("changed");
      model.prioritize(task.id, rank + task.lane.slice(1));
    }
  };

  const compare = async () => {
    const listed = new Map((await listAll(store)).map((task) => [task.id, task.state]));
    for (const { id, state } of model.tasks.values()) {
      expect(`${id} ${listed.get(id)}`).toBe(`${id} ${state === "held" ? "ready" : state}`);
      listed.delete(id);
    }
    for (const state of listed.values()) expect(["succeeded", "dead", "cancelled"]).toContain(state);
  };

  for (let step = 0; step < steps; step++) {
    const turn = below(100);
    const live = held.size + model.ready + model.waiting;
    if (turn < 22 && live < MAX_LIVE) await enqueue(1 + below(below(10) === 0 ? 130 : 6));
    else if (turn < 45) await claim(1 + below(below(8) === 0 ? 100 : 6));
    else if (turn < 68) await settleSome(1 + below(below(8) === 0 ? 60 : 5));
    else if (turn < 88) await change();
    else if (turn < 97) one.advance(STEP_MS);
    else if (turn < 98) await store.sweep(1 + below(50));
    else if (turn < 99) await rescue();
    else await compare();
    // Leases of those held for long are not to run out unnoticed.
    if (held.size > 0 && step % 5 === 0) {
      const leases = [...held.values()].map(({ id, fence }) => ({ taskId: id, fence }));
      expect(await store.extend(leases, HELD_MS)).toEqual([]);
      for (const [id, task] of held) held.set(id, { ...task, leaseUntilMs: now() + HELD_MS });
    }
  }

  await compare();
  // Worked off to the end, nothing is left behind.
  for (let rounds = 0; rounds < 500 && model.ready + model.waiting + held.size > 0; rounds++) {
    await claim(100);
    const claimed = [...held.values()];
    held.clear();
    if (claimed.length > 0) await settle(store, ...claimed.map((task) => success(task)));
    for (const { id } of claimed) model.end(id);
    if (claimed.length === 0) one.advance(10 * SECOND_MS);
  }
  expect([...model.tasks.keys()]).toEqual([]);
  await compare();
  const left = await dump(one);
  const names = Object.keys(left).map((key) => key.slice(key.indexOf(":") + 1));
  for (const name of ["due", "later", "leases", "orderings", "ring:0", "ring:1", "ring:2", "ring:3"])
    expect(names).not.toContain(name);
  const queues = left[keysUnder(one.prefix).of("queues")] as Record<string, string> | undefined;
  expect(Object.keys(queues ?? {}).filter((field) => !/^m?e/.test(field))).toEqual([]);
  await one.close();
}
