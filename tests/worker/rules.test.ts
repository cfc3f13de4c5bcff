/** What a queue fills in for its tasks, and what it puts in place of what they say. */

import { describe, expect, test } from "bun:test";
import type { TargetOverride } from "../../src/core/queue.ts";
import { defaultRetryPolicy } from "../../src/core/retry.ts";
import { retryOf } from "../../src/core/settling.ts";
import { callOf } from "../../src/worker/rules.ts";
import { newTarget } from "../support/tasks.ts";
import { claimed, rulesOf } from "./claimed.ts";

const MAX_MS = 60_000;

describe("callOf", () => {
  test("leaves the target of a task alone where no rule touches it: the very same object", () => {
    const target = newTarget();
    expect(callOf(claimed({ target }), MAX_MS).target).toBe(target);
    expect(callOf(claimed({ target, rules: rulesOf() }), MAX_MS).target).toBe(target);
  });

  test("takes the task's timeout, else its queue's, else the worker's, and never more than the worker's", () => {
    const timeoutOf = (own: number | null, queues: number | null) =>
      callOf(claimed({ timeoutMs: own, rules: rulesOf({ timeoutMs: queues }) }), MAX_MS).timeoutMs;
    expect(timeoutOf(null, null)).toBe(MAX_MS);
    expect(timeoutOf(null, 5_000)).toBe(5_000);
    expect(timeoutOf(10_000, 5_000)).toBe(10_000);
    expect(timeoutOf(1_000, 5_000)).toBe(1_000);
    expect(timeoutOf(null, 90_000)).toBe(MAX_MS);
    expect(timeoutOf(90_000, 5_000)).toBe(MAX_MS);
    expect(callOf(claimed({ timeoutMs: 90_000 }), MAX_MS).timeoutMs).toBe(MAX_MS);
    expect(callOf(claimed({ timeoutMs: 7 }), MAX_MS).timeoutMs).toBe(7);
    expect(callOf(claimed(), MAX_MS).timeoutMs).toBe(MAX_MS);
  });

  test("puts each overridden part in place of the task's and keeps the others", () => {
    const target = newTarget({ url: "http://own/", method: "PUT", headers: { a: "1" }, body: "x" });
    const callWith = (override: TargetOverride) =>
      callOf(claimed({ target, rules: rulesOf({ target: override }) }), MAX_MS).target;
    expect(callWith({})).toEqual(target);
    expect(callWith({ url: "http://other/" })).toEqual({ ...target, url: "http://other/" });
    expect(callWith({ method: "PATCH" })).toEqual({ ...target, method: "PATCH" });
    expect(callWith({ headers: { b: "2" } })).toEqual({ ...target, headers: { a: "1", b: "2" } });
  });

  test("replaces headers whose names differ in case only, so that none is sent twice", () => {
    const target = newTarget({ headers: { Authorization: "own", "X-Kept": "kept", "x-A": "own" } });
    const override = { headers: { authorization: "queue", "X-a": "queue" } };
    expect(callOf(claimed({ target, rules: rulesOf({ target: override }) }), MAX_MS).target.headers).toEqual({
      "X-Kept": "kept",
      authorization: "queue",
      "X-a": "queue",
    });
  });

  test("leaves the body out where the override's method takes none", () => {
    for (const method of ["GET", "HEAD"]) {
      const rules = rulesOf({ target: { method } });
      expect(callOf(claimed({ rules }), MAX_MS).target).toMatchObject({ method, body: null });
    }
    const rules = rulesOf({ target: { method: "DELETE" } });
    expect(callOf(claimed({ rules }), MAX_MS).target.body).toBe("{}");
  });
});

describe("a report", () => {
  const reportTo = (to: string) => ({
    metadata: { "task-runner.report_of": "task", "task-runner.report_to": to },
  });

  test("goes where it was meant to, whatever its queue calls instead; its timeout is the queue's", () => {
    const rules = rulesOf({
      target: { url: "http://other/", method: "GET", headers: { a: "1" } },
      timeoutMs: 7_000,
    });
    const target = newTarget();
    const call = callOf(claimed({ target, rules, ...reportTo("callback_url") }), MAX_MS);
    expect(call.target).toBe(target);
    expect(call.timeoutMs).toBe(7_000);
  });

  test("is bound by its client's hosts, unless its URL is one that a queue has", () => {
    const clientRules = { allowedHosts: ["example.com"], signing: [] };
    const hostsOf = (to: string) => callOf(claimed({ clientRules, ...reportTo(to) }), MAX_MS).allowedHosts;
    expect(hostsOf("callback_url")).toEqual(["example.com"]);
    expect(hostsOf("failure_callback_url")).toEqual(["example.com"]);
    expect(hostsOf("dead_target")).toBeNull();
  });
});

describe("the hosts of a task", () => {
  test("are its client's, and all where its queue has it call another URL", () => {
    const clientRules = { allowedHosts: ["example.com"], signing: [] };
    const hostsOf = (target: TargetOverride | null) =>
      callOf(claimed({ clientRules, rules: rulesOf({ target }) }), MAX_MS).allowedHosts;
    expect(hostsOf(null)).toEqual(["example.com"]);
    expect(hostsOf({ method: "PUT" })).toEqual(["example.com"]);
    expect(hostsOf({ url: "http://other/" })).toBeNull();
    expect(callOf(claimed(), MAX_MS).allowedHosts).toBeNull();
  });
});

describe("retryOf", () => {
  test("fills what the task does not say from its queue, and the rest from the worker", () => {
    const worker = defaultRetryPolicy(5);
    const rules = rulesOf({ retry: { maxAttempts: 9, minBackoffMs: 10 } });
    expect(retryOf(claimed({ rules, retry: { minBackoffMs: 77 } }), worker)).toEqual({
      ...worker,
      maxAttempts: 9,
      minBackoffMs: 77,
    });
    expect(retryOf(claimed({ retry: { jitter: 0 } }), worker)).toEqual({ ...worker, jitter: 0 });
  });
});
