/** Logs the first failure of a row and the recovery after it, so that an outage is two lines and not thousands. */

import type { Logger } from "../telemetry/logger.ts";

export class FailureStreak {
  readonly #logger: Logger;
  readonly #what: string;
  #failures = 0;

  /** `what` names what is tried, as in "claiming and settling". */
  constructor(logger: Logger, what: string) {
    this.#logger = logger;
    this.#what = what;
  }

  /** How many failures in a row there have been. */
  get failures(): number {
    return this.#failures;
  }

  failed(thrown: unknown): void {
    this.#failures++;
    if (this.#failures === 1) {
      this.#logger.error(
        { err: thrown },
        `${this.#what} failed; it is tried on, and told when it works again`,
      );
    }
  }

  succeeded(): void {
    if (this.#failures === 0) return;
    this.#logger.info({ failures: this.#failures }, `${this.#what} works again`);
    this.#failures = 0;
  }
}
