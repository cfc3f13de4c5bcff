/** The requests of the proof for keys: two clients, everything that may be asked of one of them, and keys that must not do. */

import { randomBytes } from "node:crypto";
import type { RunningRole } from "../cli/harness.ts";

const HUNG_MS = 15_000;
const TOMORROW_SEC = 86_400;

/** A request, whoever makes it. */
export interface Step {
  readonly method: "GET" | "POST" | "PATCH" | "DELETE";
  readonly path: string;
  readonly body?: object;
}

/** Headers that show who somebody is. */
export type Credentials = Readonly<Record<string, string>>;

/** Credentials by what is wrong with them. */
type WrongKeys = Readonly<Record<string, Credentials>>;

/** A request that must not get through. */
export interface Attempt {
  readonly step: Step;
  readonly headers: Credentials;
  /** What is wrong with it. */
  readonly why: string;
}

/** What it is answered. */
interface Said {
  readonly status: number;
  readonly text: string;
}

interface ClientKeys {
  /** Good for ann's tasks. */
  readonly own: string;
  /** Was ann's. */
  readonly revoked: string;
  /** Good for ben's tasks. */
  readonly foreign: string;
  /** Looks like ann's. */
  readonly invented: string;
}

/**
 * Makes two clients with keys, and tasks of one of them. The steps are in an order in which each of them succeeds with
 * the right key, if it has not been taken before.
 */
export async function setUp(role: RunningRole, adminKey: string) {
  const admin = { "x-admin-key": adminKey };
  const done = async <T>(step: Step, headers: Credentials): Promise<T> => {
    const { status, text } = await ask(role, step, headers);
    if (status >= 300) throw new Error(`${step.method} ${step.path} answered ${status}: ${text}`);
    return JSON.parse(text);
  };
  const post = (path: string, body: object): Step => ({ method: "POST", path, body });
  const newKey = (client: string) =>
    done<{ key: string; key_id: string }>(post("/admin/clients/keys/create", { client_id: client }), admin);
  const [own, revoked, spare, foreign] = [
    await newKey("ann"),
    await newKey("ann"),
    await newKey("ann"),
    await newKey("ben"),
  ];
  await done(post("/admin/clients/keys/revoke", { client_id: "ann", key_id: revoked.key_id }), admin);
  await done(post("/admin/tiers/set", { tier: "own", requests_per_minute: 1, max_concurrent: 1 }), admin);
  await done(post("/admin/queues/set", { queue: "spare" }), admin);
  const task = { client_id: "ann", delay: TOMORROW_SEC, task: { url: "https://example.com/" } };
  const asAnn = { "x-api-key": own.key };
  const { task_id: waiting } = await done<{ task_id: string }>(post("/v1/enqueue", task), asAnn);
  const { task_id: over } = await done<{ task_id: string }>(post("/v1/enqueue", task), asAnn);
  await done({ method: "DELETE", path: `/v1/tasks/${over}` }, asAnn);
  const keys: ClientKeys = {
    own: own.key,
    revoked: revoked.key,
    foreign: foreign.key,
    invented: `trk.ann.${secret()}`,
  };
  const get = (path: string): Step => ({ method: "GET", path });
  const taskSteps: Step[] = [
    post("/v1/enqueue", task),
    post("/v1/enqueue/batch", { tasks: [task, task] }),
    get("/v1/tasks?client_id=ann"),
    get(`/v1/tasks/${waiting}`),
    get(`/v1/tasks/${waiting}/explain`),
    { method: "PATCH", path: `/v1/tasks/${waiting}`, body: { delay: 60 } },
    { method: "POST", path: `/v1/tasks/${waiting}/run` },
    { method: "DELETE", path: `/v1/tasks/${waiting}` },
    { method: "POST", path: `/v1/tasks/${over}/replay` },
  ];
  const adminSteps: Step[] = [
    get("/admin/clients"),
    get("/admin/clients/get?client_id=ann"),
    get("/admin/tiers"),
    get("/admin/queues"),
    get("/admin/queues/get?queue=spare"),
    get("/admin/audit"),
    post("/admin/clients/set", { client_id: "ann", tier: "enterprise" }),
    post("/admin/clients/keys/create", { client_id: "ann" }),
    post("/admin/clients/keys/revoke", { client_id: "ann", key_id: spare.key_id }),
    post("/admin/tiers/set", { tier: "own", requests_per_minute: null, max_concurrent: null }),
    post("/admin/tiers/delete", { tier: "own" }),
    post("/admin/queues/set", { queue: "spare", max_concurrent: 1 }),
    post("/admin/queues/pause", { queue: "spare" }),
    post("/admin/queues/resume", { queue: "spare" }),
    post("/admin/queues/purge", { queue: "spare" }),
    post("/admin/queues/delete", { queue: "spare" }),
    post("/admin/dead/replay", {}),
    post("/admin/dead/purge", {}),
    post("/admin/clients/delete", { client_id: "ann" }),
  ];
  return { keys, taskSteps, adminSteps };
}

export function wrongAdminKeys(adminKey: string, keys: ClientKeys): WrongKeys {
  return {
    "no key": {},
    "a wrong key": { "x-admin-key": secret() },
    "most of the key": { "x-admin-key": adminKey.slice(0, -1) },
    "a client's key": { "x-api-key": keys.own, authorization: `Bearer ${keys.own}` },
    "a client's key in the place of the admin's": { "x-admin-key": keys.own },
  };
}

export function wrongClientKeys(keys: ClientKeys): WrongKeys {
  return {
    "no key": {},
    "a wrong key": { "x-api-key": keys.invented },
    "a key of no form": { authorization: "Bearer nonsense" },
    "most of the key": { "x-api-key": keys.own.slice(0, -1) },
    "a revoked key": { authorization: `Bearer ${keys.revoked}` },
    "another client's key": { "x-api-key": keys.foreign },
  };
}

/** Every step with each of the credentials. */
export function crossed(steps: readonly Step[], keys: WrongKeys): Attempt[] {
  return steps.flatMap((step) => Object.entries(keys).map(([why, headers]) => ({ step, headers, why })));
}

export async function ask(
  { url }: RunningRole,
  { method, path, body }: Step,
  headers: Credentials,
): Promise<Said> {
  const answer = await fetch(url + path, {
    method,
    headers: { ...headers, ...(body !== undefined && { "content-type": "application/json" }) },
    ...(body !== undefined && { body: JSON.stringify(body) }),
    signal: AbortSignal.timeout(HUNG_MS),
  });
  return { status: answer.status, text: await answer.text() };
}

/** As long as those that are made for clients. */
export function secret(): string {
  return randomBytes(32).toString("base64url");
}
