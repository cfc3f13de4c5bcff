/** What a role tells of its health: whether it works, whether it can do its work now, and why not. */

import type { HealthReport, HealthSource } from "../api/health.ts";
import type { Role } from "../config.ts";
import type { Clock } from "../core/clock.ts";
import { messageOf } from "../core/errors.ts";
import { runtimeName } from "../runtime.ts";
import type { Worker } from "../worker/worker.ts";

/** What health looks at; changes as a role starts and stops. */
export interface RoleState {
  readonly role: Role;
  readonly startedAtMs: number;
  /** Name of the store, open or not. */
  readonly storeName: string;
  /** Rejects with the reason when the store cannot be worked with right now. */
  readonly checkStore: () => Promise<void>;
  /** When the shutdown's grace is over; null until it begins. */
  stoppingBeforeMs: number | null;
  /** Null where there is none, and until it has started. */
  worker: Pick<Worker, "lastMovedMonoMs" | "running"> | null;
}

/** A claim loop that has not moved for this long is stuck; it moves at least once a second. */
const STUCK_AFTER_MS = 30_000;
const WELL: HealthReport = { ok: true, reason: null };

/**
 * Liveness asks nothing of the store: a process that waits for one works, and killing it would only make the
 * wait longer. Readiness is for that.
 */
export function healthOf(state: RoleState, clock: Clock): HealthSource {
  const ready = async (): Promise<HealthReport> => {
    if (state.stoppingBeforeMs !== null) return { ok: false, reason: "shutting down" };
    try {
      await state.checkStore();
      return WELL;
    } catch (error) {
      return { ok: false, reason: messageOf(error) };
    }
  };
  return {
    ready,
    live: () => {
      // A worker that drains claims nothing on purpose.
      if (state.worker === null || state.stoppingBeforeMs !== null) return WELL;
      const stillMs = clock.monoMs() - state.worker.lastMovedMonoMs;
      if (stillMs < STUCK_AFTER_MS) return WELL;
      return { ok: false, reason: `the claim loop has not moved for ${Math.round(stillMs / 1_000)} s` };
    },
    detailed: async () => ({
      ...(await ready()),
      facts: {
        role: state.role,
        store: state.storeName,
        runtime: runtimeName(),
        uptime_sec: Math.floor((clock.now() - state.startedAtMs) / 1_000),
        ...(state.worker === null ? {} : { running: state.worker.running }),
      },
      warnings: [],
    }),
  };
}
