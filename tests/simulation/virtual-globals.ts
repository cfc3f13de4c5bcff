/**
 * Puts virtual time and seeded chance in the place of the runtime's, in this process only and before the program is loaded: a
 * library's own timers, its `Date.now` and its `Math.random` are then part of the simulation too.
 */

import { createRequire } from "node:module";
import { Chance } from "./random.ts";
import { VirtualTime } from "./virtual-time.ts";

/** The virtual beginning: a plausible date, so that a mix-up with a duration shows. */
export const EPOCH_MS = Date.UTC(2026, 0, 1);

const require = createRequire(import.meta.url);
const timers = require("node:timers") as { setImmediate: unknown };
const realSetImmediate = globalThis.setImmediate;
const realNow = performance.now.bind(performance);

const realTurn = () => new Promise<void>((resolve) => void realSetImmediate(resolve));

/** Of the run under way. */
let time = new VirtualTime(realTurn);
let chance = new Chance(0);

/** Real milliseconds, for what is told of the simulation itself. */
export const realMonoMs = realNow;

/** A fresh time and a fresh chance behind the globals. Timers of runs before never fire. */
export function beginRun(seed: number): VirtualTime {
  time = new VirtualTime(realTurn);
  chance = new Chance(seed);
  return time;
}

const fakeSetImmediate = (fire: (...args: unknown[]) => void, ...args: unknown[]): void =>
  time.immediate(() => fire(...args));
const fakeSetTimeout = (fire: (...args: unknown[]) => void, delayMs = 0, ...args: unknown[]): object => {
  const cancel = time.after(delayMs, () => fire(...args));
  const timer = { cancel, ref: () => timer, unref: () => timer };
  return timer;
};
const fakeClearTimeout = (timer?: { cancel?: () => void } | null): void => timer?.cancel?.();

timers.setImmediate = fakeSetImmediate;
Object.assign(globalThis, {
  setImmediate: fakeSetImmediate,
  setTimeout: fakeSetTimeout,
  clearTimeout: fakeClearTimeout,
  setInterval: () => {
    throw new Error("nothing in the simulation may set an interval");
  },
});
Date.now = () => EPOCH_MS + Math.floor(time.nowMs);
performance.now = () => time.nowMs;
Math.random = () => chance.next();

/** Throws where the runtime did not let itself be replaced: then nothing would be deterministic. */
export async function assertVirtual(): Promise<void> {
  const loaded = await import("node:timers");
  if ((loaded.setImmediate as unknown) !== fakeSetImmediate)
    throw new Error("node:timers was loaded before its setImmediate could be replaced");
}
