/** What a task costs in processor time: of the process that serves or delivers, and of its Redis. */

import { cpuMs } from "./process-use.ts";
import { type BenchRedis, between } from "./redis.ts";
import type { Measurement, Metric } from "./scenario.ts";

/** The figures of a meter; contestants without such a process, or without a Redis, lack them. */
export const CPU_METRICS: readonly Metric[] = [
  { name: "cpu", title: "CPU of the process", unit: "µs a task", better: "lower", optional: true },
  { name: "cpuRedis", title: "CPU of Redis", unit: "µs a task", better: "lower", optional: true },
];

/** Begins to count; the returned function gives the figures for so many tasks done since. */
export async function meterCpu(
  pid: number,
  redis: BenchRedis | null,
): Promise<(tasks: number) => Promise<Measurement>> {
  const before = { ms: await cpuMs(pid), redis: await redis?.tally() };
  return async (tasks) => {
    const usedMs = (await cpuMs(pid)) - before.ms;
    const after = await redis?.tally();
    return {
      cpu: (usedMs * 1_000) / tasks,
      ...(before.redis !== undefined &&
        after !== undefined && { cpuRedis: (between(before.redis, after).cpuMs * 1_000) / tasks }),
    };
  };
}
