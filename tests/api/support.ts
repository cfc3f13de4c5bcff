/** The API as it is served: over a loopback socket, with a real store in a file of its own. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { HealthSource } from "../../src/api/health.ts";
import type { ClientAuth } from "../../src/api/identity.ts";
import { pullRoutes } from "../../src/api/pull.ts";
import { createApi } from "../../src/api/server.ts";
import { settingsRoutes } from "../../src/app/admin.ts";
import { type Client, FIRST_TIER, newClient, type Tier } from "../../src/core/client.ts";
import { idGenerator } from "../../src/core/id.ts";
import { defaultRetryPolicy } from "../../src/core/retry.ts";
import type { AuditEntry, SettingsKind, SettingsOf, StoreSettings, TaskStore } from "../../src/core/store.ts";
import { type HttpServer, serveHttp, systemClock } from "../../src/runtime.ts";
import type { Sealer } from "../../src/secrets/sealing.ts";
import { ClientKeys, newClientKey } from "../../src/service/client-keys.ts";
import { PullService } from "../../src/service/pull.ts";
import { PurgeRunner } from "../../src/service/purges.ts";
import { TaskService, type TaskServiceOptions } from "../../src/service/tasks.ts";
import { openSqliteStore } from "../../src/store/sqlite/store.ts";
import { createLogger, type LogLevel } from "../../src/telemetry/logger.ts";
import { createHttpTransport } from "../../src/transport/http/http.ts";
import { TransportRegistry } from "../../src/transport/registry.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { newTaskId } from "../support/tasks.ts";

export const MAX_PAYLOAD_BYTES = 64 * 1024;

export interface TestStore {
  readonly store: TaskStore;
  readonly clock: ManualClock;
  close(): Promise<void>;
}

/** Settings that a test gives to the store, and whether clients of the first tier have its limits. */
export interface TestStoreOptions extends Partial<StoreSettings> {
  readonly limits?: boolean;
}

const NO_LIMITS: Tier = { requestsPerMinute: null, maxConcurrent: null };

/** A store in a new directory, which goes with it. Nothing limits its clients unless told otherwise. */
export async function openTestStore({ limits = false, ...given }: TestStoreOptions = {}): Promise<TestStore> {
  const dir = await mkdtemp(join(tmpdir(), "task-runner-api-"));
  const clock = new ManualClock();
  const settings: StoreSettings = {
    defaultTier: FIRST_TIER,
    autoCreateQueues: true,
    retentionSucceededMs: 3_600_000,
    retentionDeadMs: 604_800_000,
    dedupWindowMs: 3_600_000,
    maxBytes: 0,
    ...given,
  };
  const store = await openSqliteStore({ path: join(dir, "tasks.db"), settings, clock });
  if (!limits) await putSettings(store, "tier", FIRST_TIER, () => NO_LIMITS);
  return {
    store,
    clock,
    close: async () => {
      await store.close();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

const BY_A_TEST: AuditEntry = {
  atMs: 0,
  actor: "open",
  action: "test",
  subject: "test",
  before: null,
  after: null,
};

/** Changes settings past the API: `next` makes of what is there what shall be, null to remove it. */
export async function putSettings<K extends SettingsKind>(
  store: TaskStore,
  kind: K,
  id: string,
  next: (current: SettingsOf[K] | null) => SettingsOf[K] | null,
): Promise<void> {
  const current = await store.read(kind, id);
  const change = { kind, id, from: current?.revision ?? null, value: next(current?.value ?? null) };
  if (!(await store.change<K>(change, BY_A_TEST))) throw new Error(`the ${kind} ${id} was changed meanwhile`);
}

/** Makes a client, or changes what is given of it. */
export function putClient(store: TaskStore, id: string, change: Partial<Client> = {}): Promise<void> {
  return putSettings(store, "client", id, (client) => ({
    ...(client ?? newClient(FIRST_TIER, 0)),
    ...change,
  }));
}

/** Gives a client one key more. */
export async function giveKey(store: TaskStore, clientId: string): Promise<string> {
  const { key, kept } = newClientKey(clientId, null, 0);
  const client = await store.read("client", clientId);
  await putClient(store, clientId, { keys: [...(client?.value.keys ?? []), kept] });
  return key;
}

function publicTransports(clock: ManualClock): TransportRegistry {
  return new TransportRegistry([createHttpTransport({ allowPrivate: false, version: "test", clock })]);
}

/** A service over `store` that refuses private targets, unless told otherwise. */
export function serviceOver(
  { store, clock }: Pick<TestStore, "store" | "clock">,
  options: Partial<TaskServiceOptions> = {},
): TaskService {
  return new TaskService({
    store,
    transports: publicTransports(clock),
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

/** An address for each request, so that wrong keys are never many from one. */
export function everyTimeAnother(): () => string {
  let made = 0;
  return () => `address-${made++}`;
}

export interface TestApi extends TestStore {
  readonly url: string;
  readonly port: number;
  /** What was logged, one parsed line each. */
  readonly logged: Record<string, unknown>[];
  readonly service: TaskService;
  readonly pull: PullService;
}

export interface TestApiOptions {
  readonly adminKey?: string;
  readonly logLevel?: LogLevel;
  readonly clientAuth?: ClientAuth;
  readonly settings?: TestStoreOptions;
  /** Where requests come from; their connection tells it unless this does. */
  readonly addressOf?: (request: Request) => string | null;
  readonly health?: HealthSource;
  readonly pathPrefix?: string;
  /** Seals signing secrets; there is none unless given. */
  readonly sealer?: Sealer;
  readonly service?: Partial<TaskServiceOptions>;
  /** Requests that wait for tasks at once, at most. */
  readonly maxPolls?: number;
  /** Stands between the service and the store, to make it fail or to watch it. */
  readonly wrapStore?: (store: TaskStore) => TaskStore;
}

/** Listens on a free port until closed. */
export async function startApi(options: TestApiOptions = {}): Promise<TestApi> {
  const opened = await openTestStore(options.settings);
  const store = options.wrapStore?.(opened.store) ?? opened.store;
  const service = serviceOver({ store, clock: opened.clock }, options.service);
  const logged: Record<string, unknown>[] = [];
  const logger = createLogger({
    level: options.logLevel ?? "info",
    role: "test",
    destination: { write: (line) => void logged.push(JSON.parse(line)) },
  });
  // In time of its own: a test's stands still while a purge has to go on.
  const purges = new PurgeRunner({ store, clock: systemClock, logger });
  const pull = new PullService({
    store,
    clock: systemClock,
    random: () => 0.5,
    newId: newTaskId,
    retry: defaultRetryPolicy(5),
    ...(options.maxPolls !== undefined && { maxPolls: options.maxPolls }),
  });
  const api = createApi({
    service,
    moreRoutes: [
      ...pullRoutes(pull),
      ...settingsRoutes({
        store,
        clock: opened.clock,
        transports: publicTransports(opened.clock),
        privateTargets: options.service?.privateTargets ?? "check",
        defaultTier: options.settings?.defaultTier ?? FIRST_TIER,
        purges,
        sealer: options.sealer ?? null,
      }),
    ],
    health: options.health ?? WELL,
    adminKey: options.adminKey ?? null,
    clientAuth: options.clientAuth ?? "off",
    clientKeys: new ClientKeys(store),
    addressOf: options.addressOf ?? ((request) => server.addressOf(request)),
    clock: opened.clock,
    logger,
    version: "1.2.3",
    maxPayloadBytes: MAX_PAYLOAD_BYTES,
    pathPrefix: options.pathPrefix ?? "",
  });
  const server: HttpServer = serveHttp({
    hostname: "127.0.0.1",
    port: 0,
    fetch: api.fetch,
    idleTimeoutSec: 30,
  });
  return {
    ...opened,
    service,
    pull,
    logged,
    url: server.url,
    port: server.port,
    close: async () => {
      pull.close();
      await server.stop(2_000);
      await purges.close();
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
