/** Holds that errors tell a stable code and one readable line. */

import { describe, expect, test } from "bun:test";
import { messageOf, TaskRunnerError } from "../../src/core/errors.ts";

describe("TaskRunnerError", () => {
  test("carries its code, its details and its cause", () => {
    const cause = new Error("disk full");
    const fields = [{ path: "task.url", message: "must be a URL" }];
    const error = new TaskRunnerError("store_unavailable", "the store is away", {
      retryAfterSec: 3,
      fields,
      cause,
    });
    expect(error).toBeInstanceOf(Error);
    expect(error.name).toBe("TaskRunnerError");
    expect(error.code).toBe("store_unavailable");
    expect(error.message).toBe("the store is away");
    expect(error.retryAfterSec).toBe(3);
    expect(error.fields).toEqual(fields);
    expect(error.cause).toBe(cause);
  });

  test("without details has no fields, no time to wait and no cause", () => {
    const error = new TaskRunnerError("conflict", "no");
    expect(error.fields).toEqual([]);
    expect(error.retryAfterSec).toBeUndefined();
    expect("cause" in error).toBe(false);
  });
});

describe("messageOf", () => {
  test("is one line, whatever was thrown", () => {
    expect(messageOf(new Error("  first\n\tsecond \r\n third "))).toBe("first second third");
    expect(messageOf("text\nmore")).toBe("text more");
    expect(messageOf(undefined)).toBe("undefined");
    expect(messageOf(null)).toBe("null");
    expect(messageOf({ toString: () => "an object" })).toBe("an object");
    expect(messageOf(Object.assign(new Error(), { message: 5 }))).toBe("5");
  });

  test("is there for what cannot be read", () => {
    class Unreadable extends Error {
      override get message(): string {
        throw new Error("no");
      }
    }
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    for (const thrown of [new Unreadable(), Object.create(null), proxy]) {
      expect(messageOf(thrown)).toBe("something was thrown that cannot be read");
    }
  });
});
