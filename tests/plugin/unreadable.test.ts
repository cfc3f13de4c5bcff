/** Plugins whose parts throw when they are read, and transports that throw what cannot be read: a line at start, a failure later. */

import { describe, expect, test } from "bun:test";
import type { Transport } from "../../src/core/transport.ts";
import { lookingAt, pluginFault } from "../../src/plugin/fault.ts";
import { heldToContract } from "../../src/plugin/held.ts";
import { judgePlugin } from "../../src/plugin/judge.ts";
import { TransportRegistry } from "../../src/transport/registry.ts";
import { newTarget, newTask } from "../support/tasks.ts";
import { type Bench, withBench } from "../worker/harness.ts";

class Unreadable extends Error {
  override get message(): string {
    throw new Error("no");
  }
}

function transportOf(parts: object): Transport {
  const whole = { name: "bad", schemes: ["bad:"], check: () => [], close: async () => {}, ...parts };
  return whole as unknown as Transport;
}

describe("a plugin that is looked at", () => {
  test("and throws is refused in one line with its name", () => {
    const module = {
      get default(): unknown {
        throw new Error("not\nyet");
      },
    };
    expect(() => lookingAt("./mine.ts", () => judgePlugin("./mine.ts", module))).toThrow(
      "plugin ./mine.ts is not usable: a part of it threw when it was read: not yet",
    );
  });

  test("keeps the words of a fault that was found", () => {
    const fault = pluginFault("plugin ./mine.ts is none");
    expect(() =>
      lookingAt("./mine.ts", () => {
        throw fault;
      }),
    ).toThrow(fault);
  });

  test("is used as it was judged, whatever its getters give the next time", () => {
    let reads = 0;
    const plugin = {
      apiVersion: 1,
      transports: [],
      get name() {
        return reads++ === 0 ? "mine" : 5;
      },
    };
    const judged = judgePlugin("./mine.ts", { default: plugin });
    expect([judged.name, judged.name]).toEqual(["mine", "mine"]);
  });
});

describe("a transport's check", () => {
  const problemsOf = (check: () => unknown) =>
    heldToContract(transportOf({ check })).check(newTarget({ url: "bad:x" }));

  test("that throws, or gives no list, refuses the target", () => {
    const broken = [
      () => {
        throw new Unreadable();
      },
      () => null,
      () => [null],
    ];
    for (const check of broken) {
      expect(problemsOf(check)).toMatchObject([
        { path: "task.url", message: expect.stringContaining("cannot be judged"), forbidden: false },
      ]);
    }
  });

  test("tells problems with all that belongs to them", () => {
    expect(problemsOf(() => [{ path: "task.method", message: "no\nGET", forbidden: true }, {}])).toEqual([
      { path: "task.method", message: "no GET", forbidden: true },
      { path: "task.url", message: "is not allowed", forbidden: false },
    ]);
  });
});

test(
  "a worker whose transport throws what cannot be read, or a huge text, takes it for a failure and goes on",
  withBench(async (bench: Bench) => {
    const thrown = [new Unreadable(), Object.create(null), "x".repeat(1_000_000)];
    let calls = 0;
    const deliver = () => Promise.reject(thrown[calls++ % thrown.length]);
    bench.start({
      transports: new TransportRegistry([heldToContract(transportOf({ deliver }))]),
      maxRetries: 0,
    });
    const tasks = thrown.map(() => newTask({ target: newTarget({ url: "bad:x" }) }));
    await bench.store.enqueue(tasks);
    for (const { id } of tasks) {
      const { attemptLog } = await bench.reaches(id, "dead");
      const error = attemptLog[0]?.error ?? "";
      expect(error).toStartWith("transport bad broke: ");
      expect(error.length).toBeLessThan(400);
    }
    expect(bench.logged("a transport broke its contract").length).toBe(1);
  }),
);
