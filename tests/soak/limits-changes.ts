/** The proof that a change of a client holds for the next request and the next claim, whichever process it was made through. */

import { until } from "../support/redis.ts";
import { Fleet } from "./limits-fleet.ts";
import { CountingTarget } from "./limits-target.ts";

const CLIENT = "changing";
/** Whose tasks show that workers go on claiming. */
const OTHER = "other";
const WORKERS = 2;
const CONCURRENCY = 20;
const TASKS = 40;
const AT_ONCE = 4;
const MORE_AT_ONCE = 9;
const SETTLED_MS = 15_000;

export interface ChangesReport {
  /** Under way before and after the client was allowed more at once. */
  readonly atOnce: readonly [before: number, after: number];
  /** From the request for that change until the target saw it. */
  readonly raisedAfterMs: number;
  /** What the other API said to the client's next task: once it was disabled, and with its requests used up. */
  readonly whileDisabled: readonly [status: number, code: string | undefined];
  readonly whileLimited: readonly [status: number, code: string | undefined];
  /** The client's tasks that were begun although it was disabled, while another's were all delivered. */
  readonly begunWhileDisabled: number;
  readonly waitingWhileDisabled: number;
  /** From the request to enable it until its next task arrived. */
  readonly resumedAfterMs: number;
  /** What an API said to its next task. */
  readonly afterwards: number;
  readonly undelivered: number;
}

/** Runs the proof on Redis with two APIs and two workers; rejects only when it could not be run. */
export async function changesProof(): Promise<ChangesReport> {
  const target = new CountingTarget();
  const fleet = await Fleet.open("redis");
  try {
    const [one, other] = await fleet.serve(2);
    if (one === undefined || other === undefined) throw new Error("there are no two APIs");
    await fleet.work(WORKERS, CONCURRENCY);
    const free = { requests_per_minute: null, max_concurrent: AT_ONCE };
    await one.setClient(CLIENT, { overrides: free });
    await other.setClient(OTHER, { overrides: { ...free, max_concurrent: null } });
    const task = { client_id: CLIENT, task: { url: target.urlOf(CLIENT) } };

    target.hold();
    await one.fill(TASKS, () => task);
    await target.until("its slots are taken", SETTLED_MS, () => target.inFlight === AT_ONCE);
    const before = target.inFlight;
    const raisedAt = performance.now();
    await one.setClient(CLIENT, { overrides: { ...free, max_concurrent: MORE_AT_ONCE } });
    await target.until("it uses what it got", SETTLED_MS, () => target.inFlight >= MORE_AT_ONCE);
    const raisedAfterMs = performance.now() - raisedAt;

    await one.setClient(CLIENT, { enabled: false });
    const disabled = await other.enqueue(task);
    const atDisabling = target.of(CLIENT).length;
    const after = target.peak;
    target.release();
    await until("what ran has ended", SETTLED_MS, async () => (await other.client(CLIENT)).running === 0);
    // These came later and are handed out by the same workers: what was to begin would have begun.
    await one.fill(TASKS, () => ({ client_id: OTHER, task: { url: target.urlOf(OTHER) } }));
    await target.until("another's are delivered", SETTLED_MS, () => target.of(OTHER).length === TASKS);
    const begunWhileDisabled = target.of(CLIENT).length - atDisabling;
    const waitingWhileDisabled = (await one.queue("default")).counts.ready;

    const enabledAt = performance.now();
    await other.setClient(CLIENT, { enabled: true });
    await target.until("it goes on", SETTLED_MS, () => target.of(CLIENT).length > atDisabling);
    const resumedAfterMs = performance.now() - enabledAt;
    await target
      .until("all are delivered", SETTLED_MS, () => target.of(CLIENT).length >= TASKS)
      .catch(() => {});
    const undelivered = TASKS - new Set(target.of(CLIENT).map(({ taskId }) => taskId)).size;

    await other.setClient(CLIENT, { overrides: { requests_per_minute: 0 } });
    const limited = await one.enqueue(task);
    await one.setClient(CLIENT, { overrides: {} });
    const afterwards = await other.enqueue(task);
    return {
      atOnce: [before, after],
      raisedAfterMs: Math.round(raisedAfterMs),
      whileDisabled: [disabled.status, disabled.body.code],
      whileLimited: [limited.status, limited.body.code],
      begunWhileDisabled,
      waitingWhileDisabled,
      resumedAfterMs: Math.round(resumedAfterMs),
      afterwards: afterwards.status,
      undelivered,
    };
  } finally {
    await fleet.close();
    await target.stop();
  }
}
