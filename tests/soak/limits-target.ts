/** A target that knows how many requests it has under way, whose connection they came over, and in which order they came. */

/** A request as it arrived. */
export interface Arrival {
  readonly taskId: string;
  /** The path's last part, which tells the client in these proofs. */
  readonly client: string;
  /** On the monotonic clock. */
  readonly at: number;
}

interface Waiter {
  readonly met: () => boolean;
  readonly done: () => void;
}

export class CountingTarget {
  /** In order of arrival. */
  readonly arrivals: Arrival[] = [];
  /** Requests that have arrived and have neither been answered nor lost their connection. */
  inFlight = 0;
  /** The most that were under way at once, since {@link forgetPeak}. */
  peak = 0;
  /** Requests whose connection was gone before they were answered. */
  lost = 0;
  readonly #server: Bun.Server<undefined>;
  readonly #answerAfterMs: () => number;
  readonly #waiters = new Set<Waiter>();
  #held: (() => void)[] = [];
  #holding = false;

  /** `answerAfterMs` tells for each request how long it takes. */
  constructor(answerAfterMs: () => number = () => 0) {
    this.#answerAfterMs = answerAfterMs;
    this.#server = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      idleTimeout: 0,
      fetch: (request) => this.#receive(request),
    });
  }

  /** What a task of this client calls. */
  urlOf(client: string): string {
    return `${this.#server.url.origin}/${client}`;
  }

  /** From now on requests are kept waiting. */
  hold(): void {
    this.#holding = true;
  }

  /** Answers those that were kept waiting, and from now on as they come. */
  release(): void {
    this.#holding = false;
    for (const answer of this.#held.splice(0)) answer();
  }

  forgetPeak(): void {
    this.peak = this.inFlight;
  }

  of(client: string): readonly Arrival[] {
    return this.arrivals.filter((arrival) => arrival.client === client);
  }

  /** Resolves as soon as `met` holds, which may change with every arrival and end; rejects after `withinMs`. */
  until(what: string, withinMs: number, met: () => boolean): Promise<void> {
    if (met()) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const waiter: Waiter = {
        met,
        done: () => {
          clearTimeout(timer);
          this.#waiters.delete(waiter);
          resolve();
        },
      };
      const timer = setTimeout(() => {
        this.#waiters.delete(waiter);
        reject(new Error(`not within ${withinMs} ms: ${what}; ${this.arrivals.length} requests came`));
      }, withinMs);
      this.#waiters.add(waiter);
    });
  }

  async stop(): Promise<void> {
    this.release();
    await this.#server.stop(true);
  }

  #changed(): void {
    for (const waiter of [...this.#waiters]) if (waiter.met()) waiter.done();
  }

  async #receive(request: Request): Promise<Response> {
    this.inFlight++;
    this.peak = Math.max(this.peak, this.inFlight);
    let over = false;
    const end = () => {
      if (over) return;
      over = true;
      this.inFlight--;
      this.#changed();
    };
    request.signal.addEventListener("abort", () => {
      if (!over) this.lost++;
      end();
    });
    this.arrivals.push({
      taskId: request.headers.get("x-task-id") ?? "",
      client: new URL(request.url).pathname.slice(1),
      at: performance.now(),
    });
    this.#changed();
    const afterMs = this.#answerAfterMs();
    if (afterMs > 0) await new Promise((resolve) => setTimeout(resolve, afterMs));
    if (this.#holding) await new Promise<void>((answer) => this.#held.push(answer));
    // It is over before its sender can know, so that what is counted is never too much.
    end();
    return new Response("ok");
  }
}
