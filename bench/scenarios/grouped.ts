/** How many tasks a second one process hands to Redis when they come in groups, without HTTP. */

import { jobsOn } from "../contestants/bullmq.ts";
import { tasksOn } from "../contestants/task-runner.ts";
import { assertKept } from "../kept.ts";
import type { GroupedOptions, GroupedResult } from "../processes/grouped.ts";
import type { BenchRedis } from "../redis.ts";
import type { Contestant, Scenario } from "../scenario.ts";

const IN_FLIGHT = 4;
const GROUPS = { small: 64, large: 1_000 } as const;
const TIMES = {
  full: { warmUpMs: 1_000, measureMs: 3_000 },
  quick: { warmUpMs: 50, measureMs: 600 },
} as const;

function producer(
  name: string,
  about: string,
  kind: GroupedOptions["kind"],
  kept: (redis: BenchRedis) => Promise<number>,
): Contestant {
  return {
    name,
    about,
    run: async (room, scale) => {
      const figures: Record<string, number> = {};
      for (const [size, group] of Object.entries(GROUPS)) {
        const redis = await room.startRedis();
        const options: GroupedOptions = {
          kind,
          redis: redis.address,
          redisUrl: redis.url,
          group,
          inFlight: IN_FLIGHT,
          ...TIMES[scale],
        };
        const helper = await room.startHelper("grouped", options);
        const { perSec, acknowledged } = (await helper.event("result")) as GroupedResult;
        assertKept(await kept(redis), acknowledged);
        figures[size] = perSec;
        await helper.stop();
        await redis.stop();
      }
      return figures;
    },
  };
}

export const grouped: Scenario = {
  name: "grouped",
  title: "Grouped enqueue on Redis",
  about: `Straight to the store from one process, tasks of a 133-byte payload in groups, ${IN_FLIGHT} groups in flight.`,
  metrics: [
    { name: "small", title: `groups of ${GROUPS.small}`, unit: "tasks/s", better: "higher" },
    {
      name: "large",
      title: `groups of ${GROUPS.large.toLocaleString("en")}`,
      unit: "tasks/s",
      better: "higher",
    },
  ],
  contestants: [
    producer("Redis store", "the store's `enqueue`", "store", tasksOn),
    producer("BullMQ", "`Queue.addBulk`", "bullmq", jobsOn),
    producer(
      "limit",
      "over our connection, a script that for each task sets a field of a hash and pushes an id, and does nothing else",
      "limit",
      (redis) => redis.number("LLEN", "{bench}:ids"),
    ),
  ],
  references: ["limit", "BullMQ"],
  limitMs: 60_000,
};
