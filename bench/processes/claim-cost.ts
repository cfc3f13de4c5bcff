/** What one claim-and-settle costs at a given backlog, asked of the store itself. */

import { MAX_CLAIM } from "../../src/core/store.ts";
import { optionsOf, say } from "./messages.ts";
import { taskMaker } from "./new-tasks.ts";
import { openConnection, openStore, type StorePlace } from "./stores.ts";

export interface ClaimCostOptions {
  readonly place: StorePlace;
  /** Tasks waiting throughout: what is claimed is replaced, off the clock. */
  readonly backlog: number;
  /** Clients that the backlog is spread over evenly. */
  readonly clients: number;
  /** Queues that it is spread over, likewise. */
  readonly queues: number;
  /** Tasks to claim and settle on the clock. */
  readonly claims: number;
}

export interface ClaimCostResult {
  /** Of claiming one task and settling one, in microseconds. */
  readonly perTaskUs: number;
}

/** Tasks of one claim: what a busy worker asks for. */
const BATCH = 100;
/** Claims off the clock beforehand. */
const WARM_UP_CLAIMS = 2_000;
const LEASE_MS = 600_000;
const LOOK_EVERY_MS = 100;

const options = optionsOf<ClaimCostOptions>();
const store = await openStore(options.place);
const newTask = taskMaker(options.clients, options.queues);

async function fill(total: number): Promise<void> {
  for (let done = 0; done < total; done += MAX_CLAIM) {
    await store.enqueue(Array.from({ length: Math.min(MAX_CLAIM, total - done) }, newTask));
  }
}

/** Claims and settles `total` tasks; resolves with the milliseconds that took. */
async function work(total: number): Promise<number> {
  const request = { worker: "bench", limit: BATCH, leaseMs: LEASE_MS };
  let claimed = (await store.claim(request)).tasks;
  let elapsedMs = 0;
  for (let done = 0; done < total; done += BATCH) {
    await fill(BATCH);
    const nowMs = Date.now();
    const settlements = claimed.map((task) => ({
      lease: { taskId: task.id, fence: task.fence },
      verdict: { kind: "succeeded" } as const,
      attempt: {
        number: task.attempt,
        startedAtMs: nowMs,
        durationMs: 1,
        status: 200,
        error: null,
        responseExcerpt: "ok",
        worker: "bench",
      },
    }));
    const startMs = performance.now();
    const { claim, settled } = await store.settleAndClaim(settlements, request);
    elapsedMs += performance.now() - startMs;
    if (claim.tasks.length !== BATCH)
      throw new Error(`a claim of ${BATCH} came back with ${claim.tasks.length}`);
    if (settled.some((result) => result !== "settled")) throw new Error("a settlement was refused");
    claimed = claim.tasks;
  }
  return elapsedMs;
}

/** A Redis that has grown rewrites its append-only file, on the cores that are measured: a thing of its own. */
async function rest(redisUrl: string): Promise<void> {
  const connection = await openConnection(redisUrl);
  const isRewriting = async () =>
    /aof_rewrite_in_progress:1/.test(String(await connection.command("INFO", "persistence")));
  while (await isRewriting()) await Bun.sleep(LOOK_EVERY_MS);
  await connection.close();
}

await fill(options.backlog);
if ("redisUrl" in options.place) await rest(options.place.redisUrl);
await work(Math.min(WARM_UP_CLAIMS, options.claims));
const elapsedMs = await work(options.claims);
await store.close();
const result: ClaimCostResult = { perTaskUs: (elapsedMs * 1_000) / options.claims };
say("result", result);
