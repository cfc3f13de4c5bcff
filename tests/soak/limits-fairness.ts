/** The proof of fair turns: one client has very many tasks waiting, and a thousand others do not notice. */

import { Fleet, type Place } from "./limits-fleet.ts";
import { CountingTarget } from "./limits-target.ts";

/** Clients that come with one task each. */
export const OTHERS = 1_000;
const CROWD = "crowd";
const WORKERS = 2;
const CONCURRENCY = 50;
const QUEUE = "shared";
/** The crowd's deliveries are seen to flow before the others come. */
const FLOWING = 200;
const FLOW_MS = 20_000;
const GIVE_UP_MS = 60_000;

export interface FairnessReport {
  readonly waiting: number;
  readonly filledPerSec: number;
  /** Deliveries from the moment the others were taken until the last of theirs. */
  readonly deliveriesUntilLast: number;
  /** From the moment the others were handed in until the last of theirs was delivered. */
  readonly lastAfterMs: number;
  /** Of the others' tasks. */
  readonly undelivered: number;
}

export interface FairnessOptions {
  readonly place: Place;
  /** The crowd's tasks. */
  readonly waiting: number;
}

/** Runs one proof; rejects only when it could not be run. */
export async function fairnessProof({ place, waiting }: FairnessOptions): Promise<FairnessReport> {
  const target = new CountingTarget();
  const fleet = await Fleet.open(place);
  try {
    const [api] = await fleet.serve(1);
    if (api === undefined) throw new Error("there is no API");
    await api.setClient(CROWD, { overrides: { requests_per_minute: null, max_concurrent: null } });
    await api.setQueue(QUEUE, { paused: true });
    const taskOf = (client: string) => ({
      client_id: client,
      queue: QUEUE,
      task: { url: target.urlOf(client) },
    });
    const beganAt = performance.now();
    await api.fill(waiting, () => taskOf(CROWD));
    const filledPerSec = Math.round((waiting * 1_000) / (performance.now() - beganAt));

    await fleet.work(WORKERS, CONCURRENCY);
    await api.change("resume", QUEUE);
    await target.until("the crowd's tasks flow", FLOW_MS, () => target.arrivals.length >= FLOWING);
    const handedInAt = performance.now();
    await api.fill(OTHERS, (index) => taskOf(`other-${index}`));
    const takenAt = performance.now();
    let left = OTHERS;
    let looked = 0;
    const allCame = () => {
      for (; looked < target.arrivals.length; looked++) if (target.arrivals[looked]?.client !== CROWD) left--;
      return left === 0;
    };
    await target.until("the others' tasks are delivered", GIVE_UP_MS, allCame).catch(() => {});
    const since = target.arrivals.filter(({ at }) => at >= takenAt);
    const last = since.findLastIndex(({ client }) => client !== CROWD);
    return {
      waiting,
      filledPerSec,
      deliveriesUntilLast: last + 1,
      lastAfterMs: Math.round((since[last]?.at ?? takenAt) - handedInAt),
      undelivered: left,
    };
  } finally {
    await fleet.close();
    await target.stop();
  }
}
