/** The parts of the fuzzing, by name. */

import type { Job, Report } from "./cases.ts";
import { fuzzConfig } from "./config.ts";
import { fuzzCore } from "./core.ts";
import { fuzzHttp } from "./http/part.ts";
import { fuzzScripts } from "./lua/part.ts";
import { fuzzPlugins } from "./plugins.ts";
import { fuzzSockets } from "./sockets.ts";

export interface Part {
  /** Of all cases, in proportion to the others. */
  readonly share: number;
  readonly run: (job: Job) => Promise<Report>;
}

export const PARTS = {
  http: { share: 40, run: fuzzHttp },
  sockets: { share: 5, run: fuzzSockets },
  config: { share: 15, run: fuzzConfig },
  core: { share: 20, run: fuzzCore },
  plugins: { share: 5, run: fuzzPlugins },
  lua: { share: 15, run: fuzzScripts },
} as const satisfies Record<string, Part>;
export type PartName = keyof typeof PARTS;
