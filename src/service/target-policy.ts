/** Whether a target may be called, where the workers alone may know: they are told of private addresses, the API is not. */

import type { Clock } from "../core/clock.ts";
import type { ProducerStore } from "../core/store.ts";
import type { Target } from "../core/task.ts";
import type { TargetProblem } from "../core/transport.ts";
import { PrivateTargets } from "./private-targets.ts";
import type { TargetChecks } from "./tasks.ts";

export interface TargetPolicyOptions {
  readonly store: Pick<ProducerStore, "workers">;
  readonly transports: TargetChecks;
  readonly clock: Pick<Clock, "now">;
  /**
   * `check`: the transport has the last word on a target. `ask-workers`: one whose host it forbids is let
   * through while a living worker says that it delivers to private addresses (that worker checks again).
   */
  readonly privateTargets: "check" | "ask-workers";
}

/** A host that nothing can have against it; it is never called. */
const PUBLIC_HOST = "example.com";
const NO_PROBLEMS: readonly TargetProblem[] = [];

export class TargetPolicy {
  readonly #transports: TargetChecks;
  readonly #privateTargets: PrivateTargets | null;

  constructor({ store, transports, clock, privateTargets }: TargetPolicyOptions) {
    this.#transports = transports;
    this.#privateTargets = privateTargets === "ask-workers" ? new PrivateTargets(store, clock) : null;
  }

  /**
   * What is wrong with a target, nothing when it may be called. Answers at once but for one that only the workers can
   * speak for; rejects then as the store does.
   */
  problemsOf(target: Target): readonly TargetProblem[] | Promise<readonly TargetProblem[]> {
    const problems = this.#transports.check(target);
    if (problems.length === 0 || this.#privateTargets === null || !this.#hostIsAtFault(target)) {
      return problems;
    }
    return this.#privateTargets.allowed().then((allowed) => (allowed ? NO_PROBLEMS : problems));
  }

  /** Whether a refused target would be taken if only its host were a public one. */
  #hostIsAtFault(target: Target): boolean {
    const url = URL.parse(target.url);
    if (url === null) return false;
    url.hostname = PUBLIC_HOST;
    return this.#transports.check({ ...target, url: url.href }).length === 0;
  }
}
