/** What the commands read of the answers of the admin routes and of an explanation; the API may say more. */

import { type Static, Type } from "@sinclair/typebox";
import { Nullable } from "./api-client.ts";

const Limit = Type.Union([Type.Number(), Type.Null()]);
const NextCursor = Nullable(Type.String());

/** By which signing secrets are told apart. */
const SigningView = Type.Array(Type.Object({ secret_id: Type.String(), created_at: Type.String() }));

const LimitsView = Type.Object({ requests_per_minute: Limit, max_concurrent: Limit });

export const ClientView = Type.Object({
  client_id: Type.String(),
  tier: Type.String(),
  enabled: Type.Boolean(),
  overrides: Type.Partial(LimitsView),
  limits: LimitsView,
  allowed_queues: Nullable(Type.Array(Type.String())),
  allowed_hosts: Nullable(Type.Array(Type.String())),
  keys: Type.Array(
    Type.Object({ key_id: Type.String(), label: Nullable(Type.String()), created_at: Type.String() }),
  ),
  signing: SigningView,
  created_at: Type.String(),
  running: Type.Number(),
  requests_last_minute: Type.Number(),
});
export type ClientView = Static<typeof ClientView>;

export const ClientPageView = Type.Object({ clients: Type.Array(ClientView), next_cursor: NextCursor });

/** A key as it is told once. */
export const NewKeyView = Type.Object({
  client_id: Type.String(),
  key_id: Type.String(),
  key: Type.String(),
});

/** A signing secret as it is told once. */
export const NewSecretView = Type.Object({ secret_id: Type.String(), secret: Type.String() });

export const TierView = Type.Object({
  tier: Type.String(),
  requests_per_minute: Limit,
  max_concurrent: Limit,
  built_in: Type.Optional(Type.Boolean()),
});
export const TierListView = Type.Object({ tiers: Type.Array(TierView) });

export const StatsView = Type.Object({
  store: Type.String(),
  queues: Type.Number(),
  tasks: Type.Record(Type.String(), Type.Number()),
  hosts: Type.Array(Type.Object({ host: Type.String(), next_probe_at: Type.String(), tasks: Type.Number() })),
  workers: Type.Array(
    Type.Object({
      worker: Type.String(),
      version: Type.String(),
      concurrency: Type.Number(),
      started_at: Type.String(),
      seen_at: Type.String(),
    }),
  ),
});
export type StatsView = Static<typeof StatsView>;

export const QueueView = Type.Object({
  queue: Type.String(),
  enabled: Type.Boolean(),
  paused: Type.Boolean(),
  max_dispatches_per_sec: Limit,
  max_burst: Limit,
  max_concurrent: Limit,
  weight: Type.Number(),
  retry: Type.Record(Type.String(), Type.Number()),
  timeout_sec: Limit,
  target: Nullable(
    Type.Object({
      url: Type.Optional(Type.String()),
      method: Type.Optional(Type.String()),
      headers: Type.Optional(Type.Record(Type.String(), Type.String())),
    }),
  ),
  retention_succeeded_sec: Limit,
  retention_dead_sec: Limit,
  permanent_statuses: Type.Array(Type.Number()),
  after_death: Type.String(),
  dead_target: Nullable(
    Type.Object({ queue: Type.Optional(Type.String()), url: Type.Optional(Type.String()) }),
  ),
  mode: Type.String(),
  signing: SigningView,
  created_at: Type.String(),
  running: Type.Number(),
  counts: Type.Record(Type.String(), Type.Number()),
  next_dispatch_at: Nullable(Type.String()),
  purge: Nullable(Type.Object({ started_at: Type.String(), removed: Type.Number(), share: Type.Number() })),
});
export type QueueView = Static<typeof QueueView>;

export const QueuePageView = Type.Object({ queues: Type.Array(QueueView), next_cursor: NextCursor });

/** What answers that only say that it was done have in common. */
export const DoneView = Type.Object({ status: Type.String() });

export const ReplayedView = Type.Object({ replayed: Type.Number(), next_cursor: NextCursor });
export const RemovedView = Type.Object({ removed: Type.Number(), next_cursor: NextCursor });

export const AuditView = Type.Object({
  entries: Type.Array(
    Type.Object({
      at: Type.String(),
      actor: Type.String(),
      action: Type.String(),
      subject: Type.String(),
      before: Type.Unknown(),
      after: Type.Unknown(),
    }),
  ),
  next_cursor: NextCursor,
});

export const ExplanationView = Type.Object({
  task_id: Type.String(),
  state: Type.String(),
  held: Type.Boolean(),
  reasons: Type.Array(Type.Object({ code: Type.String(), detail: Type.String() })),
  next_at: Nullable(Type.String()),
});
