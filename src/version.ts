/** The version of this build, taken from package.json so that it is said in one place, and the commit it is of. */

import packageJson from "../package.json" with { type: "json" };

/** Written into a compiled program by scripts/build.ts; sources that run as they are have none. */
declare const TASK_RUNNER_COMMIT: string | undefined;

export const VERSION: string = packageJson.version;

/** The commit that a compiled program was built from, `unknown` where that could not be told; null from source. */
export const COMMIT: string | null = typeof TASK_RUNNER_COMMIT === "string" ? TASK_RUNNER_COMMIT : null;
