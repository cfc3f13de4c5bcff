/** The admin API as it is served, with the tiers' real limits, and what tests of it ask for again and again. */

import type { ClaimedTask, TaskStore } from "../../src/core/store.ts";
import { QueueService, type QueueServiceOptions } from "../../src/service/queues.ts";
import { createHttpTransport } from "../../src/transport/http/http.ts";
import { TransportRegistry } from "../../src/transport/registry.ts";
import type { ManualClock } from "../support/manual-clock.ts";
import { death, newTask } from "../support/tasks.ts";
import { type Answered, send, startApi, type TestApi, type TestApiOptions } from "./support.ts";

/** The store and the time that services are made for. */
export interface ServiceParts {
  readonly store: TaskStore;
  readonly clock: ManualClock;
}

export interface AdminApi extends TestApi {
  get(path: string, headers?: Record<string, string>): Promise<Answered>;
  post(path: string, body: unknown, headers?: Record<string, string>): Promise<Answered>;
}

/** Queues over a store; private targets are refused unless told otherwise. */
export function queueServiceOver(
  { store, clock }: ServiceParts,
  options: Partial<QueueServiceOptions> = {},
): QueueService {
  const http = createHttpTransport({ allowPrivate: false, version: "test", clock });
  const transports = new TransportRegistry([http]);
  const purges = { start: () => {} };
  return new QueueService({ store, clock, transports, privateTargets: "check", purges, ...options });
}

/** Listens on a free port until closed. */
export async function startAdminApi(options: TestApiOptions = {}): Promise<AdminApi> {
  const api = await startApi({ ...options, settings: { limits: true, ...options.settings } });
  return {
    ...api,
    get: (path, headers) => send("GET", `${api.url}${path}`, undefined, headers),
    post: (path, body, headers) => send("POST", `${api.url}${path}`, body, headers),
  };
}

/** The latest entry of the audit. */
export async function lastEntry(api: AdminApi) {
  const { entries } = (await api.get("/admin/audit?limit=1")).body;
  return entries[0];
}

/** The actions of the audit, the latest first. */
export async function actions(api: AdminApi): Promise<string[]> {
  const { entries } = (await api.get("/admin/audit?limit=1000")).body;
  return entries.map(({ action }: { action: string }) => action);
}

/** Status and code of a refusal. */
export function refusal({ status, body }: Answered): readonly [number, string] {
  return [status, body.code];
}

export async function claim(store: TaskStore, limit = 1): Promise<readonly ClaimedTask[]> {
  return (await store.claim({ worker: "w1", limit, leaseMs: 30_000 })).tasks;
}

/** Puts a dead task into the store and returns its id. */
export async function deadTask(
  store: TaskStore,
  overrides: Parameters<typeof newTask>[0] = {},
): Promise<string> {
  const task = newTask(overrides);
  await store.enqueue([task]);
  const claimed = (await claim(store, 1_000)).find(({ id }) => id === task.id);
  if (claimed === undefined) throw new Error("the task that was to die was not handed out");
  await store.settle([death(claimed)]);
  return task.id;
}
