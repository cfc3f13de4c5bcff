/** Which faults a moment of a run may have suffered from. */

import type { FaultRecord, Harm, History } from "../history.ts";

/** What a fault upsets may show so much later, the time of a lease aside. */
const AFTERMATH_MS = 5_000;

/** The faults that harm any of these and were there, or had just been, within the span. */
export function faultsNear(
  { faults, leaseMs }: Pick<History, "faults" | "leaseMs">,
  fromMs: number,
  toMs: number,
  harms?: readonly Harm[],
): FaultRecord[] {
  return faults.filter(
    (fault) =>
      fault.beganMs <= toMs &&
      fromMs <= fault.wellMs + leaseMs + AFTERMATH_MS &&
      (harms === undefined || fault.harms.some((harm) => harms.includes(harm))),
  );
}

/** For so long before Sentinels switch may what the old primary did have reached no replica. */
const UNSAFE_MS = 15_000;

/** Whether Sentinels put another primary in place within the span or soon after, for whatever reason. */
export function switchedNear(
  { switchedMs }: Pick<History, "switchedMs">,
  fromMs: number,
  toMs: number,
): boolean {
  return switchedMs.some((atMs) => fromMs <= atMs + AFTERMATH_MS && atMs - UNSAFE_MS <= toMs);
}
