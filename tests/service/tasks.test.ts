import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { TaskRunnerError } from "../../src/core/errors.ts";
import type { WorkerRecord } from "../../src/core/store.ts";
import { openTestStore, serviceOver, type TestStore, withMethods } from "../api/support.ts";

let opened: TestStore;
beforeEach(async () => {
  opened = await openTestStore();
});
afterEach(() => opened.close());

const CONTEXT = { idempotencyKey: null, traceparent: null };
const request = (url: string) => ({ client_id: "c", task: { url } });
const PRIVATE = "http://10.0.0.1/hook";

function worker(allowPrivateUrls: boolean): Omit<WorkerRecord, "seenAtMs"> {
  return { id: "w1", version: "1", concurrency: 1, allowPrivateUrls, startedAtMs: 0 };
}

describe("TaskService", () => {
  test("refuses a private target, and keeps nothing of it", async () => {
    const service = serviceOver(opened);
    await expect(service.enqueue(request(PRIVATE), CONTEXT)).rejects.toMatchObject({
      code: "target_forbidden",
      fields: [{ path: "task.url" }],
    });
    expect((await service.list({ limit: 10 })).tasks).toEqual([]);
  });

  test("takes a private target once a living worker delivers to such", async () => {
    const service = serviceOver(opened, { privateTargets: "ask-workers" });
    await expect(service.enqueue(request(PRIVATE), CONTEXT)).rejects.toMatchObject({
      code: "target_forbidden",
    });
    await opened.store.announce(worker(true));
    await opened.clock.advance(2_000);
    const { result } = await service.enqueue(request(PRIVATE), CONTEXT);
    expect(result.kind).toBe("created");
  });

  test("does not take the word of a worker that is gone, or that refuses private targets", async () => {
    const service = serviceOver(opened, { privateTargets: "ask-workers" });
    await opened.store.announce(worker(false));
    await expect(service.enqueue(request(PRIVATE), CONTEXT)).rejects.toMatchObject({
      code: "target_forbidden",
    });
    await opened.store.announce(worker(true));
    await opened.clock.advance(301_000);
    await expect(service.enqueue(request(PRIVATE), CONTEXT)).rejects.toMatchObject({
      code: "target_forbidden",
    });
  });

  test("a worker's word does not open a scheme that nobody owns, nor credentials in a url", async () => {
    const service = serviceOver(opened, { privateTargets: "ask-workers" });
    await opened.store.announce(worker(true));
    for (const url of [
      "gopher://10.0.0.1/",
      "http://user:secret@10.0.0.1/",
      "http://user:secret@example.com/",
    ]) {
      await expect(service.enqueue(request(url), CONTEXT)).rejects.toMatchObject({
        code: "target_forbidden",
      });
    }
  });

  test("asks for workers only about what would be refused, and once for many", async () => {
    let asked = 0;
    const store = withMethods(opened.store, {
      workers: (withinMs) => {
        asked++;
        return opened.store.workers(withinMs);
      },
    });
    await opened.store.announce(worker(true));
    const service = serviceOver({ store, clock: opened.clock }, { privateTargets: "ask-workers" });
    await service.enqueue(request("https://example.com/"), CONTEXT);
    expect(asked).toBe(0);
    await service.enqueueBatch(
      Array.from({ length: 50 }, () => request(PRIVATE)),
      CONTEXT,
    );
    expect(asked).toBe(1);
  });

  test("asks again after the store could not tell", async () => {
    let failing = true;
    const store = withMethods(opened.store, {
      workers: async (withinMs) => {
        if (failing) throw new TaskRunnerError("store_unavailable", "gone");
        return opened.store.workers(withinMs);
      },
    });
    await opened.store.announce(worker(true));
    const service = serviceOver({ store, clock: opened.clock }, { privateTargets: "ask-workers" });
    await expect(service.enqueue(request(PRIVATE), CONTEXT)).rejects.toMatchObject({
      code: "store_unavailable",
    });
    failing = false;
    await expect(service.enqueue(request(PRIVATE), CONTEXT)).resolves.toBeDefined();
  });

  test("a batch tells which items a failing part of the store's calls lost", async () => {
    let calls = 0;
    const store = withMethods(opened.store, {
      enqueue: (tasks) => {
        if (++calls === 2) throw new TaskRunnerError("store_full", "full");
        return opened.store.enqueue(tasks);
      },
    });
    const groupLimits = {
      maxTasksPerCall: 2,
      maxBytesPerCall: 1_000_000,
      maxTasksWaiting: 100,
      maxBytesWaiting: 1_000_000,
      maxWaitMs: 1_000,
    };
    const service = serviceOver({ store, clock: opened.clock }, { groupLimits });
    const refused = new TaskRunnerError("validation_failed", "no");
    const good = request("https://example.com/");
    const { results } = await service.enqueueBatch([good, refused, good, good, good, good], CONTEXT);
    expect(
      results.map((result) => (result instanceof TaskRunnerError ? result.code : result.result.kind)),
    ).toEqual(["created", "validation_failed", "created", "store_full", "store_full", "created"]);
  });

  test("a batch of which the store kept nothing fails as a whole", async () => {
    const store = withMethods(opened.store, {
      enqueue: async () => {
        throw new TaskRunnerError("store_unavailable", "gone");
      },
    });
    const service = serviceOver({ store, clock: opened.clock });
    const batch = service.enqueueBatch([request("https://example.com/")], CONTEXT);
    await expect(batch).rejects.toMatchObject({ code: "store_unavailable" });
  });

  test("an id that is none is not found, without asking the store", async () => {
    const service = serviceOver(opened);
    expect(await service.get("'; DROP TABLE tasks")).toBeNull();
    for (const change of [service.cancel("x"), service.run("x"), service.replay("x")]) {
      expect(await change).toEqual({ kind: "not_found" });
    }
    expect(await service.reschedule("x", { priority: "low" })).toEqual({ kind: "not_found" });
  });
});
