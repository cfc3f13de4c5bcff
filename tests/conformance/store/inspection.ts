/** Looks a store through for what is broken, at the end of tests that had something else in mind. */

import { expect } from "bun:test";
import { TaskRunnerError } from "../../../src/core/errors.ts";
import { type InspectableStore, inspectAll } from "../../../src/core/inspection.ts";

/** Fails with all that is broken in the store. One that its test has closed is left alone. */
export async function expectSound(store: InspectableStore): Promise<void> {
  try {
    const { violations } = await inspectAll(store);
    expect(violations).toEqual([]);
  } catch (thrown) {
    if (!(thrown instanceof TaskRunnerError && thrown.message === "the store is closed")) throw thrown;
  }
}
