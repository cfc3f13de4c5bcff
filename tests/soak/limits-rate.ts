/** The proof for requests a minute: many callers, several processes, one client of the tier `free`, and no minute with more. */

import { wait } from "./failover-faults.ts";
import { seeded } from "./kill-round.ts";
import { type Answer, type Api, type Enqueued, Fleet } from "./limits-fleet.ts";

/** The tier `free`. */
export const FREE_A_MINUTE = 10;
const MINUTE_MS = 60_000;
const CALLERS = 20;
const PROCESSES = 3;
/** A time that a Retry-After names is only looked into if callers went on trying for so long after it. */
const PROMISE_SLACK_MS = 2_000;
/** Not called: the tasks are for tomorrow, and nobody works. */
const NOWHERE = "http://127.0.0.1:9/";
const TOMORROW_SEC = 86_400;

export interface RateReport {
  readonly tried: number;
  /** Acceptances by the store's own clock in each minute from the first one on. */
  readonly minutes: readonly number[];
  /** The most in any sixty seconds. */
  readonly fullestMinute: number;
  /** From an acceptance to the tenth one after it, at least; null where there were not so many. */
  readonly tightestMs: number | null;
  /** Refusals whose Retry-After, RateLimit-* or detail were not as they should be. */
  readonly odd: readonly string[];
  /**
   * The time that a Retry-After named, less that of the acceptance nearest to it: between these, in milliseconds. Null
   * when none named a time before the end.
   */
  readonly promisedLessActualMs: readonly [least: number, most: number] | null;
}

/** One client's share of the load: when its callers begin and how they pace themselves. */
interface Load {
  readonly client: string;
  /** How often each caller tries, at most. */
  readonly tries: number;
  readonly untilMs: number;
  /** A caller rests up to this long after each answer. */
  readonly restMs: number;
  /** Each caller tries once when its turn comes, so far apart, and goes on when all have had theirs. */
  readonly staggerMs: number;
}

/** Twenty callers try ten times each, as fast as they can. */
export async function rateBurst(): Promise<RateReport> {
  return onFleet(async (apis) => {
    const load: Load = { client: "burst", tries: 10, untilMs: MINUTE_MS, restMs: 0, staggerMs: 0 };
    return run(apis, load, () => 0);
  });
}

export interface RateSoakReport {
  /** All begin at once. */
  readonly burst: RateReport;
  /** They begin one after another, so that the first ten are spread over a quarter of a minute. */
  readonly spread: RateReport;
  /** A caller that comes back when it was told to: what it was told, and how often it had to. */
  readonly patient: { readonly toldSec: readonly number[]; readonly accepted: number };
}

/** For so many minutes, with three clients at once. */
export async function rateSoak(seed: number, minutes: number): Promise<RateSoakReport> {
  const random = seeded(seed);
  const whole = { tries: Number.POSITIVE_INFINITY, untilMs: minutes * MINUTE_MS, restMs: 200 };
  return onFleet(async (apis) => {
    const [burst, spread, patient] = await Promise.all([
      run(apis, { ...whole, client: "burst", staggerMs: 0 }, random),
      run(apis, { ...whole, client: "spread", staggerMs: 1_500 }, random),
      comeBack(apis, minutes - 1),
    ]);
    return { burst, spread, patient };
  });
}

async function onFleet<T>(proof: (apis: readonly Api[]) => Promise<T>): Promise<T> {
  const fleet = await Fleet.open("redis");
  try {
    return await proof(await fleet.serve(PROCESSES));
  } finally {
    await fleet.close();
  }
}

/** A refusal, and when its answer was there; milliseconds since the epoch. */
interface Refusal {
  readonly atMs: number;
  readonly retryAfterSec: number;
}

async function run(apis: readonly Api[], load: Load, random: () => number): Promise<RateReport> {
  const { client, tries, untilMs, restMs, staggerMs } = load;
  const refusals: Refusal[] = [];
  const odd: string[] = [];
  const beganAt = performance.now();
  const elapsed = () => performance.now() - beganAt;
  let tried = 0;
  const caller = async (nth: number) => {
    for (let turn = 0; turn < tries && elapsed() < untilMs; turn++) {
      if (turn === 0) await wait(nth * staggerMs);
      if (turn === 1) await wait(Math.max(0, CALLERS * staggerMs - elapsed()));
      tried++;
      const answer = await hand(apis[(nth + turn) % apis.length], client);
      const wrong = oddity(answer, client);
      if (wrong !== null) odd.push(wrong);
      if (answer.status === 429) refusals.push({ atMs: Date.now(), retryAfterSec: retryAfterOf(answer) });
      if (restMs > 0) await wait(random() * restMs);
    }
  };
  await Promise.all(Array.from({ length: CALLERS }, (_, nth) => caller(nth)));
  const kept = (await apis[0]?.list<{ created_at: string }>(`client_id=${client}`)) ?? [];
  const accepted = kept.map((task) => Date.parse(task.created_at)).sort((a, b) => a - b);
  const askedUntilMs = Date.now() - elapsed() + untilMs - PROMISE_SLACK_MS;
  const promisedLessActualMs = keptPromises(refusals, accepted, askedUntilMs);
  return { tried, odd, ...windowsOf(accepted), promisedLessActualMs };
}

/** Uses up what a minute allows, and comes back when it was told to, so many times. */
async function comeBack(apis: readonly Api[], times: number): Promise<RateSoakReport["patient"]> {
  const toldSec: number[] = [];
  let accepted = 0;
  for (let nth = 0; nth < (times + 1) * FREE_A_MINUTE; nth++) {
    let answer = await hand(apis[nth % apis.length], "patient");
    if (answer.status === 429) {
      toldSec.push(retryAfterOf(answer));
      await wait(retryAfterOf(answer) * 1_000);
      answer = await hand(apis[(nth + 1) % apis.length], "patient");
    }
    if (answer.status === 202) accepted++;
  }
  return { toldSec, accepted };
}

function hand(api: Api | undefined, client: string): Promise<Answer<Enqueued>> {
  if (api === undefined) throw new Error("there is no process to ask");
  return api.enqueue({ client_id: client, delay: TOMORROW_SEC, task: { url: NOWHERE } });
}

function retryAfterOf({ headers }: Answer<unknown>): number {
  return Number(headers.get("retry-after"));
}

/** What of an answer is not as a caller of this client is promised; null when all is. */
function oddity({ status, headers, body }: Answer<Enqueued>, client: string): string | null {
  const limit = headers.get("ratelimit-limit");
  const policy = headers.get("ratelimit-policy");
  const remaining = Number(headers.get("ratelimit-remaining") ?? Number.NaN);
  const reset = Number(headers.get("ratelimit-reset") ?? Number.NaN);
  const told = `${status} limit ${limit} remaining ${remaining} reset ${reset} policy ${policy}`;
  const isSane =
    limit === String(FREE_A_MINUTE) && policy === `${FREE_A_MINUTE};w=60` && reset > 0 && reset <= 61;
  if (!isSane) return told;
  if (status === 202) return remaining >= 0 && remaining < FREE_A_MINUTE ? null : told;
  const after = Number(headers.get("retry-after") ?? Number.NaN);
  const isTold =
    body.code === "rate_limited" && /free/.test(body.detail ?? "") && body.detail?.includes(client);
  const isRefusal =
    status === 429 && remaining === 0 && after > 0 && after <= reset && Number.isInteger(after);
  return isRefusal && isTold ? null : `${told} retry-after ${after}: ${JSON.stringify(body)}`;
}

/** `accepted` in order, in milliseconds since the epoch. */
function windowsOf(
  accepted: readonly number[],
): Pick<RateReport, "minutes" | "fullestMinute" | "tightestMs"> {
  const [first = 0] = accepted;
  const minutes: number[] = [];
  let fullestMinute = 0;
  let tightestMs: number | null = null;
  let oldest = 0;
  for (const [index, atMs] of accepted.entries()) {
    const minute = Math.floor((atMs - first) / MINUTE_MS);
    while (minutes.length <= minute) minutes.push(0);
    minutes[minute] = (minutes[minute] ?? 0) + 1;
    while ((accepted[oldest] ?? atMs) + MINUTE_MS <= atMs) oldest++;
    fullestMinute = Math.max(fullestMinute, index - oldest + 1);
    const before = accepted[index - FREE_A_MINUTE];
    if (before !== undefined) tightestMs = Math.min(tightestMs ?? Number.POSITIVE_INFINITY, atMs - before);
  }
  return { minutes, fullestMinute, tightestMs };
}

/** Whether somebody was let in when refusals said so: those whose time came before `endMs`. */
function keptPromises(
  refusals: readonly Refusal[],
  accepted: readonly number[],
  endMs: number,
): RateReport["promisedLessActualMs"] {
  let least = Number.POSITIVE_INFINITY;
  let most = Number.NEGATIVE_INFINITY;
  for (const { atMs, retryAfterSec } of refusals) {
    const promisedMs = atMs + retryAfterSec * 1_000;
    if (promisedMs > endMs) continue;
    const errors = accepted.map((each) => promisedMs - each);
    const nearest = errors.reduce((best, error) => (Math.abs(error) < Math.abs(best) ? error : best));
    least = Math.min(least, nearest);
    most = Math.max(most, nearest);
  }
  return most === Number.NEGATIVE_INFINITY ? null : [least, most];
}
