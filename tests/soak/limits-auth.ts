/** The proof for keys: requests with missing, wrong, foreign and revoked ones against a real process, and what it says of them. */

import { randomBytes } from "node:crypto";
import { type RunningRole, startRole } from "../cli/harness.ts";

const HUNG_MS = 15_000;
/** A part of a key this long is as good as a leak. */
const TELLING_CHARS = 8;
const REFUSED = [401, 403, 404, 429];
const TOMORROW_SEC = 86_400;

export interface AuthReport {
  /** Requests that were to be refused. */
  readonly tried: number;
  /** Those of them that were not. */
  readonly letIn: readonly string[];
  /** Statuses of the others, and how many of each. */
  readonly statuses: Readonly<Record<number, number>>;
  /** Whether clients, tiers, queues, tasks and audit were afterwards as before. */
  readonly unchanged: boolean;
  /** The same requests with the right key that were refused: with them the proof would prove nothing. */
  readonly shutOut: readonly string[];
  /** Keys of which the process wrote, or an answer said, a part. */
  readonly leaks: readonly string[];
  /** How much the process wrote. */
  readonly outputChars: number;
}

interface Step {
  readonly method: "GET" | "POST" | "PATCH" | "DELETE";
  readonly path: string;
  readonly body?: object;
}

/** Header and key, by what is wrong with them. */
type Keys = Readonly<Record<string, Readonly<Record<string, string>>>>;

interface Said {
  readonly status: number;
  readonly text: string;
}

/** Runs the proof; rejects only when it could not be run. */
export async function authProof(): Promise<AuthReport> {
  const adminKey = secret();
  const role = await startRole("serve", {
    ADMIN_API_KEY: adminKey,
    CLIENT_AUTH: "required",
    LOG_LEVEL: "debug",
  });
  try {
    const before = await setUp(role, adminKey);
    const { keys, taskSteps, adminSteps } = before;
    const answers: string[] = [];
    const letIn: string[] = [];
    const statuses: Record<number, number> = {};
    const state = await stateOf(role, adminKey);
    const attempts = [
      ...crossed(adminSteps, wrongAdminKeys(adminKey, keys)),
      ...crossed(taskSteps, wrongClientKeys(keys)),
    ];
    const trial = async ({ step, headers, why }: Attempt) => {
      const { status, text } = await ask(role, step, headers);
      answers.push(text);
      statuses[status] = (statuses[status] ?? 0) + 1;
      if (!isRefusal(status, text)) letIn.push(`${step.method} ${step.path} with ${why}: ${status} ${text}`);
    };
    await Promise.all(attempts.map(trial));
    const unchanged = (await stateOf(role, adminKey)) === state;

    const shutOut: string[] = [];
    const retry = async (step: Step, headers: Readonly<Record<string, string>>) => {
      const { status, text } = await ask(role, step, headers);
      if (status >= 300) shutOut.push(`${step.method} ${step.path}: ${status} ${text}`);
    };
    for (const step of taskSteps) await retry(step, { "x-api-key": keys.own });
    for (const step of adminSteps) await retry(step, { "x-admin-key": adminKey });

    role.kill("SIGTERM");
    await role.exited;
    const { stdout, stderr } = await role.output();
    const written = stdout + stderr;
    const secrets = { admin: adminKey, ...keys };
    const leaks = Object.entries(secrets).flatMap(([name, key]) => [
      ...(showsPartOf(key, written) ? [`the process wrote of the ${name} key`] : []),
      ...(showsPartOf(key, answers.join("\n")) ? [`an answer told of the ${name} key`] : []),
    ]);
    return {
      tried: attempts.length,
      letIn,
      statuses,
      unchanged,
      shutOut,
      leaks,
      outputChars: written.length,
    };
  } finally {
    role.kill("SIGKILL");
    await role.exited;
  }
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

/** Two clients with keys, tasks of one of them, and everything that may be asked about it all. */
async function setUp(role: RunningRole, adminKey: string) {
  const admin = { "x-admin-key": adminKey };
  const done = async <T>(step: Step, headers: Readonly<Record<string, string>>): Promise<T> => {
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
    post(`/v1/tasks/${waiting}/run`, {}),
    { method: "DELETE", path: `/v1/tasks/${waiting}` },
    post(`/v1/tasks/${over}/replay`, {}),
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

function wrongAdminKeys(adminKey: string, keys: ClientKeys): Keys {
  return {
    "no key": {},
    "a wrong key": { "x-admin-key": secret() },
    "most of the key": { "x-admin-key": adminKey.slice(0, -1) },
    "a client's key": { "x-api-key": keys.own, authorization: `Bearer ${keys.own}` },
    "a client's key in the place of the admin's": { "x-admin-key": keys.own },
  };
}

function wrongClientKeys(keys: ClientKeys): Keys {
  return {
    "no key": {},
    "a wrong key": { "x-api-key": keys.invented },
    "a key of no form": { authorization: "Bearer nonsense" },
    "most of the key": { "x-api-key": keys.own.slice(0, -1) },
    "a revoked key": { authorization: `Bearer ${keys.revoked}` },
    "another client's key": { "x-api-key": keys.foreign },
  };
}

interface Attempt {
  readonly step: Step;
  readonly headers: Readonly<Record<string, string>>;
  readonly why: string;
}

function crossed(steps: readonly Step[], keys: Keys): Attempt[] {
  return steps.flatMap((step) => Object.entries(keys).map(([why, headers]) => ({ step, headers, why })));
}

/** A batch is answered as a whole, each of its tasks with a refusal of its own. */
function isRefusal(status: number, text: string): boolean {
  if (REFUSED.includes(status)) return true;
  const { results = [] } = status === 202 ? (JSON.parse(text) as { results?: { code?: string }[] }) : {};
  return results.length > 0 && results.every(({ code }) => code === "forbidden");
}

/** All that the requests could have changed, as text. */
async function stateOf(role: RunningRole, adminKey: string): Promise<string> {
  const paths = ["/admin/clients", "/admin/tiers", "/admin/queues", "/admin/audit", "/v1/tasks"];
  const read = async (path: string) => {
    const { status, text } = await ask(role, { method: "GET", path }, { "x-admin-key": adminKey });
    if (status !== 200) throw new Error(`${path} answered ${status}: ${text}`);
    return text;
  };
  return (await Promise.all(paths.map(read))).join("\n");
}

async function ask(
  { url }: RunningRole,
  { method, path, body }: Step,
  headers: Readonly<Record<string, string>>,
): Promise<Said> {
  const hasBody = body !== undefined && Object.keys(body).length > 0;
  const isAdminPost = body !== undefined && path.startsWith("/admin/");
  const sent = hasBody || isAdminPost;
  const answer = await fetch(url + path, {
    method,
    headers: { ...headers, ...(sent && { "content-type": "application/json" }) },
    ...(sent && { body: JSON.stringify(body) }),
    signal: AbortSignal.timeout(HUNG_MS),
  });
  return { status: answer.status, text: await answer.text() };
}

/** As long as those that are made for clients. */
function secret(): string {
  return randomBytes(32).toString("base64url");
}

function showsPartOf(key: string, text: string): boolean {
  for (let at = 0; at + TELLING_CHARS <= key.length; at++) {
    if (text.includes(key.slice(at, at + TELLING_CHARS))) return true;
  }
  return false;
}
