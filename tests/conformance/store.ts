/** The one suite that every store passes: what src/core/store.ts promises, said as tests. A new guarantee is written here first. */

import { describe } from "bun:test";
import { changeTests } from "./store/changes.ts";
import { claimTests } from "./store/claims.ts";
import { delayTests } from "./store/delays.ts";
import { duplicateTests } from "./store/duplicates.ts";
import { enqueueTests } from "./store/enqueue.ts";
import { fairnessTests } from "./store/fairness.ts";
import type { OpenStore } from "./store/harness.ts";
import { hintTests } from "./store/hints.ts";
import { lifecycleTests } from "./store/lifecycle.ts";
import { listTests } from "./store/listing.ts";
import { orderingTests } from "./store/ordering.ts";
import { rescueTests } from "./store/rescue.ts";
import { retentionTests } from "./store/retention.ts";
import { settleTests } from "./store/settling.ts";
import { settleBesideTests } from "./store/settling-beside.ts";
import { sharingTests } from "./store/sharing.ts";
import { walkTests } from "./store/walk.ts";

export { DEFAULT_SETTINGS, type OpenedStore, type OpenStore } from "./store/harness.ts";

/** What a store can do that not every one can; what it cannot shows as skipped. A test holds it against what is opened. */
export interface Offers {
  readonly reopen: boolean;
  readonly second: boolean;
}

/** Declares the suite for one store. `open` is called once a test. */
export function storeConformance(
  name: string,
  open: OpenStore,
  offers: Offers = { reopen: true, second: true },
): void {
  describe(`store conformance: ${name}`, () => {
    enqueueTests(open);
    duplicateTests(open);
    delayTests(open);
    fairnessTests(open);
    claimTests(open);
    settleTests(open);
    settleBesideTests(open);
    rescueTests(open);
    changeTests(open);
    orderingTests(open);
    retentionTests(open);
    listTests(open);
    hintTests(open);
    lifecycleTests(open);
    sharingTests(open, offers);
    walkTests(open);
  });
}
