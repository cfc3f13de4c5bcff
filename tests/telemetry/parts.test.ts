/** The small parts of telemetry: trace contexts, the budget, and counting. */

import { describe, expect, test } from "bun:test";
import { Budget } from "../../src/telemetry/budget.ts";
import { Capped, Spread } from "../../src/telemetry/tallies.ts";
import { taskFields } from "../../src/telemetry/task-fields.ts";
import { parseTraceparent, traceparentOf } from "../../src/telemetry/traceparent.ts";

const TRACE_ID = "0af7651916cd43dd8448eb211c80319c";
const SPAN_ID = "b7ad6b7169203331";

describe("a traceparent", () => {
  test("is read and written the same", () => {
    const text = `00-${TRACE_ID}-${SPAN_ID}-01`;
    const context = parseTraceparent(text);
    expect(context).toEqual({ traceId: TRACE_ID, spanId: SPAN_ID, isSampled: true });
    expect(context === null ? null : traceparentOf(context)).toBe(text);
  });

  test("of a later version may go on after its flags", () => {
    expect(parseTraceparent(`01-${TRACE_ID}-${SPAN_ID}-00-what-comes`)?.isSampled).toBe(false);
  });

  for (const text of ["", "00", `00-${"0".repeat(32)}-${SPAN_ID}-01`, `ff-${TRACE_ID}-${SPAN_ID}-01`]) {
    test(`"${text}" is none`, () => {
      expect(parseTraceparent(text)).toBeNull();
    });
  }
});

describe("the budget", () => {
  test("gives five seconds' worth at once, and on average no more than its rate", () => {
    const clock = { monoMs: 0 };
    const budget = new Budget(10, () => clock.monoMs);
    const taken = (times: number) =>
      Array.from({ length: times }, () => budget.take()).filter(Boolean).length;
    expect(taken(100)).toBe(50);
    clock.monoMs = 500;
    expect(taken(100)).toBe(5);
    clock.monoMs = 60_000;
    expect(taken(100)).toBe(50);
  });

  test("leaves half of itself to what matters more", () => {
    const budget = new Budget(10, () => 0);
    const spare = Array.from({ length: 100 }, () => budget.takeSpare()).filter(Boolean).length;
    const rest = Array.from({ length: 100 }, () => budget.take()).filter(Boolean).length;
    expect({ spare, rest }).toEqual({ spare: 25, rest: 25 });
  });
});

describe("counting", () => {
  test("names past the bound share one place, which no name can take", () => {
    const capped = new Capped(2, () => ({ times: 0 }));
    for (const name of ["a", "b", "c", "d", "other", "a"]) capped.of(name).times++;
    expect([...capped.entries()].map(([name, { times }]) => [name, times])).toEqual([
      ["a", 2],
      ["b", 1],
      ["other", 3],
    ]);
  });

  test("a value on a bound lies below it, and one past the last in the last bucket of all", () => {
    const spread = new Spread([1, 5]);
    for (const value of [0.5, 1, 5, 6]) spread.observe(value);
    expect(spread.cumulative()).toEqual([2, 3, 4]);
    expect(spread.sum).toBe(12.5);
  });
});

test("a log line of a task names task, queue, client, attempt and trace", () => {
  const task = { id: "T", queue: "q", clientId: "c", attempt: 2 };
  expect(taskFields({ task, traceparent: `00-${TRACE_ID}-${SPAN_ID}-01` })).toEqual({
    task: "T",
    queue: "q",
    client: "c",
    attempt: 2,
    trace_id: TRACE_ID,
  });
  expect(taskFields({ task, traceparent: null })).not.toHaveProperty("trace_id");
});
