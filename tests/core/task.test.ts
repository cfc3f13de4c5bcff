/** Holds the states a task can be in, the ways between them, and which attempts are kept. */

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  type Attempt,
  canGo,
  isFinal,
  isWaiting,
  keepAttempt,
  MAX_KEPT_ATTEMPTS,
  TASK_STATES,
  type TaskState,
  TRANSITIONS,
} from "../../src/core/task.ts";

describe("the transition table", () => {
  test("has a row for every state and leads to known states only", () => {
    expect(Object.keys(TRANSITIONS).sort()).toEqual([...TASK_STATES].sort());
    for (const from of TASK_STATES) {
      for (const to of TRANSITIONS[from]) expect(TASK_STATES).toContain(to);
      expect(new Set(TRANSITIONS[from]).size).toBe(TRANSITIONS[from].length);
      expect(TRANSITIONS[from]).not.toContain(from);
    }
  });

  test("lets a final state be left by a replay to ready only", () => {
    for (const state of TASK_STATES.filter(isFinal)) expect(TRANSITIONS[state]).toEqual(["ready"]);
  });

  test("reaches every state from a new task's two, and can always end", () => {
    for (const start of ["scheduled", "ready"] as const)
      expect(reachable(start)).toEqual(new Set(TASK_STATES));
    for (const state of TASK_STATES) expect([...reachable(state)].some(isFinal)).toBe(true);
  });

  test("lets only a ready task run, and only a running one succeed, fail or die", () => {
    for (const state of TASK_STATES) {
      expect(canGo(state, "running")).toBe(state === "ready");
      for (const outcome of ["succeeded", "retrying", "dead"] as const) {
        expect(canGo(state, outcome)).toBe(state === "running");
      }
    }
  });

  test("lets whatever has not ended be cancelled", () => {
    for (const state of TASK_STATES) expect(canGo(state, "cancelled")).toBe(!isFinal(state));
  });

  test("is what canGo tells", () => {
    for (const from of TASK_STATES) {
      for (const to of TASK_STATES) expect(canGo(from, to)).toBe(TRANSITIONS[from].includes(to));
    }
  });

  test("has states that wait, one that runs, and states that are final: each is exactly one of these", () => {
    for (const state of TASK_STATES) {
      const kinds = [isWaiting(state), state === "running", isFinal(state)];
      expect(kinds.filter(Boolean).length).toBe(1);
    }
    expect(TASK_STATES.filter(isFinal)).toEqual(["succeeded", "dead", "cancelled"]);
  });
});

describe("keepAttempt", () => {
  test("keeps all attempts in order until there are too many", () => {
    expect(logOf(MAX_KEPT_ATTEMPTS).map(({ number }) => number)).toEqual(
      Array.from({ length: MAX_KEPT_ATTEMPTS }, (_, i) => i + 1),
    );
  });

  test("keeps the first and the latest, in order, however many there were", () => {
    fc.assert(
      fc.property(fc.integer({ min: MAX_KEPT_ATTEMPTS + 1, max: 300 }), (total) => {
        const numbers = logOf(total).map(({ number }) => number);
        expect(numbers.length).toBe(MAX_KEPT_ATTEMPTS);
        expect(numbers[0]).toBe(1);
        const latest = Array.from(
          { length: MAX_KEPT_ATTEMPTS - 1 },
          (_, i) => total - MAX_KEPT_ATTEMPTS + 2 + i,
        );
        expect(numbers.slice(1)).toEqual(latest);
      }),
    );
  });

  test("leaves the log it was given as it was", () => {
    for (const length of [0, 3, MAX_KEPT_ATTEMPTS]) {
      const log = Object.freeze(logOf(length));
      expect(keepAttempt(log, attempt(99)).at(-1)?.number).toBe(99);
      expect(log.length).toBe(length);
    }
  });
});

function reachable(start: TaskState): Set<TaskState> {
  const seen = new Set<TaskState>([start]);
  // A set's iteration visits what is added during it.
  for (const state of seen) for (const next of TRANSITIONS[state]) seen.add(next);
  return seen;
}

function logOf(attempts: number): readonly Attempt[] {
  let log: readonly Attempt[] = [];
  for (let number = 1; number <= attempts; number++) log = keepAttempt(log, attempt(number));
  return log;
}

function attempt(number: number): Attempt {
  return {
    number,
    startedAtMs: number,
    durationMs: 1,
    status: 500,
    error: "e",
    responseExcerpt: null,
    worker: "w",
  };
}
