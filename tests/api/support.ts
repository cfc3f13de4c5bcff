/** The API as it is served: over a loopback socket, with a real store in a file of its own. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { HealthSource } from "../../src/api/health.ts";
import { createApi } from "../../src/api/server.ts";
import { idGenerator } from "../../src/core/id.ts";
import type { TaskStore } from "../../src/core/store.ts";
import { serveHttp } from "../../src/runtime.ts";
import { TaskService, type TaskServiceOptions } from "../../src/service/tasks.ts";
import { openSqliteStore } from "../../src/store/sqlite/store.ts";
import { createLogger } from "../../src/telemetry/logger.ts";
import { createHttpTransport } from "../../src/transport/http/http.ts";
import { TransportRegistry } from "../../src/transport/registry.ts";
import { ManualClock } from "../support/manual-clock.ts";

export const MAX_PAYLOAD_BYTES = 64 * 1024;

export interface TestStore {
  readonly store: TaskStore;
  readonly clock: ManualClock;
  close(): Promise<void>;
}

/** A store in a new directory, which goes with it. */
export async function openTestStore(): Promise<TestStore> {
  const dir = await mkdtemp(join(tmpdir(), "task-runner-api-"));
  const clock = new ManualClock();
  const settings = {
    retentionSucceededMs: 3_600_000,
    retentionDeadMs: 604_800_000,
    dedupWindowMs: 3_600_000,
    maxBytes: 0,
  };
  const store = await openSqliteStore({ path: join(dir, "tasks.db"), settings, clock });
  return {
    store,
    clock,
    close: async () => {
      await store.close();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/** A service over `store` that refuses private targets, unless told otherwise. */
export function serviceOver(
  { store, clock }: Pick<TestStore, "store" | "clock">,
  options: Partial<TaskServiceOptions> = {},
): TaskService {
  const http = createHttpTransport({ allowPrivate: false, version: "test", clock });
  return new TaskService({
    store,
    transports: new TransportRegistry([http]),
    clock,
    newId: idGenerator((bytes) => {
      crypto.getRandomValues(bytes);
    }),
    maxPayloadBytes: MAX_PAYLOAD_BYTES,
    privateTargets: "check",
    ...options,
  });
}

export const WELL: HealthSource = {
  live: () => ({ ok: true, reason: null }),
  ready: async () => ({ ok: true, reason: null }),
  detailed: async () => ({ ok: true, reason: null, facts: { role: "serve" }, warnings: [] }),
};

export interface TestApi extends TestStore {
  readonly url: string;
  readonly port: number;
  /** What was logged, one parsed line each. */
  readonly logged: Record<string, unknown>[];
  readonly service: TaskService;
}

export interface TestApiOptions {
  readonly adminKey?: string;
  readonly health?: HealthSource;
  readonly service?: Partial<TaskServiceOptions>;
  /** Stands between the service and the store, to make it fail or to watch it. */
  readonly wrapStore?: (store: TaskStore) => TaskStore;
}

/** Listens on a free port until closed. */
export async function startApi(options: TestApiOptions = {}): Promise<TestApi> {
  const opened = await openTestStore();
  const store = options.wrapStore?.(opened.store) ?? opened.store;
  const service = serviceOver({ store, clock: opened.clock }, options.service);
  const logged: Record<string, unknown>[] = [];
  const api = createApi({
    service,
    health: options.health ?? WELL,
    adminKey: options.adminKey ?? null,
    logger: createLogger({
      level: "info",
      role: "test",
      destination: { write: (line) => void logged.push(JSON.parse(line)) },
    }),
    version: "1.2.3",
    maxPayloadBytes: MAX_PAYLOAD_BYTES,
  });
  const server = serveHttp({ hostname: "127.0.0.1", port: 0, fetch: api.fetch, idleTimeoutSec: 30 });
  return {
    ...opened,
    service,
    logged,
    url: server.url,
    port: server.port,
    close: async () => {
      await server.stop(2_000);
      await opened.close();
    },
  };
}

/** `store` with some methods replaced; the rest is its own. */
export function withMethods(store: TaskStore, replaced: Partial<TaskStore>): TaskStore {
  return new Proxy(store, {
    get(target, name) {
      const own = Reflect.get(replaced, name);
      if (own !== undefined) return own;
      const value = Reflect.get(target, name);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

/** The smallest request that is taken. */
export function enqueueBody(overrides: Record<string, unknown> = {}): Record<string, unknown> {
  return { client_id: "my-service", task: { url: "https://example.com/hook" }, ...overrides };
}

export interface Answered {
  readonly status: number;
  readonly headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: what an answer holds is what a test is there to find out
  readonly body: any;
}

/** Sends `body` as JSON, or as it is when it is text, and reads the answer's JSON. */
export async function send(
  method: string,
  url: string,
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<Answered> {
  const response = await fetch(url, {
    method,
    headers: { ...(body !== undefined && { "content-type": "application/json" }), ...headers },
    ...(body !== undefined && { body: typeof body === "string" ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  return {
    status: response.status,
    headers: response.headers,
    body: text === "" ? null : JSON.parse(text),
  };
}

/** The paths of a problem's failing fields. */
export function paths({ body }: Answered): string[] {
  return (body.errors ?? []).map((error: { path: string }) => error.path);
}
