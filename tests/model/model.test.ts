/** Holds every store to the model of the queue: some dozen random runs, and every run that has ever found a fault. */

import { afterAll, describe, expect, test } from "bun:test";
import { startRedis } from "../support/redis.ts";
import { type ModelFailure, modelRun, runTold } from "./model-run.ts";
import { againOf } from "./run.ts";
import { FOUND } from "./seeds.ts";
import { redisForModel, sqliteForModel } from "./stores.ts";

const RUNS = 40;
/** Another share of all runs is another seed; the same one finds the same again. */
const SEED = 20_261_123;
const TIMEOUT_MS = 120_000;

const server = await startRedis();
const redis = await redisForModel(server.url);
afterAll(async () => {
  await redis.close();
  await server.stop();
});

for (const [name, openStore] of [
  ["sqlite", sqliteForModel()],
  ["redis", redis.openStore],
] as const) {
  describe(`the model of the queue and ${name}`, () => {
    test(
      `agree through ${RUNS} runs of random steps (seed ${SEED})`,
      async () => {
        const failure = await modelRun({ openStore, runs: RUNS, seed: SEED });
        expect(failure === null ? "" : textOf(name, failure)).toBe("");
      },
      TIMEOUT_MS,
    );

    for (const { what, steps } of FOUND) {
      test(`agree where once they did not (${what})`, () => runTold(openStore, steps), TIMEOUT_MS);
    }
  });
}

function textOf(store: string, failure: ModelFailure): string {
  return [failure.commands, failure.error.message, `again: ${againOf(store, failure)}`].join("\n");
}
