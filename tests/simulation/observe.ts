/** Tells the model of every call that reached the store, and the journal what came of it. */

import type {
  AuditEntry,
  Claim,
  ClaimRequest,
  EnqueueAnswer,
  LeaseRef,
  LostLease,
  Reschedule,
  Rescued,
  SettingsChange,
  SettingsKind,
  Settlement,
  SettleResult,
  Swept,
  TaskStore,
} from "../../src/core/store.ts";
import type { NewTask, TaskState } from "../../src/core/task.ts";
import type { Shadow } from "./shadow.ts";

export type StoreMethod = Exclude<
  { [K in keyof TaskStore]: TaskStore[K] extends (...args: never[]) => unknown ? K : never }[keyof TaskStore],
  "onHint" | "inspect" | "close"
>;

/** One call that reached the store. */
export interface Applied {
  readonly method: StoreMethod;
  readonly args: readonly unknown[];
  readonly result: unknown;
  readonly nowMs: number;
}

/** What is told to the journal; null for what changes nothing. */
export function observe(shadow: Shadow, { method, args, result, nowMs }: Applied): string | null {
  switch (method) {
    case "enqueue": {
      const answer = result as EnqueueAnswer;
      shadow.enqueued(args[0] as NewTask[], answer, nowMs);
      return (args[0] as NewTask[])
        .map(({ id }, at) => `${short(id)} ${answer.results[at]?.kind}`)
        .join(", ");
    }
    case "claim":
      return claimed(shadow, args[0] as ClaimRequest, result as Claim, nowMs);
    case "settle":
      shadow.settled(args[0] as Settlement[], result as SettleResult[], nowMs);
      return settledLine(args[0] as Settlement[], result as SettleResult[]);
    case "settleAndClaim": {
      const { settled, claim } = result as { settled: SettleResult[]; claim: Claim };
      shadow.settled(args[0] as Settlement[], settled, nowMs);
      const line = settledLine(args[0] as Settlement[], settled);
      return `${line}; ${claimed(shadow, args[1] as ClaimRequest, claim, nowMs) ?? "nothing"}`;
    }
    case "extend": {
      const lost = result as LostLease[];
      shadow.extended(args[0] as LeaseRef[], args[1] as number, lost, nowMs);
      return `${(args[0] as LeaseRef[]).length} leases, lost ${lost.map(({ taskId, why }) => `${short(taskId)} ${why}`)}`;
    }
    case "rescue": {
      const rescued = result as Rescued[];
      shadow.rescued(rescued, args[0] as number, nowMs);
      return rescued.length === 0
        ? null
        : rescued.map(({ id, crashes }) => `${short(id)} x${crashes}`).join(", ");
    }
    case "sweep": {
      const { tasks } = result as Swept;
      shadow.swept(tasks, args[0] as number, nowMs);
      return tasks === 0 ? null : `${tasks}`;
    }
    case "purgeStep": {
      const progress = result as { queue: string; removed: number } | null;
      if (progress === null) return null;
      shadow.purged(progress.queue, progress.removed);
      return `${progress.queue} ${progress.removed}`;
    }
    default:
      return observeChange(shadow, { method, args, result, nowMs });
  }
}

function observeChange(shadow: Shadow, { method, args, result, nowMs }: Applied): string | null {
  const id = args[0] as string;
  const kind = (result as { kind?: string } | null)?.kind ?? "";
  switch (method) {
    case "cancel":
      shadow.cancelled(id, kind, nowMs);
      return `${short(id)} ${kind}`;
    case "reschedule":
      shadow.rescheduled(id, kind, args[1] as Reschedule, nowMs);
      return `${short(id)} ${kind}`;
    case "runNow":
      shadow.madeToRun(id, kind, nowMs);
      return `${short(id)} ${kind}`;
    case "replay":
      shadow.replayed(id, kind, nowMs);
      return `${short(id)} ${kind}`;
    case "replayMany": {
      const asked = args[0] as { id: string; notBeforeMs: number }[];
      shadow.replayedMany(asked, result as (TaskState | null)[], nowMs);
      return asked.map((one) => short(one.id)).join(", ");
    }
    case "forget":
      shadow.forgotten(args[0] as string[], result as number);
      return `${result}`;
    case "purge":
      shadow.purgeBegun(id);
      return id;
    case "change": {
      if (result !== true) return "was too late";
      const change = args[0] as SettingsChange<SettingsKind>;
      shadow.limits.change(change);
      shadow.settingsChanged(nowMs);
      return `${(args[1] as AuditEntry).action} ${change.id} ${JSON.stringify((args[1] as AuditEntry).after)}`;
    }
    case "holdHost":
      shadow.hostHeld(id, nowMs);
      return `${id} ${String(args[1])}`;
    case "freeHost":
      shadow.hostFreed(id, nowMs);
      return id;
    default:
      return null;
  }
}

function claimed(shadow: Shadow, request: ClaimRequest, claim: Claim, nowMs: number): string | null {
  shadow.claimed(request, claim, nowMs);
  if (claim.tasks.length === 0) return null;
  return claim.tasks
    .map(({ id, fence, isProbe }) => `${short(id)} #${fence}${isProbe ? " probe" : ""}`)
    .join(", ");
}

function settledLine(settlements: readonly Settlement[], results: readonly SettleResult[]): string {
  return settlements
    .map(({ lease, verdict }, at) => `${short(lease.taskId)} #${lease.fence} ${verdict.kind} ${results[at]}`)
    .join(", ");
}

/** The end of an id, where ids of one instant differ. */
export const short = (id: string): string => id.slice(-6);
