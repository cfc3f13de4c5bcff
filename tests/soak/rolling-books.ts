/** The books of a rolling replacement: what was asked and answered, what was delivered, and why anything was delivered twice. */

/** What the store says of a task in the end, as far as it explains that its target was called again. */
export interface Account {
  /** Workers that let its lease run out. */
  readonly crashes: number;
  /** Times that it was given back uncharged. */
  readonly releases: number;
}

export interface RollingReport {
  /** Requests of all kinds, repetitions included. */
  readonly requests: number;
  readonly acknowledged: number;
  /** Answers 503 with a time to come back after, by their code. */
  readonly refused: Readonly<Record<string, number>>;
  /** Connections refused: nothing was sent. */
  readonly unconnected: number;
  /** Requests that ended in any other way than they should. */
  readonly failed: readonly string[];
  /** Acknowledged and never delivered. */
  readonly lost: readonly string[];
  /** Tasks delivered more than once, that were given back; and those whose lease ran out. */
  readonly released: number;
  readonly expired: number;
  /** Delivered more often than the store has reasons for. */
  readonly unexplained: readonly string[];
  readonly longestRequestMs: number;
}

export class RollingBooks {
  requests = 0;
  unconnected = 0;
  longestRequestMs = 0;
  readonly failed: string[] = [];
  readonly acknowledged: string[] = [];
  readonly #refused = new Map<string, number>();
  readonly #deliveries = new Map<string, number>();

  refusedWith(code: string): void {
    this.#refused.set(code, (this.#refused.get(code) ?? 0) + 1);
  }

  delivered(id: string): void {
    this.#deliveries.set(id, (this.#deliveries.get(id) ?? 0) + 1);
  }

  missing(): string[] {
    return this.acknowledged.filter((id) => !this.#deliveries.has(id));
  }

  repeated(): string[] {
    return [...this.#deliveries].filter(([, times]) => times > 1).map(([id]) => id);
  }

  /** `account` tells of every task that was delivered more than once. */
  close(accounts: ReadonlyMap<string, Account>): RollingReport {
    const unexplained: string[] = [];
    let released = 0;
    let expired = 0;
    for (const id of this.repeated()) {
      const { crashes, releases } = accounts.get(id) ?? { crashes: 0, releases: 0 };
      if ((this.#deliveries.get(id) ?? 0) > 1 + crashes + releases) unexplained.push(id);
      else if (crashes > 0) expired++;
      else released++;
    }
    return {
      requests: this.requests,
      acknowledged: this.acknowledged.length,
      refused: Object.fromEntries(this.#refused),
      unconnected: this.unconnected,
      failed: this.failed,
      lost: this.missing(),
      released,
      expired,
      unexplained,
      longestRequestMs: Math.round(this.longestRequestMs),
    };
  }
}
