/** The proof for keys: requests with missing, wrong, foreign and revoked ones against a real process, and what it says of them. */

import { type RunningRole, startRole } from "../cli/harness.ts";
import {
  type Attempt,
  ask,
  type Credentials,
  crossed,
  type Step,
  secret,
  setUp,
  wrongAdminKeys,
  wrongClientKeys,
} from "./limits-auth-requests.ts";

/** A part of a key this long is as good as a leak. */
const TELLING_CHARS = 8;
const REFUSED = [401, 403, 404, 429];

export interface AuthReport {
  /** Requests that were to be refused. */
  readonly tried: number;
  /** Those of them that were not. */
  readonly letIn: readonly string[];
  /** Statuses of the others, and how many of each. */
  readonly statuses: Readonly<Record<number, number>>;
  /** Whether clients, tiers, queues, tasks and audit were afterwards as before. */
  readonly unchanged: boolean;
  /** The same requests that were refused with the right key too: it was not the key that they were refused for. */
  readonly shutOut: readonly string[];
  /** Keys, right and wrong, of which the process wrote a part or an answer told one. */
  readonly leaks: readonly string[];
  /** How much the process wrote. */
  readonly outputChars: number;
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
    const { keys, taskSteps, adminSteps } = await setUp(role, adminKey);
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
    const retry = async (step: Step, headers: Credentials) => {
      const { status, text } = await ask(role, step, headers);
      if (status >= 300) shutOut.push(`${step.method} ${step.path}: ${status} ${text}`);
    };
    for (const step of taskSteps) await retry(step, { "x-api-key": keys.own });
    for (const step of adminSteps) await retry(step, { "x-admin-key": adminKey });

    role.kill("SIGTERM");
    await role.exited;
    const { stdout, stderr } = await role.output();
    const written = stdout + stderr;
    const shown = [adminKey, ...attempts.flatMap(({ headers }) => Object.values(headers))];
    const secrets = new Set(shown.map((value) => value.replace(/^Bearer /, "")));
    const said = answers.join("\n");
    const leaks = [...secrets].flatMap((key) => [
      ...(showsPartOf(key, written) ? [`the process wrote a part of ${key}`] : []),
      ...(showsPartOf(key, said) ? [`an answer told a part of ${key}`] : []),
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

function showsPartOf(key: string, text: string): boolean {
  for (let at = 0; at + TELLING_CHARS <= key.length; at++) {
    if (text.includes(key.slice(at, at + TELLING_CHARS))) return true;
  }
  return false;
}
