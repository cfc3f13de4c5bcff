/** What a chaos run writes down while it goes on, and what its checks read afterwards. All times are of one clock, in milliseconds. */

/** What a task is there to try. */
export type TaskKind =
  | "plain"
  | "delayed"
  | "failing"
  | "doomed"
  | "slow"
  | "narrow"
  | "thin"
  | "paced"
  | "metered"
  | "ordered"
  | "batch";

/** A task as it is meant to go. */
export interface Plan {
  /** Its number in the run; also its idempotency key. */
  readonly n: number;
  readonly kind: TaskKind;
  readonly client: string;
  readonly queue: string;
  readonly priority: "critical" | "high" | "normal" | "low";
  readonly delayMs: number;
  /** Attempts that the target fails before it lets one succeed; more than {@link attempts} where none does. */
  readonly fails: number;
  /** Attempts that it may have. */
  readonly attempts: number;
  /** How long the target takes to answer. */
  readonly answerMs: number;
  /** Its ordering key and its place there, from 0. */
  readonly key: string | null;
  readonly place: number;
  /** Whether it is known by a name, or by an idempotency key. */
  readonly named: boolean;
}

/** A task that was acknowledged. */
export interface Acknowledged {
  readonly plan: Plan;
  readonly id: string;
  /** When the first request for it was sent. */
  readonly firstSentMs: number;
  /** When the request that was acknowledged was sent, and when the answer came. */
  readonly sentMs: number;
  readonly ackedMs: number;
  /** Requests that it took. */
  readonly tries: number;
}

/** How a call at the target ended. `gone`: its caller went away before. */
export type CallEnd = "ok" | "failed" | "dropped" | "gone";

/** A delivery as the target saw it. */
export interface Call {
  readonly n: number;
  readonly id: string;
  readonly attempt: number;
  readonly fence: number;
  readonly client: string;
  readonly queue: string;
  readonly arrivedMs: number;
  readonly endedMs: number;
  readonly end: CallEnd;
}

/** What a fault can do harm to. */
export type Harm = "primary" | "replica" | "sentinel" | "api" | "worker" | "target" | "memory";

/** A fault that was done. */
export interface FaultRecord {
  readonly kind: string;
  readonly subject: string;
  readonly harms: readonly Harm[];
  readonly beganMs: number;
  /** When it was taken away. */
  readonly healedMs: number;
  /** When every part was well again, as the run could tell. */
  readonly wellMs: number;
  /** From the end of the fault to the next acknowledgement and to the next delivery of a task asked for after it. */
  readonly acceptedAfterMs: number | null;
  readonly deliveredAfterMs: number | null;
}

/** How the tasks of a run ended, as the API lists them. */
export interface ListedTask {
  readonly id: string;
  readonly n: number;
  readonly state: string;
  readonly client: string;
  readonly queue: string;
  readonly attempts: number;
  readonly crashes: number;
  readonly releases: number;
}

/** What the admin API tells at the end. */
export interface Told {
  /** By state, of the whole installation. */
  readonly tasks: Readonly<Record<string, number>>;
  /** Running, by client and by queue. */
  readonly running: Readonly<Record<string, number>>;
}

export interface History {
  readonly seed: number;
  readonly leaseMs: number;
  readonly beganMs: number;
  readonly endedMs: number;
  readonly acknowledged: readonly Acknowledged[];
  /** Tasks that were asked for and never acknowledged, though one may be there. */
  readonly unknown: readonly Plan[];
  /** Tasks that were refused for their client's minute was used up. */
  readonly limited: number;
  /** Answers that no caller should ever see. */
  readonly odd: readonly string[];
  readonly calls: readonly Call[];
  readonly faults: readonly FaultRecord[];
  /** When the Sentinels put another primary in place. */
  readonly switchedMs: readonly number[];
  readonly listed: readonly ListedTask[];
  readonly told: Told;
  /** What a walk through the store found broken. */
  readonly broken: readonly string[];
}
