import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { TaskRunnerError } from "../../src/core/errors.ts";
import { hostMatcher } from "../../src/core/host-list.ts";
import { newQueue } from "../../src/core/queue.ts";
import type { EnqueueResult, TaskStore } from "../../src/core/store.ts";
import type { TaskService } from "../../src/service/tasks.ts";
import {
  openTestStore,
  putClient,
  putSettings,
  serviceOver,
  type TestStore,
  withMethods,
} from "../api/support.ts";

const CONTEXT = { idempotencyKey: null, traceparent: null };
const request = (client_id: string, url = "https://example.com/", queue = "default") => ({
  client_id,
  queue,
  task: { url },
});

describe("allowed hosts", () => {
  const host = (url: string) => new URL(url).hostname;

  test.each<[string, string[], string[]]>([
    [
      "example.com",
      ["http://example.com/", "https://EXAMPLE.com:8443/x"],
      ["http://a.example.com/", "http://example.co/", "http://badexample.com/"],
    ],
    ["Example.COM", ["http://example.com/"], []],
    ["example.com.", ["http://example.com/"], []],
    [
      "*.example.com",
      ["http://a.example.com/", "http://a.b.example.com/"],
      ["http://example.com/", "http://badexample.com/"],
    ],
    [
      "10.0.0.1",
      ["http://10.0.0.1/", "http://167772161/", "http://0x0a.0.0.1/"],
      ["http://10.0.0.10/", "http://[::ffff:10.0.0.1]/"],
    ],
    ["*.0.0.1", [], ["http://10.0.0.1/"]],
    ["2001:DB8::1", ["http://[2001:db8:0:0::1]/"], ["http://[2001:db8::2]/"]],
    ["[2001:db8::1]", ["http://[2001:db8::1]/"], []],
    ["bücher.example", ["http://xn--bcher-kva.example/", "http://bücher.example/"], []],
    ["*.bücher.example", ["http://a.xn--bcher-kva.example/"], []],
    ["not a host", [], ["http://example.com/"]],
  ])("%s", (entry, yes, no) => {
    const allows = hostMatcher([entry]);
    expect(yes.filter((url) => !allows(host(url)))).toEqual([]);
    expect(no.filter((url) => allows(host(url)))).toEqual([]);
  });
});

describe("a client's lists", () => {
  let opened: TestStore;
  let calls: string[];
  let service: TaskService;
  let answer: EnqueueResult | null;
  beforeEach(async () => {
    opened = await openTestStore();
    calls = [];
    answer = null;
    const { store } = opened;
    const watched: TaskStore = withMethods(store, {
      read: (kind, id) => {
        calls.push("read");
        return store.read(kind, id);
      },
      enqueue: async (tasks) => {
        calls.push("enqueue");
        const forced = answer;
        if (forced === null) return store.enqueue(tasks);
        return { results: tasks.map(() => forced), durability: "disk", rates: new Map() };
      },
    });
    service = serviceOver({ store: watched, clock: opened.clock });
  });
  afterEach(() => opened.close());

  const enqueue = (...given: Parameters<typeof request>) => service.enqueue(request(...given), CONTEXT);

  test("cost a client without any no more than one call", async () => {
    await enqueue("free");
    await enqueue("free");
    expect(calls).toEqual(["enqueue", "enqueue"]);
  });

  test("are read once, and cost one call from then on", async () => {
    await putClient(opened.store, "c", { allowedHosts: ["example.com"] });
    await enqueue("c");
    expect(calls).toEqual(["enqueue", "read", "enqueue"]);
    calls.length = 0;
    await enqueue("c");
    await enqueue("c");
    expect(calls).toEqual(["enqueue", "enqueue"]);
  });

  test("tell which of them refuses what, and nothing is kept", async () => {
    await putClient(opened.store, "c", { allowedQueues: ["mail"], allowedHosts: ["*.example.com"] });
    const refused = await enqueue("c").catch((error) => error);
    expect(refused).toMatchObject({ code: "forbidden", fields: [{ path: "queue" }, { path: "task.url" }] });
    expect(refused.message).toContain('"default" is not among the client\'s allowed_queues');
    expect(refused.message).toContain('"example.com" is not among the client\'s allowed_hosts');
    await enqueue("c", "https://api.example.com/", "mail");
    expect((await service.list({ limit: 10 })).tasks).toHaveLength(1);
  });

  test("hold for callbacks as well, and not for a task that calls nobody", async () => {
    await putClient(opened.store, "c", { allowedHosts: ["example.com"] });
    const elsewhere = "https://other.com/";
    const callbacks = { callback_url: elsewhere, failure_callback_url: elsewhere };
    const refused = await service.enqueue({ ...request("c"), ...callbacks }, CONTEXT).catch((error) => error);
    expect(refused).toMatchObject({
      code: "forbidden",
      fields: [{ path: "callback_url" }, { path: "failure_callback_url" }],
    });
    await service.enqueue({ ...request("c"), callback_url: "https://example.com/done" }, CONTEXT);
    await putSettings(opened.store, "queue", "jobs", () => ({ ...newQueue(0), mode: "pull" }));
    await service.enqueue({ client_id: "c", queue: "jobs", task: {} }, CONTEXT);
  });

  test("hold from the next task on when they are narrowed, whatever is remembered", async () => {
    await putClient(opened.store, "c", { allowedHosts: ["example.com"] });
    await enqueue("c");
    await putClient(opened.store, "c", { allowedHosts: ["other.com"] });
    await expect(enqueue("c")).rejects.toMatchObject({ code: "forbidden" });
  });

  test("let go from the next task on when they are widened or taken away", async () => {
    await putClient(opened.store, "c", { allowedHosts: ["other.com"] });
    await expect(enqueue("c")).rejects.toMatchObject({ code: "forbidden" });
    await putClient(opened.store, "c", { allowedHosts: ["other.com", "example.com"] });
    await enqueue("c");
    await putClient(opened.store, "c", { allowedHosts: null });
    await enqueue("c", "https://third.com/");
  });

  test("are read once for a batch, whose other tasks they do not touch", async () => {
    await putClient(opened.store, "c", { allowedHosts: ["example.com"] });
    const items = Array.from({ length: 30 }, (_, i) =>
      request(i % 3 === 0 ? "free" : "c", i % 3 === 2 ? "https://other.com/" : "https://example.com/"),
    );
    const { results } = await service.enqueueBatch(items, CONTEXT);
    expect(calls).toEqual(["enqueue", "read", "enqueue"]);
    const shown = results.map((one) => (one instanceof TaskRunnerError ? one.code : one.result.kind));
    expect(shown).toEqual(items.map((_, i) => (i % 3 === 2 ? "forbidden" : "created")));
  });

  test("that change all the time are given up after three looks", async () => {
    answer = { kind: "unchecked" };
    await expect(enqueue("c")).rejects.toMatchObject({ code: "overloaded", retryAfterSec: 1 });
    expect(calls.filter((call) => call === "read")).toHaveLength(3);
    expect(calls.filter((call) => call === "enqueue")).toHaveLength(4);
  });

  test("that cannot be read fail the tasks that they are of, and no others of a batch", async () => {
    const { store } = opened;
    await putClient(store, "c", { allowedHosts: ["example.com"] });
    const failing = withMethods(store, {
      read: () => Promise.reject(new TaskRunnerError("store_unavailable", "gone")),
    });
    const over = serviceOver({ store: failing, clock: opened.clock });
    const { results } = await over.enqueueBatch([request("free"), request("c")], CONTEXT);
    expect(results[0]).toMatchObject({ result: { kind: "created" } });
    expect(results[1]).toMatchObject({ code: "store_unavailable" });
  });
});
