/** A server that answers what a test tells it to, on a real socket, to see what the client sends and when. */

export interface Seen {
  readonly method: string;
  readonly path: string;
  readonly headers: Headers;
  readonly body: unknown;
  readonly atMs: number;
}

export interface Stub extends AsyncDisposable {
  readonly url: string;
  readonly seen: Seen[];
}

/** The answers are given in turn, the last one from then on. */
export function startStub(...answers: readonly (() => Response | Promise<Response>)[]): Stub {
  const seen: Seen[] = [];
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    async fetch(request) {
      const text = await request.text();
      const { pathname, search } = new URL(request.url);
      seen.push({
        method: request.method,
        path: `${pathname}${search}`,
        headers: request.headers,
        body: text === "" ? null : JSON.parse(text),
        atMs: performance.now(),
      });
      const answer = answers[Math.min(seen.length, answers.length) - 1];
      return answer?.() ?? new Response(null, { status: 500 });
    },
  });
  return {
    url: `http://127.0.0.1:${server.port}`,
    seen,
    [Symbol.asyncDispose]: () => server.stop(true),
  };
}

/** A refusal as the server words it. */
export function problem(status: number, code: string, headers: Record<string, string> = {}): () => Response {
  const body = {
    type: `urn:task-runner:problem:${code}`,
    title: "A title",
    status,
    detail: "A detail.",
    code,
  };
  return () =>
    Response.json(body, {
      status,
      headers: { "content-type": "application/problem+json", "x-request-id": "r-1", ...headers },
    });
}

export const fine = (value: unknown) => () => Response.json(value);
/** Never answers. */
export const silent = () => new Promise<Response>(() => {});
