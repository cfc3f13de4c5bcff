/** Targets that the workers under test deliver to: real servers that keep account of what reaches them. */

export interface Hit {
  readonly taskId: string;
  readonly attempt: number;
  readonly fence: number;
  readonly method: string;
  readonly path: string;
  readonly headers: Headers;
  readonly body: string;
  readonly atMs: number;
  /** Aborts when the worker broke the request off. */
  readonly signal: AbortSignal;
}

type Answer = (hit: Hit) => Response | Promise<Response>;

/** An HTTP server that keeps account of what reaches it and answers as it is told. */
export class Target {
  readonly hits: Hit[] = [];
  open = 0;
  mostOpen = 0;
  answer: Answer = () => new Response("ok");
  readonly #server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    idleTimeout: 0,
    fetch: async (request) => {
      this.open++;
      this.mostOpen = Math.max(this.mostOpen, this.open);
      try {
        const hit = await hitOf(request);
        this.hits.push(hit);
        return await this.answer(hit);
      } finally {
        this.open--;
      }
    },
  });

  url(path = "/"): string {
    return `http://127.0.0.1:${this.#server.port}${path}`;
  }

  hitsOf(taskId: string): Hit[] {
    return this.hits.filter((hit) => hit.taskId === taskId);
  }

  async close(): Promise<void> {
    await this.#server.stop(true);
  }
}

async function hitOf(request: Request): Promise<Hit> {
  const atMs = Date.now();
  return {
    taskId: request.headers.get("x-task-id") ?? "",
    attempt: Number(request.headers.get("x-task-attempt")),
    fence: Number(request.headers.get("x-task-fence")),
    method: request.method,
    path: new URL(request.url).pathname,
    headers: request.headers,
    body: await request.text(),
    atMs,
    signal: request.signal,
  };
}

/** An answer that comes only when the worker has broken off, or when the test lets it. */
export class HeldAnswers {
  readonly #letGo: (() => void)[] = [];
  /** How many requests were broken off by the worker. */
  aborted = 0;

  readonly answer: Answer = ({ signal }) =>
    new Promise((resolve) => {
      this.#letGo.push(() => resolve(new Response("late")));
      signal.addEventListener("abort", () => {
        this.aborted++;
        resolve(new Response("nobody listens"));
      });
    });

  get held(): number {
    return this.#letGo.length;
  }

  letGo(): void {
    for (const go of this.#letGo.splice(0)) go();
  }
}
