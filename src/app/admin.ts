/** Builds the services behind the admin routes and the routes themselves, from the store and the settings. */

import { adminRoutes } from "../api/admin-routes.ts";
import { explainRoute } from "../api/explain.ts";
import type { Route } from "../api/route.ts";
import type { Clock } from "../core/clock.ts";
import type { ProducerStore, SettingsStore, TaskStore } from "../core/store.ts";
import type { Sealer } from "../secrets/sealing.ts";
import { AuditLog } from "../service/audit.ts";
import { ClientService } from "../service/clients.ts";
import { DeadLetters } from "../service/dead.ts";
import { Explainer } from "../service/explain.ts";
import type { PurgeRunner } from "../service/purges.ts";
import { QueueService } from "../service/queues.ts";
import { SigningSecrets } from "../service/signing-secrets.ts";
import { Stats } from "../service/stats.ts";
import type { TargetChecks } from "../service/tasks.ts";
import { TierService } from "../service/tiers.ts";

export interface AdminParts {
  readonly store: ProducerStore & SettingsStore & Pick<TaskStore, "name">;
  readonly clock: Clock;
  readonly transports: TargetChecks;
  readonly privateTargets: "check" | "ask-workers";
  readonly defaultTier: string;
  readonly purges: PurgeRunner;
  /** Seals signing secrets; null where SECRETS_KEY is not set. */
  readonly sealer: Sealer | null;
}

/** The routes for whoever looks after the runner, and the one that explains a task. */
export function settingsRoutes(parts: AdminParts): readonly Route[] {
  return [
    explainRoute(new Explainer(parts)),
    ...adminRoutes({
      clients: new ClientService(parts),
      tiers: new TierService(parts),
      queues: new QueueService(parts),
      signing: new SigningSecrets(parts),
      dead: new DeadLetters(parts),
      audit: new AuditLog(parts),
      stats: new Stats(parts),
    }),
  ];
}
