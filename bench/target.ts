/** The target that deliveries of a run go to: another process of this machine, so that it takes no turns of ours. */

import type { TargetOptions, TargetResult } from "./processes/target.ts";
import type { Room } from "./room.ts";

export interface Target {
  readonly url: string;
  /** Resolves once the expected number of deliveries has arrived. */
  readonly reached: Promise<unknown>;
  /** What it has seen so far. */
  report(): Promise<TargetResult>;
}

export async function startTarget(room: Room, options: TargetOptions): Promise<Target> {
  const helper = await room.startHelper("target", options);
  const port = await helper.event("ready");
  const reached = helper.event("reached");
  // Whoever does not wait for it hears of a target's death from report().
  reached.catch(() => {});
  return {
    url: `http://127.0.0.1:${port}/hook`,
    reached,
    report: async () => {
      helper.tell("report");
      return (await helper.event("result")) as TargetResult;
    },
  };
}
