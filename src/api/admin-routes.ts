/** Everything under /admin: settings of clients, tiers and queues, the dead letters, and who changed what. */

import type { AuditLog } from "../service/audit.ts";
import type { ClientService } from "../service/clients.ts";
import type { DeadLetters } from "../service/dead.ts";
import type { QueueService } from "../service/queues.ts";
import type { SigningSecrets } from "../service/signing-secrets.ts";
import type { Stats } from "../service/stats.ts";
import type { TierService } from "../service/tiers.ts";
import { auditRoute } from "./admin-audit.ts";
import { clientRoutes } from "./admin-clients.ts";
import { deadRoutes } from "./admin-dead.ts";
import { queueRoutes } from "./admin-queues.ts";
import { signingRoutes } from "./admin-signing.ts";
import { statsRoute } from "./admin-stats.ts";
import { tierRoutes } from "./admin-tiers.ts";
import type { Route } from "./route.ts";

export interface AdminServices {
  readonly clients: ClientService;
  readonly tiers: TierService;
  readonly queues: QueueService;
  readonly signing: SigningSecrets;
  readonly dead: DeadLetters;
  readonly audit: AuditLog;
  readonly stats: Stats;
}

export function adminRoutes({
  clients,
  tiers,
  queues,
  signing,
  dead,
  audit,
  stats,
}: AdminServices): readonly Route[] {
  return [
    ...clientRoutes(clients),
    ...tierRoutes(tiers),
    ...queueRoutes(queues),
    ...signingRoutes({ signing, clients, queues }),
    ...deadRoutes(dead),
    auditRoute(audit),
    statsRoute(stats),
  ];
}
