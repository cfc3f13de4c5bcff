/** The routes of consumers, who lease tasks and tell what came of them, in place of being called. */

import { Type } from "@sinclair/typebox";
import { TaskRunnerError } from "../core/errors.ts";
import type { ConsumerOf } from "../service/consumers.ts";
import { invalid } from "../service/new-task.ts";
import type { Leased, PullService } from "../service/pull.ts";
import {
  AckRequestSchema,
  ExtendRequestSchema,
  type LeasedTaskJson,
  LeasedTaskSchema,
  LeaseRequestSchema,
  LeaseResultsSchema,
  MAX_WAIT_SEC,
  NackRequestSchema,
} from "../service/pull-request.ts";
import { QueueIdSchema } from "../service/queue-settings.ts";
import { timeJson } from "../service/schema-words.ts";
import { bodyReader } from "./admin-request.ts";
import type { Caller } from "./identity.ts";
import { JSON_TYPE } from "./json-body.ts";
import { json, type Route } from "./route.ts";
import { targetJson } from "./task-json.ts";
import { compile } from "./validate.ts";

const PROBLEMS = [400, 401, 403, 413, 415, 429, 503] as const;
/** A hundred leases, each with as long a response as is taken, in the longest spelling that JSON has for it. */
const MAX_TOLD_BYTES = 5 * 1024 * 1024;

export function pullRoutes(pull: PullService): readonly Route[] {
  return [leaseRoute(pull), ackRoute(pull), nackRoute(pull), extendRoute(pull)];
}

function leaseRoute(pull: PullService): Route {
  const read = bodyReader(LeaseRequestSchema);
  const name = compile(QueueIdSchema);
  return {
    method: "POST",
    path: "/v1/queues/:queue/lease",
    summary: `Lease tasks of a pull queue, waiting up to ${MAX_WAIT_SEC} s for the first`,
    access: "leases",
    body: [{ type: JSON_TYPE, schema: LeaseRequestSchema }],
    answers: {
      200: {
        description: "The tasks, none where none came in time.",
        schema: Type.Object({ tasks: Type.Array(LeasedTaskSchema) }),
      },
    },
    problems: [404, 409, ...PROBLEMS],
    async handle({ request, params, caller }) {
      const by = consumerOf(caller);
      const queue = params.queue ?? "";
      if (!name.fits(queue)) throw invalid(name.problems(queue, "queue"));
      const leased = await pull.lease(queue, await read(request), by, request.signal);
      return json(200, { tasks: leased.map(leasedJson) });
    },
  };
}

function ackRoute(pull: PullService): Route {
  const read = bodyReader(AckRequestSchema, MAX_TOLD_BYTES);
  return {
    ...TOLD,
    path: "/v1/leases/ack",
    summary: "Tell that leased tasks are done: they have succeeded",
    body: [{ type: JSON_TYPE, schema: AckRequestSchema }],
    async handle({ request, caller }) {
      const by = consumerOf(caller);
      return json(200, { results: await pull.ack(await read(request), by) });
    },
  };
}

function nackRoute(pull: PullService): Route {
  const read = bodyReader(NackRequestSchema, MAX_TOLD_BYTES);
  return {
    ...TOLD,
    path: "/v1/leases/nack",
    summary: "Tell that leased tasks failed: they are tried again, or dead, as their retries say",
    body: [{ type: JSON_TYPE, schema: NackRequestSchema }],
    async handle({ request, caller }) {
      const by = consumerOf(caller);
      return json(200, { results: await pull.nack(await read(request), by) });
    },
  };
}

function extendRoute(pull: PullService): Route {
  const read = bodyReader(ExtendRequestSchema);
  return {
    ...TOLD,
    path: "/v1/leases/extend",
    summary: "Make leases hold longer, counted from now",
    body: [{ type: JSON_TYPE, schema: ExtendRequestSchema }],
    async handle({ request, caller }) {
      const by = consumerOf(caller);
      return json(200, { results: await pull.extend(await read(request), by) });
    },
  };
}

const TOLD = {
  method: "POST",
  access: "leases",
  answers: { 200: { description: "What became of each lease.", schema: LeaseResultsSchema } },
  problems: PROBLEMS,
} as const;

/** Who shows no key has nobody's list that could name the queue: its tasks are of clients that may have keys. */
function consumerOf({ seesAll, clientId }: Caller): ConsumerOf {
  if (seesAll) return null;
  if (clientId !== null) return clientId;
  throw new TaskRunnerError(
    "unauthorized",
    'Leasing needs a key of a client whose allowed_queues name the queue, as "Authorization: Bearer …" or in the header X-API-Key, or the admin key in X-Admin-Key.',
  );
}

function leasedJson({ task, lease }: Leased): LeasedTaskJson {
  return {
    task_id: task.id,
    lease,
    lease_until: timeJson(task.leaseUntilMs),
    queue: task.queue,
    client_id: task.clientId,
    priority: task.priority,
    attempt: task.attempt,
    crashes: task.crashes,
    scheduled_at: timeJson(task.scheduledAtMs),
    metadata: { ...task.metadata },
    traceparent: task.traceparent,
    task: targetJson(task.target),
  };
}
