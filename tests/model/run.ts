/** `bun tests/model/run.ts --store sqlite|redis --runs N --seed S`: many runs of the model, and how to see a failure again. */

import { parseArgs } from "node:util";
import { startRedis } from "../support/redis.ts";
import { type ModelFailure, modelRun } from "./model-run.ts";
import { redisForModel, sqliteForModel } from "./stores.ts";
import type { OpenModelStore } from "./world.ts";

export { type ModelFailure, type ModelRuns, modelRun } from "./model-run.ts";

const USAGE =
  "usage: bun tests/model/run.ts [--store sqlite|redis] [--runs N] [--seed S] [--commands N] [--path P] [--replay R] [--no-shrink]";
const DEFAULT_RUNS = 200;
const PROGRESS_EVERY_MS = 5_000;

/** The command that makes a failure happen again. */
export function againOf(store: string, { seed, path, replayPath }: ModelFailure): string {
  return `bun tests/model/run.ts --store ${store} --seed ${seed} --path ${path} --replay ${replayPath}`;
}

/** Opens a store of that name for the time that `work` takes. */
export async function withModelStore<T>(
  name: string,
  work: (open: OpenModelStore) => Promise<T>,
): Promise<T> {
  if (name === "sqlite") return work(sqliteForModel());
  const redis = await startRedis();
  try {
    const { openStore, close } = await redisForModel(redis.url);
    try {
      return await work(openStore);
    } finally {
      await close();
    }
  } finally {
    await redis.stop();
  }
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      store: { type: "string", default: "sqlite" },
      runs: { type: "string" },
      seed: { type: "string" },
      commands: { type: "string" },
      path: { type: "string" },
      replay: { type: "string" },
      "no-shrink": { type: "boolean", default: false },
    },
  });
  const { store, path, replay } = values;
  const runs = numberOf(values.runs, DEFAULT_RUNS);
  const seed = numberOf(values.seed, Date.now() % 1_000_000_000);
  if (store !== "sqlite" && store !== "redis") return usage();
  if (runs === null || seed === null) return usage();
  console.log(`${store}, seed ${seed}`);
  const startedMs = performance.now();
  let toldMs = startedMs;
  const failure = await withModelStore(store, (openStore) =>
    modelRun({
      openStore,
      runs,
      seed,
      shrinks: !values["no-shrink"],
      ...(values.commands === undefined ? {} : { maxCommands: Number(values.commands) }),
      ...(path === undefined ? {} : { path }),
      ...(replay === undefined ? {} : { replayPath: replay }),
      onRun: (run) => {
        if (performance.now() - toldMs < PROGRESS_EVERY_MS) return;
        toldMs = performance.now();
        console.log(run <= runs ? `  ${run} of ${runs}` : "  looking for fewer steps");
      },
    }),
  );
  const tookSec = ((performance.now() - startedMs) / 1_000).toFixed(1);
  if (failure === null) {
    console.log(`${runs} runs, none of which parted from the model, in ${tookSec} s`);
    return 0;
  }
  console.log(`run ${failure.runs} parted from the model, after ${tookSec} s:`);
  console.log(failure.commands);
  console.log(failure.error.stack ?? failure.error.message);
  console.log(`again: ${againOf(store, failure)}`);
  return 1;
}

function numberOf(text: string | undefined, otherwise: number): number | null {
  if (text === undefined) return otherwise;
  return /^-?\d{1,10}$/.test(text) ? Number(text) : null;
}

function usage(): number {
  console.error(USAGE);
  return 2;
}

if (import.meta.main) process.exit(await main());
