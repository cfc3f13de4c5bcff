/** More than a server can take, for a while: what is acknowledged meanwhile, how soon, and what it costs in memory. */

import { Database } from "bun:sqlite";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onRedis, startTaskRunner, tasksOn } from "../../bench/contestants/task-runner.ts";
import { residentMiB } from "../../bench/process-use.ts";
import { Room } from "../../bench/room.ts";
import type { Place } from "./limits-fleet.ts";
import type { OverloadOptions, OverloadResult } from "./overload-load.ts";
import type { Proof } from "./proof.ts";

export interface OverloadProofOptions {
  readonly place: Place;
  /** Tasks of a request. */
  readonly batch: number;
  readonly connections: number;
  /** How long the most that is taken is measured for; 0 measures nothing, and `perSec` is sent. */
  readonly measureMs: number;
  /** Requests a second where nothing is measured. */
  readonly perSec: number;
  readonly overloadMs: number;
  /** Whether Redis stands still for half of the time meanwhile. */
  readonly stalling: boolean;
}

export interface OverloadReport extends OverloadResult {
  /** Tasks a second before; null where it was not measured. */
  readonly mostPerSec: number | null;
  /** Tasks a second right after; null where it was not measured. */
  readonly afterPerSec: number | null;
  /** Of all that was acknowledged, what the store does not have. */
  readonly missing: number;
  readonly mostResidentMiB: number;
}

/** How many times the measured maximum is sent. */
const TIMES = 3;
const CLOSED_CONNECTIONS = 64;
const WARM_MS = 1_500;
const LOOK_MS = 100;
const STALL_MS = 50;

/** Rejects when the round itself could not be run. */
export async function overloadRun(options: OverloadProofOptions): Promise<OverloadReport> {
  const room = await Room.open(tmpdir());
  try {
    return await overloadIn(room, options);
  } finally {
    await room.close();
  }
}

async function overloadIn(room: Room, options: OverloadProofOptions): Promise<OverloadReport> {
  const { place, batch, measureMs, overloadMs, stalling } = options;
  const redis = place === "redis" ? await room.startRedis() : null;
  const unbounded = { STORE_MAX_BYTES: "0" };
  const server = await startTaskRunner(
    room,
    "serve",
    redis === null ? unbounded : { ...unbounded, ...onRedis(redis) },
  );
  let acknowledged = 0;
  const load = async (more: Pick<OverloadOptions, "connections" | "perSec" | "forMs">) => {
    const helper = await room.startHelper("../../tests/soak/overload-load", {
      port: server.port,
      batch,
      ...more,
    } satisfies OverloadOptions);
    const result = (await helper.event("result")) as OverloadResult;
    acknowledged += result.acknowledged;
    return result;
  };
  /** As many as are taken where nobody sends before the last was answered. */
  const most = async () => {
    const connections = Math.min(CLOSED_CONNECTIONS, Math.max(8, Math.ceil(4_000 / batch)));
    if (measureMs === 0) return null;
    const result = await load({ connections, perSec: null, forMs: measureMs });
    return result.acknowledgedPerSec;
  };

  if (measureMs > 0) await load({ connections: 8, perSec: null, forMs: WARM_MS });
  const mostPerSec = await most();
  const watch = watchMemory(server.pid);
  const stalls = stalling && redis !== null ? stallEverySoOften(redis.pid) : null;
  const perSec = mostPerSec === null ? options.perSec : (TIMES * mostPerSec) / batch;
  const result = await load({ connections: options.connections, perSec, forMs: overloadMs }).finally(() =>
    stalls?.stop(),
  );
  const mostResidentMiB = await watch.stop();
  const afterPerSec = await most();

  await server.stop();
  const kept = redis === null ? rowsIn(room) : await tasksOn(redis);
  return { ...result, mostPerSec, afterPerSec, missing: Math.max(0, acknowledged - kept), mostResidentMiB };
}

function rowsIn(room: Room): number {
  const file = new Database(join(room.dir, "task-runner.db"), { readonly: true });
  try {
    return Number(file.query<{ n: number }, []>("SELECT count(*) AS n FROM tasks").get()?.n);
  } finally {
    file.close();
  }
}

function watchMemory(pid: number) {
  let most = 0;
  const look = async () => {
    most = Math.max(most, await residentMiB(pid));
  };
  const timer = setInterval(() => void look().catch(() => {}), LOOK_MS);
  return {
    async stop(): Promise<number> {
      clearInterval(timer);
      await look();
      return Math.round(most);
    },
  };
}

/** Half of the time it stands still. */
function stallEverySoOften(pid: number) {
  let still = false;
  const timer = setInterval(() => {
    still = !still;
    process.kill(pid, still ? "SIGSTOP" : "SIGCONT");
  }, STALL_MS);
  return {
    stop(): void {
      clearInterval(timer);
      process.kill(pid, "SIGCONT");
    },
  };
}

const LONG = { connections: 400, measureMs: 5_000, perSec: 0, overloadMs: 60_000, stalling: false } as const;
const BATCH = 500;
const LEAST_SHARE = 0.9;
const MOST_P99_MS = 1_000;
/** Far more than is needed, and far less than would be held if nothing were refused. */
export const MOST_RESIDENT_MIB = 1_500;

const leg =
  (options: OverloadProofOptions): Proof =>
  async () => {
    const report = await overloadRun(options);
    const { mostPerSec, acknowledgedPerSec, afterPerSec, p99Ms, odd, missing, mostResidentMiB } = report;
    const share = acknowledgedPerSec / (mostPerSec ?? Number.NaN);
    const recovered = (afterPerSec ?? 0) / (mostPerSec ?? Number.NaN);
    const sound = odd.length === 0 && missing === 0 && mostResidentMiB <= MOST_RESIDENT_MIB;
    return {
      good:
        sound &&
        (p99Ms ?? Number.POSITIVE_INFINITY) < MOST_P99_MS &&
        (options.stalling ? recovered : share) >= LEAST_SHARE,
      line:
        `overload on ${options.place}, ${options.batch} a request${options.stalling ? ", Redis still half of the time" : ""}: ` +
        `${Math.round(acknowledgedPerSec)} of at most ${Math.round(mostPerSec ?? 0)} tasks/s acknowledged ` +
        `(${Math.round(share * 100)} %), p50 ${report.p50Ms} ms, p99 ${p99Ms} ms, slowest ${report.slowestMs} ms; ` +
        `${report.sent} requests sent, ${report.unsent} found no connection free, ${report.refused} refused ` +
        `(p99 ${report.refusalP99Ms} ms), ${report.refusedItems} tasks of batches refused, ${odd.length} odd answers` +
        `${odd.length > 0 ? ` (${odd[0]})` : ""}, ${missing} missing, at most ${mostResidentMiB} MiB; ` +
        `afterwards ${Math.round(afterPerSec ?? 0)} tasks/s (${Math.round(recovered * 100)} %)`,
    };
  };

/** By the name that the command line takes. */
export const OVERLOAD_PROOFS = {
  overload: [
    leg({ ...LONG, place: "redis", batch: 1 }),
    leg({ ...LONG, place: "redis", batch: BATCH }),
    leg({ ...LONG, place: "embedded", batch: 1 }),
    leg({ ...LONG, place: "embedded", batch: BATCH }),
    leg({ ...LONG, place: "redis", batch: 1, stalling: true }),
    leg({ ...LONG, place: "redis", batch: BATCH, stalling: true }),
  ],
} satisfies Readonly<Record<string, readonly Proof[]>>;
