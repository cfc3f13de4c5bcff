/** The one suite that every store passes: what src/core/store.ts promises, said as tests. A new guarantee is written here first. */

import { describe } from "bun:test";
import { auditTests } from "./store/audit.ts";
import { changeTests } from "./store/changes.ts";
import { claimTests } from "./store/claims.ts";
import { clientChangeTests } from "./store/client-changes.ts";
import { clientTests } from "./store/clients.ts";
import { concurrencyTests } from "./store/concurrency.ts";
import { deadTests } from "./store/dead.ts";
import { delayTests } from "./store/delays.ts";
import { duplicateTests } from "./store/duplicates.ts";
import { enqueueTests } from "./store/enqueue.ts";
import { fairnessTests } from "./store/fairness.ts";
import { limitedFairnessTests } from "./store/fairness-limited.ts";
import { followUpTests } from "./store/follow-ups.ts";
import type { OpenStore } from "./store/harness.ts";
import { hintTests } from "./store/hints.ts";
import { hostTests } from "./store/hosts.ts";
import { hostWalkTests } from "./store/hosts-walk.ts";
import { inspectionTests } from "./store/inspections.ts";
import { lifecycleTests } from "./store/lifecycle.ts";
import { limitsWalkTests } from "./store/limits-walk.ts";
import { listTests } from "./store/listing.ts";
import { orderingTests } from "./store/ordering.ts";
import { pullTests } from "./store/pull.ts";
import { purgeTests } from "./store/purge.ts";
import { queueLimitTests } from "./store/queue-limits.ts";
import { queuePaceTests } from "./store/queue-pace.ts";
import { queueRuleTests } from "./store/queue-rules.ts";
import { rateTests } from "./store/rate.ts";
import { rateWalkTests } from "./store/rate-walk.ts";
import { rescueTests } from "./store/rescue.ts";
import { retentionTests } from "./store/retention.ts";
import { settingsTests } from "./store/settings.ts";
import { settleTests } from "./store/settling.ts";
import { settleBesideTests } from "./store/settling-beside.ts";
import { heldShareTests } from "./store/shares-held.ts";
import { sharingTests } from "./store/sharing.ts";
import { waitingTests } from "./store/waiting.ts";
import { walkTests } from "./store/walk.ts";

export { DEFAULT_SETTINGS, liftLimits, type OpenedStore, type OpenStore } from "./store/harness.ts";

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
    waitingTests(open);
    hintTests(open);
    lifecycleTests(open);
    sharingTests(open, offers);
    walkTests(open);
    clientTests(open);
    clientChangeTests(open, offers);
    rateTests(open, offers);
    rateWalkTests(open);
    concurrencyTests(open, offers);
    heldShareTests(open);
    pullTests(open, offers);
    queueLimitTests(open, offers);
    queuePaceTests(open, offers);
    queueRuleTests(open);
    limitedFairnessTests(open);
    limitsWalkTests(open, offers);
    deadTests(open);
    followUpTests(open);
    settingsTests(open, offers);
    auditTests(open, offers);
    purgeTests(open, offers);
    hostTests(open, offers);
    hostWalkTests(open, offers);
    inspectionTests(open);
  });
}
