/**
 * Every run in which a store has ever parted from the model, as the steps it came down to: a seed alone would mean other
 * steps as soon as there is one more kind of them.
 */

import type { Told } from "./model-run.ts";
import type { Wanted } from "./steps/producing.ts";

export interface Found {
  /** What was wrong, and where. */
  readonly what: string;
  readonly steps: readonly Told[];
}

function want(given: Partial<Wanted>): Wanted & { readonly isChecked: boolean } {
  return {
    queue: "default",
    client: "ann",
    priority: "critical",
    inMs: null,
    name: null,
    idempotencyKey: null,
    key: null,
    retentionMs: null,
    host: "http://h0.test",
    isChecked: false,
    ...given,
  };
}

const enqueue = (...tasks: readonly Partial<Wanted>[]): Told => [
  "enqueue",
  { via: 0, tasks: tasks.map(want) },
];
const claim = (limit: number, queue: string | null = null): Told => [
  "claim",
  { via: 0, worker: "w0", limit, leaseMs: 30_000, queue, endings: [] },
];
const advance = (ms: number): Told => ["advance", { via: 0, ms }];
const set = (kind: "setClient" | "setQueue" | "setTier", id: string, to: object | null): Told => [
  kind,
  { via: 0, id, to, isStale: false },
];

export const FOUND: readonly Found[] = [
  {
    what: "sqlite: a key went to a task that was accepted after another had fallen due, if nobody claimed in between",
    steps: [enqueue({ key: "k1", inMs: 700 }), advance(21_000), enqueue({ key: "k1" }, {})],
  },
  {
    what: "sqlite: a claim of a pull queue that used up its rate's last token did not say when the next one comes",
    steps: [
      set("setQueue", "pull", { maxDispatchesPerSec: 2, maxBurst: null }),
      enqueue({ queue: "pull" }, { queue: "pull" }),
      enqueue({ queue: "pull" }, {}),
      claim(2, "pull"),
    ],
  },
  {
    what: "redis: a client whose tasks were all duplicates was not told how it stands with its limit",
    steps: [
      enqueue({ queue: "alpha", name: "n2" }, {}),
      enqueue({ queue: "alpha", name: "n2", client: "eve" }),
    ],
  },
  {
    what: "redis: a task sent again, as after an answer that was lost, was held against its client's lists anew",
    steps: [
      enqueue({ client: "bob" }, {}),
      set("setClient", "bob", { allowedQueues: ["default"] }),
      ["resend", { via: 0, pick: 0 }],
    ],
  },
  {
    what: "redis: a client that was deleted left its requests behind, for one of its name that came after it",
    steps: [enqueue({ client: "eve" }, {}), set("setClient", "eve", null)],
  },
  {
    what: "redis: a dead task that holds its key lost it to the next when it was to be started over later",
    steps: [
      set("setQueue", "default", { afterDeath: "hold" }),
      enqueue({ key: "k1" }, { key: "k1" }),
      claim(1),
      [
        "settle",
        { via: 0, endings: [{ pick: 0, isAny: false, verdict: "dead", afterMs: 0, followUps: [] }] },
      ],
      ["replayMany", { via: 0, tasks: [{ pick: 1, inMs: 5_000 }] }],
      claim(1),
    ],
  },
  {
    what: "redis: a task that its queue sends elsewhere waited on where the host it was set aside for was held again",
    steps: [
      enqueue({}),
      ["holdHost", { via: 0, host: "http://h0.test", forMs: 2_000 }],
      claim(1),
      set("setQueue", "default", { target: { url: "http://h1.test/all" } }),
      ["holdHost", { via: 0, host: "http://h0.test", forMs: 2_000 }],
      claim(1),
    ],
  },
  {
    what: "redis: a claim of a pull queue that used up its rate's last token on other lanes did not say when the next one comes",
    steps: [
      enqueue({ queue: "pull" }, { queue: "pull", client: "eve" }, { queue: "pull", priority: "high" }),
      set("setQueue", "pull", { maxDispatchesPerSec: 2, maxBurst: null }),
      claim(4, "pull"),
    ],
  },
  {
    what: "redis: of two limits that a settlement made room in one was passed over, and its lanes waited on for nobody",
    steps: [
      enqueue({}, { queue: "beta" }, { client: "bob", priority: "low" }),
      ["holdHost", { via: 0, host: "http://h0.test", forMs: 2_000 }],
      set("setQueue", "beta", { maxConcurrent: 1 }),
      enqueue({ queue: "beta", client: "bob", host: "http://h1.test" }),
      set("setTier", "free", { maxConcurrent: 1 }),
      claim(2),
      [
        "settle",
        { via: 0, endings: [{ pick: 0, isAny: false, verdict: "succeeded", afterMs: 0, followUps: [] }] },
      ],
      claim(1),
    ],
  },
];
