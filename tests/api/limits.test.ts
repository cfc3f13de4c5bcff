import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { newQueue } from "../../src/core/queue.ts";
import {
  type Answered,
  enqueueBody,
  putClient,
  putSettings,
  send,
  startApi,
  type TestApi,
  type TestApiOptions,
} from "./support.ts";

let api: TestApi;
const start = async (options: TestApiOptions = {}) => {
  await api?.close();
  api = await startApi({ settings: { limits: true }, ...options });
};
beforeEach(() => start());
afterEach(async () => {
  await api.close();
});

const enqueue = (overrides: Record<string, unknown> = {}) =>
  send("POST", `${api.url}/v1/enqueue`, enqueueBody(overrides));
const batch = (tasks: unknown[]) => send("POST", `${api.url}/v1/enqueue/batch`, { tasks });

function rateOf({ headers }: Answered) {
  return ["limit", "remaining", "reset", "policy"].map((name) => headers.get(`ratelimit-${name}`));
}

describe("requests a minute", () => {
  test("are told with every task that is taken, also a duplicate, which costs none", async () => {
    expect(rateOf(await enqueue({ name: "n" }))).toEqual(["10", "9", "60", "10;w=60"]);
    const duplicate = await enqueue({ name: "n" });
    expect([duplicate.status, rateOf(duplicate)]).toEqual([200, ["10", "9", "60", "10;w=60"]]);
  });

  test("over the limit are refused with who, what, how long and how to raise it, and keep nothing", async () => {
    for (let i = 0; i < 10; i++) {
      await api.clock.advance(1_000);
      expect((await enqueue()).status).toBe(202);
    }
    const refused = await enqueue();
    expect([refused.status, refused.body.code]).toEqual([429, "rate_limited"]);
    for (const part of ['"my-service"', '"free"', "10", "51 s", "/admin/clients/set"]) {
      expect(refused.body.detail).toContain(part);
    }
    expect(refused.headers.get("retry-after")).toBe("51");
    expect(rateOf(refused)).toEqual(["10", "0", "60", "10;w=60"]);
    expect((await enqueue({ client_id: "other" })).status).toBe(202);
    await api.clock.advance(50_999);
    expect((await enqueue()).headers.get("retry-after")).toBe("1");
    await api.clock.advance(1);
    expect((await enqueue()).status).toBe(202);
    expect((await send("GET", `${api.url}/v1/tasks?client_id=my-service&limit=100`)).body.tasks).toHaveLength(
      11,
    );
  });

  test("of a batch are admitted one by one", async () => {
    const answer = await batch(Array.from({ length: 15 }, () => enqueueBody()));
    expect(answer.status).toBe(202);
    expect(answer.body).toMatchObject({ enqueued: 10, rejected: 5 });
    expect(answer.body.results[12]).toMatchObject({ status: "rejected", code: "rate_limited" });
    expect(answer.body.results[12].detail).toContain("/admin/clients/set");
    expect(rateOf(answer)).toEqual(["10", "0", "60", "10;w=60"]);
  });

  test("are not told with a batch of several clients", async () => {
    const answer = await batch([enqueueBody(), enqueueBody({ client_id: "other" })]);
    expect(rateOf(answer)).toEqual([null, null, null, null]);
  });

  test("are not told to a client without a limit", async () => {
    await putClient(api.store, "my-service", { overrides: { requestsPerMinute: null } });
    for (let i = 0; i < 12; i++) expect(rateOf(await enqueue())).toEqual([null, null, null, null]);
  });

  test("have the new limit from the next request on", async () => {
    await batch(Array.from({ length: 10 }, () => enqueueBody()));
    expect((await enqueue()).status).toBe(429);
    await putClient(api.store, "my-service", { tier: "basic" });
    expect(rateOf(await enqueue())).toEqual(["100", "89", "60", "100;w=60"]);
    await putClient(api.store, "my-service", { overrides: { requestsPerMinute: 0 } });
    expect((await enqueue()).status).toBe(429);
  });
});

describe("who may hand in what", () => {
  test("a disabled client is refused, in a batch as well", async () => {
    await putClient(api.store, "my-service", { enabled: false });
    const one = await enqueue();
    expect([one.status, one.body.code]).toEqual([403, "client_disabled"]);
    const { body } = await batch([enqueueBody(), enqueueBody({ client_id: "other" })]);
    expect(body.results.map(({ status, code }: Record<string, string>) => code ?? status)).toEqual([
      "client_disabled",
      "enqueued",
    ]);
    await putClient(api.store, "my-service", { enabled: true });
    expect((await enqueue()).status).toBe(202);
  });

  test("a disabled queue takes no task", async () => {
    await putSettings(api.store, "queue", "mail", (queue) => ({ ...(queue ?? newQueue(0)), enabled: false }));
    const answer = await enqueue({ queue: "mail" });
    expect([answer.status, answer.body.code]).toEqual([409, "queue_disabled"]);
    expect((await enqueue()).status).toBe(202);
  });

  test("a queue that is not there is made, or refused where tasks make none", async () => {
    expect((await enqueue({ queue: "new" })).status).toBe(202);
    await start({ settings: { limits: true, autoCreateQueues: false } });
    const answer = await enqueue({ queue: "new" });
    expect([answer.status, answer.body.code]).toEqual([404, "queue_not_found"]);
    expect(answer.body.detail).toContain("POST /admin/queues/set");
    expect((await enqueue()).status).toBe(202);
  });

  test("lists of queues and hosts refuse what is not on them", async () => {
    await putClient(api.store, "my-service", { allowedQueues: ["mail"], allowedHosts: ["*.example.com"] });
    const answer = await enqueue();
    expect([answer.status, answer.body.code]).toEqual([403, "forbidden"]);
    expect(answer.body.errors.map(({ path }: { path: string }) => path)).toEqual(["queue", "task.url"]);
    const fine = enqueueBody({ queue: "mail", task: { url: "https://a.example.com/" } });
    const { body } = await batch([fine, enqueueBody({ queue: "mail" })]);
    expect(body.results[0].status).toBe("enqueued");
    expect(body.results[1]).toMatchObject({ code: "forbidden", errors: [{ path: "tasks[1].task.url" }] });
  });
});
