/** Whether a claim costs more when more tasks wait, or more clients: it must not. */

import type { ClaimCostOptions, ClaimCostResult } from "../processes/claim-cost.ts";
import type { Contestant, Scenario } from "../scenario.ts";

const CLAIMS = { full: 50_000, quick: 500 } as const;
/** A quick run keeps the order of the backlogs, not their size. */
const QUICK_SHARE = 1 / 200;
const METRICS = [{ name: "cost", title: "claim and settle one task", unit: "µs", better: "lower" }] as const;

type Kind = "embedded" | "redis";

const ABOUT: Readonly<Record<Kind, string>> = {
  embedded:
    "The store by itself: 100 settlements and a claim of 100 in one step, in a file, while the number waiting is held constant.",
  redis:
    "The store by itself: 100 settlements and a claim of 100 in one script, the way to Redis and back included, while the number waiting is held constant.",
};

function situation(
  kind: Kind,
  name: string,
  about: string,
  backlog: number,
  clients: number,
  queues = 1,
): Contestant {
  return {
    name,
    about,
    run: async (room, scale) => {
      const share = scale === "full" ? 1 : QUICK_SHARE;
      const options: ClaimCostOptions = {
        place: kind === "redis" ? { redisUrl: (await room.startRedis()).url } : { dir: room.dir },
        backlog: Math.max(Math.round(backlog * share), 200),
        clients: Math.max(Math.round(clients * share), 1),
        queues: Math.max(Math.round(queues * share), 1),
        claims: CLAIMS[scale],
      };
      const helper = await room.startHelper("claim-cost", options);
      const result = (await helper.event("result")) as ClaimCostResult;
      return { cost: result.perTaskUs };
    },
  };
}

function byBacklog(kind: Kind, name: string, title: string): Scenario {
  return {
    name,
    title,
    about: ABOUT[kind],
    metrics: METRICS,
    contestants: [
      situation(kind, "10,000 waiting", "of one client", 10_000, 1),
      situation(kind, "1,000,000 waiting", "of one client", 1_000_000, 1),
    ],
    references: ["10,000 waiting"],
    limitMs: 180_000,
  };
}

function byClients(kind: Kind, name: string, title: string): Scenario {
  return {
    name,
    title,
    about: `${ABOUT[kind]} From 100 clients on, a claim of 100 takes every task from another lane.`,
    metrics: METRICS,
    contestants: [
      situation(kind, "1 client", "100,000 tasks waiting", 100_000, 1),
      situation(kind, "100 clients", "100,000 tasks waiting, spread evenly", 100_000, 100),
      situation(kind, "10,000 clients", "100,000 tasks waiting, spread evenly", 100_000, 10_000),
    ],
    references: ["1 client"],
    limitMs: 120_000,
  };
}

function byQueues(kind: Kind, name: string, title: string): Scenario {
  return {
    name,
    title,
    about: `${ABOUT[kind]} From 100 queues on, a claim of 100 takes every task from another lane.`,
    metrics: METRICS,
    contestants: [
      situation(kind, "1 queue", "100,000 tasks of one client waiting", 100_000, 1),
      situation(kind, "100 queues", "100,000 tasks of one client waiting, spread evenly", 100_000, 1, 100),
      situation(
        kind,
        "1,000 queues",
        "100,000 tasks of one client waiting, spread evenly",
        100_000,
        1,
        1_000,
      ),
    ],
    references: ["1 queue"],
    limitMs: 120_000,
  };
}

export const claimCosts: readonly Scenario[] = [
  byBacklog("redis", "claim-backlog-redis", "Cost of a claim by backlog, on Redis"),
  byBacklog("embedded", "claim-backlog", "Cost of a claim by backlog, embedded"),
  byClients("redis", "claim-clients-redis", "Cost of a claim by clients, on Redis"),
  byClients("embedded", "claim-clients", "Cost of a claim by clients, embedded"),
  byQueues("redis", "claim-queues-redis", "Cost of a claim by queues, on Redis"),
  byQueues("embedded", "claim-queues", "Cost of a claim by queues, embedded"),
];
