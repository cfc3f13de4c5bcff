/** Holds that a sleep ends on time or when it is told to, and leaves nothing behind. */

import { describe, expect, test } from "bun:test";
import { sleep } from "../../src/core/clock.ts";
import { ManualClock } from "../support/manual-clock.ts";

describe("sleep", () => {
  test("ends when its time has passed, and not before", async () => {
    const clock = new ManualClock();
    const slept = state(sleep(clock, 1_000));
    await clock.advance(999);
    expect(slept.ended).toBe(false);
    await clock.advance(1);
    expect(slept.ended).toBe(true);
    expect(clock.pending).toBe(0);
  });

  test("of no time or less ends without time passing", async () => {
    const clock = new ManualClock();
    await sleep(clock, 0);
    await sleep(clock, -5);
    expect(clock.pending).toBe(0);
  });

  test("ends as soon as its signal aborts, and takes its timer back", async () => {
    const clock = new ManualClock();
    const stop = new AbortController();
    const slept = sleep(clock, 60_000, stop.signal);
    expect(clock.pending).toBe(1);
    stop.abort(new Error("stop"));
    await slept;
    expect(clock.pending).toBe(0);
  });

  test("with a signal that has aborted ends at once and sets no timer", async () => {
    const clock = new ManualClock();
    await sleep(clock, 60_000, AbortSignal.abort());
    expect(clock.pending).toBe(0);
  });

  test("stops listening to its signal once it ended", async () => {
    const clock = new ManualClock();
    const stop = new AbortController();
    const { signal } = stop;
    let listeners = 0;
    const { addEventListener, removeEventListener } = signal;
    signal.addEventListener = (...args: Parameters<typeof addEventListener>) => {
      listeners++;
      addEventListener.apply(signal, args);
    };
    signal.removeEventListener = (...args: Parameters<typeof removeEventListener>) => {
      listeners--;
      removeEventListener.apply(signal, args);
    };
    const slept = sleep(clock, 10, signal);
    expect(listeners).toBe(1);
    await clock.advance(10);
    await slept;
    expect(listeners).toBe(0);
  });

  test("many of different lengths end in the order of their times", async () => {
    const clock = new ManualClock();
    const order: number[] = [];
    for (const delayMs of [30, 10, 20, 10]) void sleep(clock, delayMs).then(() => order.push(delayMs));
    await clock.advance(100);
    expect(order).toEqual([10, 10, 20, 30]);
  });
});

describe("the manual clock of these tests", () => {
  test("stands still until it is moved", async () => {
    const clock = new ManualClock(1_000);
    await Bun.sleep(2);
    expect(clock.now()).toBe(1_000);
    await clock.advance(5);
    expect(clock.now()).toBe(1_005);
  });

  test("fires each timer at its own instant, those of one instant in the order they were set", async () => {
    const clock = new ManualClock(0);
    const fired: string[] = [];
    for (const [name, atMs] of [
      ["c", 20],
      ["a", 10],
      ["b", 10],
    ] as const) {
      clock.after(atMs, () => fired.push(`${name}@${clock.now()}`));
    }
    await clock.advance(15);
    expect(fired).toEqual(["a@10", "b@10"]);
    await clock.advance(15);
    expect(fired).toEqual(["a@10", "b@10", "c@20"]);
    expect(clock.now()).toBe(30);
  });

  test("fires timers that were set by others on the way, also across a promise", async () => {
    const clock = new ManualClock(0);
    const ticks: number[] = [];
    const loop = async () => {
      for (let i = 0; i < 3; i++) {
        await sleep(clock, 10);
        ticks.push(clock.now());
      }
    };
    const looping = loop();
    await clock.advance(35);
    await looping;
    expect(ticks).toEqual([10, 20, 30]);
  });

  test("does not fire a cancelled timer, even one that was due at once", async () => {
    const clock = new ManualClock(0);
    const fired: string[] = [];
    const cancels = [clock.after(0, () => fired.push("now")), clock.after(5, () => fired.push("later"))];
    for (const cancel of [...cancels, ...cancels]) cancel();
    await clock.advance(10);
    expect(fired).toEqual([]);
    expect(clock.pending).toBe(0);
  });

  test("refuses to go back", async () => {
    await expect(new ManualClock().advance(-1)).rejects.toThrow(RangeError);
  });
});

function state(promise: Promise<unknown>): { ended: boolean } {
  const watched = { ended: false };
  void promise.then(() => {
    watched.ended = true;
  });
  return watched;
}
