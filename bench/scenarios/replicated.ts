/** What it costs to acknowledge a task only once a replica has it too. */

import { startTaskRunner } from "../contestants/task-runner.ts";
import { load } from "../load.ts";
import { ENQUEUE_PATH, enqueueBody, NOWHERE } from "../load-shape.ts";
import type { Contestant, Scenario } from "../scenario.ts";

const CONNECTIONS = 64;
const TIMES = {
  full: { warmUpMs: 1_500, measureMs: 4_000 },
  quick: { warmUpMs: 100, measureMs: 200 },
} as const;

function acknowledgedBy(durability: "primary" | "replicated", name: string, about: string): Contestant {
  return {
    name,
    about,
    run: async (room, scale) => {
      const cluster = await room.startSentinels();
      const { port } = await startTaskRunner(room, "serve", {
        STORE_URL: cluster.url,
        DURABILITY: durability,
      });
      const { perSec } = await load(room, {
        port,
        path: ENQUEUE_PATH,
        body: enqueueBody(NOWHERE),
        connections: CONNECTIONS,
        ...TIMES[scale],
      });
      return { rate: perSec };
    },
  };
}

export const replicated: Scenario = {
  name: "replicated",
  title: "Enqueue over HTTP through Sentinel, replicated and not",
  about: `A primary with one replica under one Sentinel, all on this machine; ${CONNECTIONS} connections as above.`,
  metrics: [{ name: "rate", title: "acknowledged", unit: "/s", better: "higher" }],
  contestants: [
    acknowledgedBy("primary", "primary", "acknowledged once the primary has it"),
    acknowledgedBy(
      "replicated",
      "replicated",
      "acknowledged once the replica has it too, the default under Sentinel",
    ),
  ],
  references: ["primary"],
  limitMs: 60_000,
};
