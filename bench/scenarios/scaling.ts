/** What a second API process and a second worker bring where the machine has no core left for them, and where one ends. */

import { onRedis, startTaskRunner } from "../contestants/task-runner.ts";
import { enqueueMany } from "../fill.ts";
import { load } from "../load.ts";
import { ENQUEUE_PATH, enqueueBody, NOWHERE } from "../load-shape.ts";
import type { Contestant, Measurement, Scenario } from "../scenario.ts";
import { startTarget } from "../target.ts";

const CONNECTIONS = 64;
const CONCURRENCY = 100;
const TASKS = { full: 60_000, quick: 1_000 } as const;
const TIMES = {
  full: { warmUpMs: 1_500, measureMs: 4_000 },
  quick: { warmUpMs: 100, measureMs: 200 },
} as const;

function processes(count: number): Contestant {
  const each = Array.from({ length: count }, (_, i) => i);
  return {
    name: `${count} of each`,
    about:
      count === 1
        ? "one `serve`, then one `work`"
        : `${count} \`serve\`, then ${count} \`work\`, on one Redis`,
    run: async (room, scale): Promise<Measurement> => {
      const env = { ...onRedis(await room.startRedis()), WORKER_CONCURRENCY: String(CONCURRENCY) };
      const servers = await Promise.all(each.map(() => startTaskRunner(room, "serve", env)));
      const loads = await Promise.all(
        servers.map(({ port }) =>
          load(room, {
            port,
            path: ENQUEUE_PATH,
            body: enqueueBody(NOWHERE),
            connections: CONNECTIONS / count,
            ...TIMES[scale],
          }),
        ),
      );
      const target = await startTarget(room, { expected: TASKS[scale] });
      const other = { ...env, ...onRedis(await room.startRedis()) };
      const producer = await startTaskRunner(room, "serve", other);
      await enqueueMany(producer.url, TASKS[scale], target.url);
      await Promise.all([...servers, producer].map((server) => server.stop()));
      await Promise.all(each.map(() => startTaskRunner(room, "work", other)));
      await target.reached;
      return {
        enqueue: loads.reduce((sum, { perSec }) => sum + perSec, 0),
        dispatch: (await target.report()).steadyPerSec,
      };
    },
  };
}

export const scaling: Scenario = {
  name: "scaling",
  title: "More processes on one machine",
  about: `Enqueue over ${CONNECTIONS} connections in all, then dispatch at concurrency ${CONCURRENCY} each, on Redis.`,
  metrics: [
    { name: "enqueue", title: "acknowledged", unit: "/s", better: "higher" },
    { name: "dispatch", title: "delivered", unit: "/s", better: "higher" },
  ],
  contestants: [processes(1), processes(2)],
  references: ["1 of each"],
  limitMs: 120_000,
};
