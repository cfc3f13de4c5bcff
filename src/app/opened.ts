/** What a role has opened, so that all of it is closed again, in the right order and whatever goes wrong. */

import type { Logger } from "../telemetry/logger.ts";

/** Parts to be closed last-in first-out, each once. */
export class Opened {
  readonly #logger: Logger;
  readonly #parts: { readonly name: string; readonly close: () => Promise<void> }[] = [];

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  add(name: string, close: () => Promise<void>): void {
    this.#parts.push({ name, close });
  }

  /** Never rejects: what does not close cleanly is logged, and the rest is closed all the same. */
  async closeAll(): Promise<void> {
    for (let part = this.#parts.pop(); part !== undefined; part = this.#parts.pop()) {
      try {
        await part.close();
      } catch (error) {
        this.#logger.error({ err: error, part: part.name }, "a part did not close cleanly");
      }
    }
  }
}
