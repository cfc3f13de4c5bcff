/** What the whole installation is doing now: tasks by state, hosts that are held back, and the workers that are there. */

import { type Static, Type } from "@sinclair/typebox";
import type { ProducerStore, SettingsStore, TaskStore } from "../core/store.ts";
import { TASK_STATES, type TaskState } from "../core/task.ts";
import { WORKER_SEEN_WITHIN_MS } from "./reasons.ts";
import { TimeSchema, timeJson } from "./schema-words.ts";

const CountSchema = Type.Integer({ minimum: 0 });

export const StatsSchema = Type.Object(
  {
    store: Type.String({ description: "The kind of store." }),
    queues: Type.Integer({ minimum: 0, description: "Queues that have tasks, finished ones included." }),
    tasks: Type.Object(
      Object.fromEntries(TASK_STATES.map((state) => [state, CountSchema])) as Record<
        TaskState,
        typeof CountSchema
      >,
      { description: "Tasks by state." },
    ),
    hosts: Type.Array(
      Type.Object({
        host: Type.String({ description: "Scheme, name and port." }),
        next_probe_at: Type.String({
          format: "date-time",
          description: "When one of its tasks tries it again, or when the try under way is given up.",
        }),
        tasks: Type.Integer({
          minimum: 0,
          description: "Its tasks that wait for that, as far as they were met.",
        }),
      }),
      {
        description:
          "Hosts that are held back after failures, those tried again soonest first; at most 1,000.",
      },
    ),
    workers: Type.Array(
      Type.Object({
        worker: Type.String(),
        version: Type.String(),
        concurrency: Type.Integer({ description: "Tasks that it runs at once at most." }),
        started_at: TimeSchema,
        seen_at: TimeSchema,
      }),
      { description: "Workers that were heard of lately." },
    ),
  },
  { $id: "Stats" },
);
export type StatsJson = Static<typeof StatsSchema>;

export interface StatsOptions {
  readonly store: Pick<ProducerStore, "counts" | "workers"> &
    Pick<SettingsStore, "heldHosts"> &
    Pick<TaskStore, "name">;
}

export class Stats {
  readonly #options: StatsOptions;

  constructor(options: StatsOptions) {
    this.#options = options;
  }

  /** It is read in several calls, so that it may be of slightly different moments. */
  async read(): Promise<StatsJson> {
    const { store } = this.#options;
    const [counts, hosts, workers] = await Promise.all([
      store.counts(),
      store.heldHosts(),
      store.workers(WORKER_SEEN_WITHIN_MS),
    ]);
    const totals = TASK_STATES.map((state) => [
      state,
      counts.reduce((sum, { states }) => sum + states[state], 0),
    ]);
    return {
      store: store.name,
      queues: new Set(counts.map(({ queue }) => queue)).size,
      tasks: Object.fromEntries(totals) as Record<TaskState, number>,
      hosts: hosts.map(({ host, nextProbeAtMs, tasks }) => ({
        host,
        next_probe_at: timeJson(nextProbeAtMs),
        tasks,
      })),
      workers: workers.map(({ id, version, concurrency, startedAtMs, seenAtMs }) => ({
        worker: id,
        version,
        concurrency,
        started_at: timeJson(startedAtMs),
        seen_at: timeJson(seenAtMs),
      })),
    };
  }
}
