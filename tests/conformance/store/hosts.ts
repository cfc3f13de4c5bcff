/** Conformance: the tasks of a host that is held back wait uncharged, one of them tries it, and nobody else is kept. */

import { describe, expect, test } from "bun:test";
import { MAX_HELD_HOSTS, type TaskStore } from "../../../src/core/store.ts";
import type { NewTask } from "../../../src/core/task.ts";
import { newTarget, newTask, newTasks, release, retry, success } from "../../support/tasks.ts";
import { auditEntry, queueUseOf, setClient, setQueue, useOf } from "./admin.ts";
import {
  drain,
  idsOf,
  LEASE_MS,
  listAll,
  MINUTE_MS,
  type OpenStore,
  put,
  read,
  reopened,
  SECOND_MS,
  secondOf,
  settle,
  take,
  takeOne,
  withStore,
} from "./harness.ts";
import { listen, quiet } from "./hints.ts";
import { expectCounts } from "./listing.ts";

const DEAD = "http://dead.test";
const WELL = "http://well.test";
const target = newTarget({ url: `${DEAD}/hook` });
const wellTarget = newTarget({ url: `${WELL}/hook` });

const toDead = (count: number, overrides: Partial<NewTask> = {}) => newTasks(count, { target, ...overrides });
const toWell = (count: number, overrides: Partial<NewTask> = {}) =>
  newTasks(count, { target: wellTarget, ...overrides });

/** Has claims meet the tasks of held hosts until nothing is left to claim; no task may come of it. */
async function meetAll(store: TaskStore): Promise<void> {
  expect(await drain(store)).toEqual([]);
}

export function hostTests(open: OpenStore, offers: { reopen: boolean; second: boolean }): void {
  describe("a held host", () => {
    test(
      "keeps its own tasks back, uncharged, and no others",
      withStore(open, async ({ store }) => {
        const [dead, well] = [toDead(5), toWell(5)];
        const others = ["http://dead.test:81/", "https://dead.test/", "http://dead.test.org/"].map((url) =>
          newTask({ target: newTarget({ url }) }),
        );
        const same = newTask({ target: newTarget({ url: "HTTP://Dead.test:80?a=b" }) });
        await put(store, ...dead, same, ...well, ...others);
        await store.holdHost(DEAD, MINUTE_MS);
        const tasks = await drain(store, 3);
        expect(idsOf(tasks).sort()).toEqual(idsOf([...well, ...others]).sort());
        expect(tasks.some(({ isProbe }) => isProbe)).toBe(false);
        for (const { id } of [...dead, same])
          expect(await read(store, id)).toMatchObject({ state: "ready", attempts: 0, releases: 0, fence: 0 });
        expect((await useOf(store, "client-a")).running).toBe(tasks.length);
        await expectCounts(store, await listAll(store));
        expect((await listAll(store, { state: "ready" })).length).toBe(6);
      }),
    );

    test(
      "is tried with the oldest of its tasks once its time has come, and with one only",
      withStore(open, async (opened) => {
        const { store, advance } = opened;
        const other = offers.second ? await secondOf(opened) : store;
        const tasks = toDead(4);
        await put(store, ...tasks);
        await store.holdHost(DEAD, MINUTE_MS);
        await meetAll(store);
        await advance(MINUTE_MS - 5 * SECOND_MS);
        await meetAll(other);
        for (const probed of tasks.slice(0, 2)) {
          await advance(MINUTE_MS);
          const [probe, ...more] = [...(await take(other, 10)), ...(await take(store, 10))];
          expect(more).toEqual([]);
          expect(probe).toMatchObject({ id: probed.id, isProbe: true, attempt: 1 });
          await meetAll(store);
          await meetAll(other);
        }
      }),
    );

    test(
      "is tried with a task that was not met before",
      withStore(open, async ({ store, advance }) => {
        await store.holdHost(DEAD, MINUTE_MS);
        await advance(MINUTE_MS + SECOND_MS);
        await put(store, ...toDead(3), ...toWell(3));
        const tasks = await drain(store);
        expect(tasks.length).toBe(4);
        expect(tasks.filter(({ isProbe }) => isProbe).length).toBe(1);
        expect(tasks.find(({ isProbe }) => isProbe)?.target.url).toBe(target.url);
      }),
    );

    test(
      "held again begins its time anew",
      withStore(open, async ({ store, advance }) => {
        await put(store, ...toDead(2));
        await store.holdHost(DEAD, MINUTE_MS);
        await meetAll(store);
        await advance(MINUTE_MS - 5 * SECOND_MS);
        await store.holdHost(DEAD, MINUTE_MS);
        await advance(30 * SECOND_MS);
        await meetAll(store);
        await advance(31 * SECOND_MS);
        expect(await take(store, 10)).toMatchObject([{ isProbe: true }]);
        await store.holdHost(DEAD, SECOND_MS);
        await advance(2 * SECOND_MS);
        expect(await take(store, 10)).toMatchObject([{ isProbe: true }]);
      }),
    );

    test(
      "says when it is tried next, where tasks wait for it",
      withStore(open, async ({ store, advance, now }) => {
        const claim = () => store.claim({ worker: "worker-1", limit: 5, leaseMs: LEASE_MS });
        await store.holdHost(DEAD, MINUTE_MS);
        await store.holdHost(WELL, 5 * MINUTE_MS);
        expect((await claim()).nextInMs).toBeNull();
        await put(store, ...toDead(2));
        await meetAll(store);
        expect((await claim()).nextInMs).toBeWithin(MINUTE_MS - 5 * SECOND_MS, MINUTE_MS + 1);
        const [first, second] = await store.heldHosts();
        expect(first).toMatchObject({ host: DEAD, tasks: 2 });
        expect((first?.nextProbeAtMs ?? 0) - now()).toBeWithin(MINUTE_MS - 5 * SECOND_MS, MINUTE_MS + 1);
        expect(second).toMatchObject({ host: WELL, tasks: 0 });
        await advance(MINUTE_MS + SECOND_MS);
        expect((await take(store, 5)).length).toBe(1);
        expect((await claim()).nextInMs).toBeWithin(MINUTE_MS - 5 * SECOND_MS, MINUTE_MS + 1);
        expect((await store.heldHosts())[0]).toMatchObject({ host: DEAD, tasks: 1 });
      }),
    );

    test(
      "that is let go has its tasks back in their order, before later ones, and hints at work",
      withStore(open, async (opened) => {
        const { store, advance } = opened;
        const tasks: NewTask[] = [];
        for (let i = 0; i < 5; i++) {
          const [task] = toDead(1);
          if (task === undefined) continue;
          tasks.push(task);
          await put(store, task);
          await advance(5);
        }
        await store.holdHost(DEAD, MINUTE_MS);
        await meetAll(store);
        await advance(5);
        const later = toWell(2);
        await put(store, ...later);
        await quiet(opened);
        const ear = listen(store);
        await store.freeHost(DEAD);
        expect(await ear.heard(opened, "work")).toBe(true);
        expect(await store.heldHosts()).toEqual([]);
        const back = await drain(store, 2);
        expect(idsOf(back)).toEqual(idsOf([...tasks, ...later]));
        expect(back.every(({ isProbe, attempt }) => !isProbe && attempt === 1)).toBe(true);
        await store.freeHost(DEAD);
        await store.freeHost("http://never-held.test");
      }),
    );

    test(
      "gives back thousands of tasks share by share, each once, and says while there are more",
      withStore(open, async ({ store }) => {
        const counts = [2_500, 30, 1];
        for (const [i, count] of counts.entries()) await put(store, ...toDead(count, { clientId: `c${i}` }));
        await store.holdHost(DEAD, MINUTE_MS);
        await meetAll(store);
        expect(await store.heldHosts()).toMatchObject([{ host: DEAD, tasks: 2_531 }]);
        await store.freeHost(DEAD);
        const seen = new Set<string>();
        for (let claims = 0; seen.size < 2_531; claims++) {
          expect(claims).toBeLessThan(2_000);
          const { tasks, nextInMs } = await store.claim({ worker: "w", limit: 50, leaseMs: LEASE_MS });
          for (const { id } of tasks) expect(seen.has(id)).toBe(false);
          for (const { id } of tasks) seen.add(id);
          if (seen.size < 2_531) expect(nextInMs).toBe(0);
        }
        await meetAll(store);
      }),
      30_000,
    );

    test(
      "held again while its tasks come back keeps all of them",
      withStore(open, async ({ store }) => {
        await put(store, ...toDead(1_500));
        await store.holdHost(DEAD, MINUTE_MS);
        await meetAll(store);
        await store.freeHost(DEAD);
        const got = await take(store, 20);
        expect(got.length).toBeLessThanOrEqual(20);
        await store.holdHost(DEAD, MINUTE_MS);
        await meetAll(store);
        expect(await store.heldHosts()).toMatchObject([{ host: DEAD, tasks: 1_500 - got.length }]);
        await store.freeHost(DEAD);
        expect((await drain(store)).length).toBe(1_500 - got.length);
      }),
      30_000,
    );
  });

  describe("beside a held host", () => {
    test(
      "a task behind some of its tasks is handed out by the same claim",
      withStore(open, async ({ store }) => {
        const well = toWell(3);
        await put(store, ...toDead(3), ...well.slice(0, 1), ...toDead(2), ...well.slice(1));
        await store.holdHost(DEAD, MINUTE_MS);
        expect(idsOf(await take(store, 3))).toEqual(idsOf(well));
      }),
    );

    test(
      "others get full claims while thousands of its tasks are met",
      withStore(open, async ({ store }) => {
        await put(store, ...toDead(5_000, { clientId: "dead", priority: "critical" }), ...toDead(2_000));
        await put(store, ...toWell(1_000, { clientId: "well" }));
        await store.holdHost(DEAD, MINUTE_MS);
        for (let claims = 0; claims < 20; claims++) {
          const tasks = await take(store, 50);
          expect(tasks.length, `claim ${claims}`).toBe(50);
          expect(tasks.every(({ clientId }) => clientId === "well")).toBe(true);
        }
        await meetAll(store);
        expect(await store.heldHosts()).toMatchObject([{ tasks: 7_000 }]);
      }),
      30_000,
    );

    test(
      "a lane is worked off behind thousands of its tasks",
      withStore(open, async ({ store }) => {
        await put(store, ...toDead(4_000));
        const well = toWell(10);
        await put(store, ...well);
        await store.holdHost(DEAD, MINUTE_MS);
        let claims = 0;
        for (let got = 0; got < 10; claims++) {
          const { tasks, nextInMs } = await store.claim({ worker: "w", limit: 20, leaseMs: LEASE_MS });
          got += tasks.length;
          if (got < 10) expect(nextInMs).toBe(0);
          expect(claims).toBeLessThan(40);
        }
      }),
      30_000,
    );

    test(
      "limits and rates are not charged for what is set aside",
      withStore(open, async ({ store }) => {
        await setQueue(store, "slow", { maxDispatchesPerSec: 0.001, maxBurst: 2, maxConcurrent: 2 });
        await setClient(store, "narrow", { overrides: { maxConcurrent: 2 } });
        const of = { queue: "slow", clientId: "narrow" };
        await put(store, ...toDead(20, of), ...toWell(2, of));
        await store.holdHost(DEAD, MINUTE_MS);
        const tasks = await drain(store, 5);
        expect(tasks.map((task) => task.target.url)).toEqual([wellTarget.url, wellTarget.url]);
        expect((await queueUseOf(store, "slow")).running).toBe(2);
        expect((await useOf(store, "narrow")).running).toBe(2);
      }),
    );
  });

  describe("a held host's probe", () => {
    test(
      "keeps to its client's and its queue's limits",
      withStore(open, async ({ store, advance }) => {
        await setClient(store, "narrow", { overrides: { maxConcurrent: 1 } });
        const of = { clientId: "narrow" };
        await put(store, ...toDead(2, of));
        await store.holdHost(DEAD, 10 * SECOND_MS);
        await meetAll(store);
        await put(store, ...toWell(1, of));
        const busy = await takeOne(store);
        await advance(11 * SECOND_MS);
        await meetAll(store);
        await settle(store, success(busy));
        await advance(2 * SECOND_MS);
        expect(await take(store, 10)).toMatchObject([{ isProbe: true, clientId: "narrow" }]);
        expect((await useOf(store, "narrow")).running).toBe(1);
      }),
    );

    test(
      "is another client's task where the oldest may not begin",
      withStore(open, async ({ store, advance }) => {
        await put(store, ...toDead(3, { clientId: "off" }));
        await put(store, ...toDead(3, { clientId: "on" }));
        await store.holdHost(DEAD, 10 * SECOND_MS);
        await meetAll(store);
        await setClient(store, "off", { enabled: false });
        await advance(11 * SECOND_MS);
        expect(await take(store, 10)).toMatchObject([{ isProbe: true, clientId: "on" }]);
      }),
    );

    test(
      "that its worker does not come back with is followed by another, and is not lost",
      withStore(open, async ({ store, advance }) => {
        const tasks = toDead(2);
        await put(store, ...tasks);
        await store.holdHost(DEAD, 2 * LEASE_MS);
        await meetAll(store);
        await advance(2 * LEASE_MS + SECOND_MS);
        const probe = await takeOne(store);
        await advance(LEASE_MS + SECOND_MS);
        expect(idsOf(await store.rescue(10))).toEqual([probe.id]);
        await meetAll(store);
        await advance(2 * LEASE_MS);
        const [next, ...more] = await take(store, 10);
        expect(next?.isProbe).toBe(true);
        await store.freeHost(DEAD);
        const all = [next, ...more, ...(await take(store, 10))];
        expect(all.map((task) => [task?.id, task?.crashes]).sort()).toEqual(
          tasks.map(({ id }) => [id, id === probe.id ? 1 : 0]).sort() as [string, number][],
        );
      }),
    );

    test(
      "is set aside like the others when it comes back",
      withStore(open, async ({ store, advance }) => {
        await put(store, ...toDead(2));
        await store.holdHost(DEAD, 10 * SECOND_MS);
        await meetAll(store);
        await advance(11 * SECOND_MS);
        await settle(store, release(await takeOne(store), 0));
        await meetAll(store);
        expect(await store.heldHosts()).toMatchObject([{ tasks: 2 }]);
        await advance(10 * SECOND_MS);
        await settle(store, retry(await takeOne(store), SECOND_MS));
        await advance(2 * SECOND_MS);
        await meetAll(store);
        expect(await store.heldHosts()).toMatchObject([{ tasks: 2 }]);
      }),
    );
  });

  describe("a task set aside for its host", () => {
    test(
      "is cancelled, moved, and started like any that is ready",
      withStore(open, async ({ store, now, advance }) => {
        const tasks = toDead(4);
        await put(store, ...tasks);
        await store.holdHost(DEAD, MINUTE_MS);
        await meetAll(store);
        const [gone, moved, raised, started] = idsOf(tasks) as [string, string, string, string];
        expect(await store.cancel(gone)).toMatchObject({ kind: "changed", task: { state: "cancelled" } });
        const later = { scheduledAtMs: now() + 30 * SECOND_MS };
        expect(await store.reschedule(moved, later)).toMatchObject({ task: { state: "scheduled" } });
        expect(await store.reschedule(raised, { priority: "high" })).toMatchObject({
          task: { state: "ready", priority: "high" },
        });
        expect(await store.runNow(started)).toMatchObject({ kind: "changed", task: { state: "ready" } });
        expect((await store.replay(raised)).kind).toBe("conflict");
        await expectCounts(store, await listAll(store));
        await meetAll(store);
        expect(await store.heldHosts()).toMatchObject([{ tasks: 2 }]);
        await advance(31 * SECOND_MS);
        await meetAll(store);
        expect(await store.heldHosts()).toMatchObject([{ tasks: 3 }]);
        await store.freeHost(DEAD);
        expect(idsOf(await drain(store)).sort()).toEqual([moved, raised, started].sort());
        await expectCounts(store, await listAll(store));
      }),
    );

    test(
      "keeps its ordering key",
      withStore(open, async ({ store }) => {
        const [first] = toDead(1, { orderingKey: "k" });
        const [second] = toWell(1, { orderingKey: "k" });
        if (!first || !second) throw new Error("no tasks");
        await put(store, first, second);
        await store.holdHost(DEAD, MINUTE_MS);
        await meetAll(store);
        expect(await store.keyHolder(second.id)).toBe(first.id);
        await store.cancel(first.id);
        expect(idsOf(await take(store, 10))).toEqual([second.id]);
        expect(await store.heldHosts()).toMatchObject([{ tasks: 0 }]);
      }),
    );

    test(
      "goes with a purge of its queue, and its name with it",
      withStore(open, async ({ store }) => {
        const [named] = toDead(1, { name: "n" });
        if (!named) throw new Error("no task");
        await put(store, named, ...toDead(49), ...toDead(3, { queue: "other" }));
        await store.holdHost(DEAD, MINUTE_MS);
        await meetAll(store);
        await store.purge("default", auditEntry());
        for (let steps = 0; steps < 100 && (await store.purgeStep(20)) !== null; steps++);
        expect(await store.heldHosts()).toMatchObject([{ tasks: 3 }]);
        await put(store, newTask({ name: "n", target: wellTarget }));
        await store.freeHost(DEAD);
        expect((await drain(store)).length).toBe(4);
        await expectCounts(store, await listAll(store));
      }),
    );

    test(
      "is called where its queue sends it",
      withStore(open, async ({ store }) => {
        await setQueue(store, "sent", { target: { url: `${DEAD}/all` } });
        await setQueue(store, "headers", { target: { headers: { a: "b" } } });
        const [kept, free] = [toWell(3, { queue: "sent" }), toWell(2, { queue: "headers" })];
        await put(store, ...kept, ...free, ...toDead(1, { queue: "headers" }));
        const report = toWell(1, { queue: "sent", metadata: { "task-runner.report_of": "t" } });
        await put(store, ...report);
        await store.holdHost(DEAD, MINUTE_MS);
        expect(idsOf(await drain(store)).sort()).toEqual(idsOf([...free, ...report]).sort());
        expect(await store.heldHosts()).toMatchObject([{ tasks: 4 }]);
      }),
    );

    test(
      "goes on when its queue sends it elsewhere, or is emptied by consumers",
      withStore(open, async ({ store }) => {
        const [sent, pulled] = [toDead(3, { queue: "sent" }), toDead(3, { queue: "pulled" })];
        await put(store, ...sent, ...pulled, ...toDead(3));
        await store.holdHost(DEAD, MINUTE_MS);
        await meetAll(store);
        await setQueue(store, "sent", { target: { url: `${WELL}/all` } });
        expect(idsOf(await drain(store))).toEqual(idsOf(sent));
        await setQueue(store, "pulled", { mode: "pull" });
        await meetAll(store);
        expect(idsOf(await take(store, 10, { queue: "pulled" }))).toEqual(idsOf(pulled));
        await meetAll(store);
        expect(await store.heldHosts()).toMatchObject([{ host: DEAD, tasks: 3 }]);
      }),
    );
  });

  test(
    "a pull queue's tasks are handed out whatever host they name",
    withStore(open, async ({ store, advance }) => {
      await setQueue(store, "pulled", { mode: "pull" });
      await put(store, ...toDead(4, { queue: "pulled" }));
      await store.holdHost(DEAD, MINUTE_MS);
      const request = { queue: "pulled", worker: "consumer" };
      expect(await take(store, 2, request)).toMatchObject([{ isProbe: false }, { isProbe: false }]);
      await advance(MINUTE_MS + SECOND_MS);
      expect(await take(store, 2, request)).toMatchObject([{ isProbe: false }, { isProbe: false }]);
    }),
  );

  test(
    "hosts past the most that are held let the one go that is tried soonest",
    withStore(open, async ({ store, advance }) => {
      await put(store, ...toDead(2));
      await store.holdHost(DEAD, 5 * MINUTE_MS);
      await meetAll(store);
      for (let i = 0; i < MAX_HELD_HOSTS - 1; i += 500) {
        const hosts = Array.from({ length: Math.min(500, MAX_HELD_HOSTS - 1 - i) }, (_, j) => i + j);
        await Promise.all(hosts.map((n) => store.holdHost(`http://h${n}.test`, 60 * MINUTE_MS)));
      }
      await store.holdHost("http://h7.test", 60 * MINUTE_MS);
      expect((await store.heldHosts()).length).toBe(1_000);
      expect((await store.heldHosts())[0]).toMatchObject({ host: DEAD, tasks: 2 });
      await advance(SECOND_MS);
      await store.holdHost("http://one-more.test", 60 * MINUTE_MS);
      expect((await store.heldHosts())[0]?.host).toBe("http://h0.test");
      expect((await drain(store)).map(({ isProbe }) => isProbe)).toEqual([false, false]);
    }),
    60_000,
  );

  if (offers.reopen) {
    test(
      "held hosts and what is set aside for them outlast the store's end",
      withStore(open, async (opened) => {
        await put(opened.store, ...toDead(3));
        await opened.store.holdHost(DEAD, MINUTE_MS);
        await meetAll(opened.store);
        const store = await reopened(opened);
        expect(await store.heldHosts()).toMatchObject([{ host: DEAD, tasks: 3 }]);
        await meetAll(store);
        await opened.advance(MINUTE_MS + SECOND_MS);
        expect(await take(store, 10)).toMatchObject([{ isProbe: true }]);
        await store.freeHost(DEAD);
        expect((await drain(store)).length).toBe(2);
      }),
    );
  }
}
