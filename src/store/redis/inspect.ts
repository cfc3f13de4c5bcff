/** The inspection of the store on Redis: part after part, each step one script; see lua/inspect.lua. */

import {
  assertInspected,
  type Inspection,
  type InspectionOptions,
  type InspectionStep,
  SOON_COUNTED,
  VIOLATIONS,
  type Violation,
  type ViolationKind,
} from "../../core/inspection.ts";
import type { StoreSettings } from "../../core/store.ts";
import { type Miscount, Recount } from "./recount.ts";
import type { Argument, InspectArguments, InspectReply } from "./scripts.ts";

type Run = (...args: InspectArguments) => Promise<InspectReply>;

/** The order matters where something is mended: what is put right first is found right by what comes after it. */
const PARTS = [
  "states",
  "due",
  "later",
  "leases",
  "expiry",
  "names",
  "orderings",
  "settings",
  "rings",
  "lanes",
  "flows",
] as const;
/** Parts that answer the groups whose counters are to be compared. */
const NAMING_PARTS: readonly string[] = ["orderings", "lanes"];
/** Groups asked for in one step. */
const GROUPS_AT_ONCE = 200;

export function inspectRedis(run: Run, settings: StoreSettings, options: InspectionOptions): Inspection {
  assertInspected(options);
  const steps = new RedisWalk(run, settings, options).steps();
  return {
    async step(): Promise<InspectionStep> {
      const { value } = await steps.next();
      return value ?? { violations: [], looked: 0, skipped: 0, done: true };
    },
  };
}

/** What a step of a part came to, with what is only for the walk itself. */
interface PartStep {
  readonly next: string;
  readonly answer: readonly string[];
  readonly step: InspectionStep;
}

class RedisWalk {
  readonly #run: Run;
  readonly #settings: StoreSettings;
  readonly #options: InspectionOptions;
  readonly #recount = new Recount();
  #counts = false;
  #unreadable = false;

  constructor(run: Run, settings: StoreSettings, options: InspectionOptions) {
    this.#run = run;
    this.#settings = settings;
    this.#options = options;
  }

  async *steps(): AsyncGenerator<InspectionStep, undefined> {
    const [first = "0", upto = "0"] = (await this.#part("extent", "")).answer;
    this.#counts = this.#options.thorough || Number(upto) - Number(first) <= SOON_COUNTED;
    yield* this.#walk("tasks", ({ answer }) => this.#recount.addFirst(answer), upto, "");
    for (const part of PARTS) {
      yield* this.#walk(part, ({ answer }) => {
        if (NAMING_PARTS.includes(part)) this.#recount.expect(answer);
      });
    }
    if (this.#counts) yield* this.#compare(upto);
    yield { violations: [], looked: 0, skipped: this.#counts ? this.#recount.skipped : 1, done: true };
  }

  async *#compare(upto: string): AsyncGenerator<InspectionStep, undefined> {
    const recount = this.#recount;
    const { groups } = recount;
    for (let at = 0; at < groups.length; at += GROUPS_AT_ONCE) {
      const asked = groups.slice(at, at + GROUPS_AT_ONCE);
      const { answer, step } = await this.#part("counters", "", upto, ...asked);
      // More tasks have come meanwhile than one step can count.
      const isTooMuch = answer[0] === "?";
      if (!isTooMuch) recount.compare(answer);
      yield { ...step, skipped: isTooMuch ? asked.length : 0 };
    }
    if (!recount.hasDoubts) return;
    yield* this.#walk("tasks", ({ answer }) => recount.addSecond(answer), upto, "1");
    for (const miscount of recount.verdict()) yield await this.#tell(miscount);
  }

  async #tell({ group, states }: Miscount): Promise<InspectionStep> {
    const said = states.map(({ state, counted, there }) => `${wordOf(state)} ${counted} for ${there}`);
    const isMendable = group !== "all" && this.#options.repair && !this.#unreadable;
    let mended = false;
    if (isMendable) {
      const counters = states.flatMap(({ state, counted, there }) => [state, counted, there]);
      mended = (await this.#part("recount", "", group, ...counters)).answer[0] === "1";
    }
    const violation: Violation = {
      kind: "wrong_count",
      subject: await this.#nameOf(group),
      detail: group === "all" ? `tasks that the log lists: ${said}` : `it counts ${said.join(", ")}`,
      mended,
    };
    return { violations: [violation], looked: 0, skipped: 0, done: false };
  }

  async #nameOf(group: string): Promise<string> {
    if (group === "all") return "log";
    if (group.startsWith("o")) return `key ${group.slice(1)}`;
    return (await this.#part("lane_name", "", group)).answer[0] ?? `lane ${group}`;
  }

  async *#walk(
    part: string,
    onStep: (step: PartStep) => void,
    ...asked: readonly Argument[]
  ): AsyncGenerator<InspectionStep, undefined> {
    let next = "";
    do {
      const done = await this.#part(part, next, ...asked);
      onStep(done);
      next = done.next;
      yield done.step;
    } while (next !== "");
  }

  async #part(part: string, begin: string, ...asked: readonly Argument[]): Promise<PartStep> {
    const { limit, repair } = this.#options;
    const { retentionSucceededMs, retentionDeadMs, dedupWindowMs } = this.#settings;
    const kept = [retentionSucceededMs, retentionDeadMs, dedupWindowMs] as const;
    const mends = repair ? 1 : 0;
    const [next, looked, skipped, told, answer] = await this.#run(
      part,
      begin,
      limit,
      mends,
      ...kept,
      ...asked,
    );
    const violations = violationsOf(told);
    this.#unreadable ||= violations.some(({ kind }) => kind === "unreadable_record");
    return {
      next,
      answer,
      step: { violations, looked: Number(looked), skipped: Number(skipped), done: false },
    };
  }
}

const WORDS: Readonly<Record<string, string>> = {
  s: "scheduled",
  r: "ready",
  h: "held",
  b: "set aside",
  u: "running",
  t: "retrying",
  k: "succeeded",
  d: "dead",
  c: "cancelled",
  n: "tasks",
};
const wordOf = (state: string): string => WORDS[state] ?? state;

function violationsOf(told: readonly string[]): Violation[] {
  const violations: Violation[] = [];
  for (let at = 0; at + 3 < told.length; at += 4) {
    violations.push({
      kind: kindOf(told[at]),
      subject: told[at + 1] ?? "",
      detail: told[at + 2] ?? "",
      mended: told[at + 3] === "1",
    });
  }
  return violations;
}

function kindOf(word: string | undefined): ViolationKind {
  if (word !== undefined && Object.hasOwn(VIOLATIONS, word)) return word as ViolationKind;
  throw new RangeError(`no violation is called ${JSON.stringify(word)}`);
}
