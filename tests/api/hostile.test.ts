import { afterAll, beforeAll, expect, test } from "bun:test";
import { connect } from "node:net";
import { type Hostile, hostileRequests } from "./hostile-requests.ts";
import { enqueueBody, send, startApi, type TestApi } from "./support.ts";

const SEED = 20_260_101;
const REQUESTS = 10_000;
const BATCH = 500;
const AT_ONCE = 24;
/** A socket on which nothing more comes is let go after this long: for a request that never ends there is no answer. */
const SILENCE_MS = 300;
/** What a heap's and an allocator's moods may add; a leak of 10 KiB a request would be 65 MiB. */
const MAX_GROWTH_BYTES = 64 * 1024 * 1024;

let api: TestApi;
beforeAll(async () => {
  api = await startApi();
});
afterAll(() => api.close());

test(
  "10,000 malformed and hostile requests meet no 5xx, no crash and no growth",
  async () => {
    const { body } = await send("POST", `${api.url}/v1/enqueue`, enqueueBody({ delay: 3_600 }));
    const statuses = new Map<number, number>();
    let warmBytes = 0;
    for (let done = 0; done < REQUESTS; done += BATCH) {
      const requests = hostileRequests(SEED + done, BATCH, body.task_id);
      for (const { request, status } of await allSent(requests)) {
        if (status >= 500 && !isRuntimes(request, status))
          throw new Error(`seed ${SEED + done}: ${status} for ${shown(request)}`);
        statuses.set(status, (statuses.get(status) ?? 0) + 1);
      }
      if (warmBytes === 0 && done >= REQUESTS / 3) warmBytes = settledBytes();
    }
    // A server that answered nothing would pass all of the above.
    for (const status of [200, 202, 400, 404, 405, 413, 415, 422]) {
      expect([...statuses.keys()]).toContain(status);
    }
    expect(api.logged).toEqual([]);
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
    const after = await send("POST", `${api.url}/v1/enqueue`, enqueueBody());
    expect(after.status).toBe(202);
    expect(settledBytes() - warmBytes).toBeLessThan(MAX_GROWTH_BYTES);
  },
  { timeout: 60_000 },
);

/** The runtime's own parser answers so to a request line of no HTTP version, before we see it. */
function isRuntimes({ kind }: Hostile, status: number): boolean {
  return kind === "raw" && status === 505;
}

interface Sent {
  readonly request: Hostile;
  /** 0 where the connection was closed without an answer. */
  readonly status: number;
}

/** Sends all of them, some at a time. */
async function allSent(requests: readonly Hostile[]): Promise<Sent[]> {
  const left = requests.values();
  const sent: Sent[] = [];
  const worker = async () => {
    for (const request of left) sent.push({ request, status: await statusOf(request) });
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  return sent;
}

async function statusOf(request: Hostile): Promise<number> {
  if (request.kind === "raw") return rawStatus(request.bytes);
  const { method, path, headers, body } = request;
  const response = await fetch(`${api.url}${path}`, { method, headers, ...(body !== null && { body }) });
  const text = await response.text();
  if (response.status >= 400 && method !== "HEAD") {
    expect(response.headers.get("content-type")).toBe("application/problem+json");
    expect(JSON.parse(text)).toMatchObject({ status: response.status, code: expect.any(String) });
  }
  expect(response.headers.get("x-request-id")).toMatch(/^[\x21-\x7e]{1,128}$/);
  return response.status;
}

/** The worst status answered on a connection of its own, which ends when the server or the silence ends it. */
function rawStatus(bytes: Uint8Array): Promise<number> {
  return new Promise((resolve) => {
    let answer = "";
    const socket = connect(api.port, "127.0.0.1", () => socket.end(bytes));
    socket.setTimeout(SILENCE_MS, () => socket.destroy());
    socket.on("data", (data) => {
      answer += data.toString("latin1");
    });
    // A refusal may reset the connection while the request is still being sent.
    socket.on("error", () => socket.destroy());
    socket.on("close", () => {
      const statuses = [...answer.matchAll(/HTTP\/1\.[01] (\d{3})/g)].map(([, status]) => Number(status));
      resolve(Math.max(0, ...statuses));
    });
  });
}

function settledBytes(): number {
  Bun.gc(true);
  return process.memoryUsage.rss();
}

function shown(request: Hostile): string {
  if (request.kind === "raw")
    return JSON.stringify(Buffer.from(request.bytes).toString("latin1").slice(0, 500));
  const body = request.body === null ? "" : Buffer.from(request.body).toString("latin1").slice(0, 2_000);
  return `${request.method} ${request.path} ${JSON.stringify(request.headers)} ${body}`;
}
