/** All that the bench measures, in the order in which it does. */

import type { Scenario } from "./scenario.ts";
import { batch } from "./scenarios/batch.ts";
import { burst } from "./scenarios/burst.ts";
import { claimCosts } from "./scenarios/claim-cost.ts";
import { delayed } from "./scenarios/delayed.ts";
import { dispatches } from "./scenarios/dispatch.ts";
import { enqueues } from "./scenarios/enqueue.ts";
import { grouped } from "./scenarios/grouped.ts";
import { latencies } from "./scenarios/latency.ts";
import { memory } from "./scenarios/memory.ts";
import { redisCost } from "./scenarios/redis-cost.ts";
import { redisMemory } from "./scenarios/redis-memory.ts";
import { replicated } from "./scenarios/replicated.ts";
import { scaling } from "./scenarios/scaling.ts";

export const SCENARIOS: readonly Scenario[] = [
  ...enqueues,
  replicated,
  batch,
  grouped,
  ...dispatches,
  ...latencies,
  delayed,
  burst,
  redisMemory,
  redisCost,
  ...claimCosts,
  memory,
  scaling,
];
