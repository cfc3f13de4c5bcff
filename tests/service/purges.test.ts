import { describe, expect, test } from "bun:test";
import { TaskRunnerError } from "../../src/core/errors.ts";
import type { PurgeProgress } from "../../src/core/store.ts";
import { PurgeRunner } from "../../src/service/purges.ts";
import { ManualClock } from "../support/manual-clock.ts";

const PROGRESS: PurgeProgress = { queue: "mail", startedAtMs: 0, removed: 0, share: 0.5 };

/** A store whose purge takes so many steps, each of which waits to be let go where a test says so. */
function purging(steps: number) {
  const state = { left: steps, calls: 0, underWay: 0, most: 0, fails: false, gate: Promise.resolve() };
  const purgeStep = async (limit: number) => {
    state.calls++;
    state.most = Math.max(state.most, ++state.underWay);
    expect(limit).toBe(1_000);
    try {
      await state.gate;
      if (state.fails) throw new TaskRunnerError("store_unavailable", "gone");
      return state.left-- > 0 ? PROGRESS : null;
    } finally {
      state.underWay--;
    }
  };
  return { state, store: { purgeStep } };
}

function runnerOver(store: ReturnType<typeof purging>["store"]) {
  const clock = new ManualClock();
  const warned: string[] = [];
  const logger = { warn: (_facts: unknown, message: string) => void warned.push(message) };
  const runner = new PurgeRunner({ store, clock, logger });
  /** Lets the step under way end, and then the time go on. */
  const goOn = async (ms: number) => {
    await clock.advance(0);
    await clock.advance(ms);
  };
  return { clock, warned, runner, goOn };
}

describe("PurgeRunner", () => {
  test("takes step after step, with a pause between, until nothing is left", async () => {
    const { state, store } = purging(3);
    const { clock, runner } = runnerOver(store);
    runner.start();
    await clock.advance(0);
    expect(state.calls).toBe(1);
    await clock.advance(4);
    expect(state.calls).toBe(1);
    await clock.advance(1);
    expect(state.calls).toBe(2);
    await clock.advance(1_000);
    expect([state.calls, clock.pending]).toEqual([4, 0]);
    await runner.close();
  });

  test("works on one at a time, however often it is asked", async () => {
    const { state, store } = purging(5);
    const { goOn, runner } = runnerOver(store);
    for (let asked = 0; asked < 10; asked++) runner.start();
    await goOn(1_000);
    expect([state.most, state.left]).toEqual([1, -2]);
    await runner.close();
  });

  test("looks again when it is asked while it finds nothing more to do", async () => {
    const { state, store } = purging(0);
    const { clock, runner } = runnerOver(store);
    const gate = Promise.withResolvers<void>();
    state.gate = gate.promise;
    runner.start();
    await clock.advance(0);
    runner.start();
    gate.resolve();
    await clock.advance(1_000);
    expect(state.calls).toBe(2);
    runner.start();
    await clock.advance(1_000);
    expect(state.calls).toBe(3);
    await runner.close();
  });

  test("survives a store that fails, with one line, and works again when asked again", async () => {
    const { state, store } = purging(2);
    const { goOn, warned, runner } = runnerOver(store);
    state.fails = true;
    runner.start();
    await goOn(60_000);
    expect([state.calls, warned]).toEqual([1, ["a purge was broken off; the workers go on with it"]]);
    state.fails = false;
    runner.start();
    await goOn(1_000);
    expect([state.calls, warned.length]).toEqual([4, 1]);
    await runner.close();
  });

  test("stops when it is closed: after the step under way, or in its pause", async () => {
    const { state, store } = purging(100);
    const { clock, runner } = runnerOver(store);
    const gate = Promise.withResolvers<void>();
    state.gate = gate.promise;
    runner.start();
    await clock.advance(0);
    let closed = false;
    const closing = runner.close().then(() => {
      closed = true;
    });
    await clock.advance(0);
    expect(closed).toBe(false);
    gate.resolve();
    await closing;
    runner.start();
    await clock.advance(1_000);
    expect([state.calls, clock.pending]).toEqual([1, 0]);

    const other = purging(100);
    const paused = runnerOver(other.store);
    paused.runner.start();
    await paused.clock.advance(0);
    await paused.runner.close();
    expect([other.state.calls, paused.clock.pending]).toEqual([1, 0]);
  });
});
