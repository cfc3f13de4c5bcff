/** Walks through the store of a run that has ended, for whatever must never be in it. */

import { messageOf } from "../../src/core/errors.ts";
import { inspectAll } from "../../src/core/inspection.ts";
import { systemClock } from "../../src/runtime.ts";
import { openExistingRedisStore } from "../../src/store/redis/store.ts";
import { DEFAULT_SETTINGS } from "../conformance/store.ts";
import { connect } from "../support/redis-store.ts";
import type { Program } from "./program.ts";

/** What KEY_PREFIX is where nobody sets it. */
const KEY_PREFIX = "task-runner";

/** So few that no step of the walk holds Redis up for long. */
const LIMIT = 100;
/** A machine with too much to do may have the walk begin anew. */
const TRIES = 3;

/** A line for each thing that is broken, or for the walk where it cannot be made. */
export async function storeProblems(primary: () => Promise<Program>): Promise<string[]> {
  for (let tries = 1; ; tries++) {
    try {
      return await walked(await primary());
    } catch (thrown) {
      if (tries === TRIES) return [`the store cannot be walked through: ${messageOf(thrown)}`];
    }
  }
}

async function walked({ host, port }: Program): Promise<string[]> {
  const store = await openExistingRedisStore({
    connection: await connect({ kind: "standalone", host, port, db: 0, tls: false }),
    keyPrefix: KEY_PREFIX,
    durability: "primary",
    settings: DEFAULT_SETTINGS,
    clock: systemClock,
  });
  try {
    // Counting hundreds of thousands of tasks holds Redis up for longer than its Sentinels wait.
    const { violations } = await inspectAll(store, { limit: LIMIT, thorough: false });
    return violations.map(({ kind, subject, detail }) => `${kind} at ${subject}: ${detail}`);
  } finally {
    await store.close();
  }
}
