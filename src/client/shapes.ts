/** The types of what is sent and answered, taken from the very schemas that the server checks with; none of its code. */

import type { Static } from "@sinclair/typebox";
import type { ClientPageSchema, CreatedKeySchema, CreateKeySchema } from "../api/admin-clients.ts";
import type { QueuePageSchema } from "../api/admin-queues.ts";
import type { BatchAnswerSchema } from "../api/batch.ts";
import type { DuplicateSchema, EnqueuedSchema } from "../api/enqueue.ts";
import type { ProblemSchema } from "../api/problem.ts";
import type { TaskJson } from "../api/task-json.ts";
import type { ListQuerySchema, TaskPageSchema } from "../api/task-list.ts";
import type { ErrorCode } from "../core/errors.ts";
import type { AckRequest, LeasedTaskJson, NackRequest } from "../service/pull-request.ts";
import type { CreatedSecret } from "../service/signing-secrets.ts";

export type { TaskState } from "../core/task.ts";
export type { AuditEntryJson as AuditEntry } from "../service/audit.ts";
export type { ClientJson as Client, ClientSetRequest } from "../service/client-settings.ts";
export type { DeadPurgeRequest, DeadReplayRequest } from "../service/dead-request.ts";
export type { EnqueueRequest, RescheduleRequest } from "../service/enqueue-request.ts";
export type { ExplanationJson as Explanation } from "../service/explanation.ts";
export type { ExtendRequest, LeaseRequest, LeaseResult } from "../service/pull-request.ts";
export type { QueueJson as Queue, QueueSetRequest } from "../service/queue-settings.ts";
export type { StatsJson as Stats } from "../service/stats.ts";
export type { TierJson as Tier, TierSetRequest } from "../service/tier-settings.ts";
export type { ErrorCode };

/** RFC 9457 problem details, as every refusal comes with. */
export type Problem = Static<typeof ProblemSchema>;
export type Task = TaskJson;
export type Attempt = Task["attempts"][number];

export type Enqueued = Static<typeof EnqueuedSchema>;
export type Duplicate = Static<typeof DuplicateSchema>;
export type BatchAnswer = Static<typeof BatchAnswerSchema>;

/** What tasks are listed, and how many a page has. */
export type TaskFilter = Static<typeof ListQuerySchema>;
export type TaskPage = Static<typeof TaskPageSchema>;
export type ClientPage = Static<typeof ClientPageSchema>;
export type QueuePage = Static<typeof QueuePageSchema>;
export interface PageRequest {
  /** 1 to 1,000; 50 unless told. */
  readonly limit?: number;
  /** `next_cursor` of the page before. */
  readonly cursor?: string;
}

export type LeasedTask = LeasedTaskJson;
/** A lease alone, or with what is told along. */
export type Ack = AckRequest["leases"][number];
export type Nack = NackRequest["leases"][number];

export type KeyCreateRequest = Static<typeof CreateKeySchema>;
/** A key of a client, which is never told again. */
export type CreatedKey = Static<typeof CreatedKeySchema>;
/** A signing secret, which is never told again. */
export type Secret = CreatedSecret;
