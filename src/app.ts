/** The composition root: builds a role from its settings, and takes it down in the reverse order. */

import { hostname } from "node:os";
import process from "node:process";
import type { HealthSource } from "./api/health.ts";
import { createApi, createHealthApi } from "./api/server.ts";
import { type Config, type Role, sqlitePathOf } from "./config.ts";
import type { Clock } from "./core/clock.ts";
import { messageOf } from "./core/errors.ts";
import { idGenerator } from "./core/id.ts";
import type { TaskStore } from "./core/store.ts";
import { type HttpServer, runtimeName, serveHttp } from "./runtime.ts";
import { TaskService } from "./service/tasks.ts";
import { openSqliteStore } from "./store/sqlite/store.ts";
import type { Logger } from "./telemetry/logger.ts";
import { createHttpTransport } from "./transport/http/http.ts";
import { TransportRegistry } from "./transport/registry.ts";
import { VERSION } from "./version.ts";
import { Worker } from "./worker/worker.ts";

export interface AppOptions {
  readonly role: Role;
  readonly config: Config;
  readonly logger: Logger;
  readonly clock: Clock;
  /** What the settings gave cause to warn of; logged with the rest at start. */
  readonly warnings: readonly string[];
}

/** A role that runs. */
export interface App {
  /** Where this machine reaches it, with the port that is really listened on. */
  readonly url: string;
  /**
   * Ends it within SHUTDOWN_GRACE_SEC and a few seconds for what must be settled after that. Never rejects:
   * what does not close cleanly is logged, and the rest is closed all the same.
   */
  stop(): Promise<void>;
}

/** Silence after which a connection is closed; requests are answered in far less. */
const IDLE_TIMEOUT_SEC = 60;
/** Requests in flight get at least this long, even when the deliveries used up the grace. */
const MIN_REQUEST_GRACE_MS = 1_000;

/**
 * Starts a role. Rejects when it cannot start, a TaskRunnerError with one clear line where the cause is
 * known; what was opened until then is closed.
 *
 * The order is: store, transports, HTTP, worker. The port is taken before the first task is claimed, so that
 * a start that fails has delivered nothing. Stopping goes the other way, the worker first and HTTP last:
 * health stays readable while deliveries finish, and in `all` new tasks are still accepted meanwhile. That
 * loses nothing, for an accepted task is kept; closing the API first would fail the deliveries whose targets
 * hand in follow-up tasks before they answer. Readiness says no from the first moment, so that no balancer
 * sends anything new.
 */
export async function startApp(options: AppOptions): Promise<App> {
  const { role, config, logger, clock } = options;
  const opened = new Opened(logger);
  const state: RoleState = { role, startedAtMs: clock.now(), stoppingBeforeMs: null, worker: null };
  const graceLeftMs = () => Math.max((state.stoppingBeforeMs ?? 0) - clock.now(), 0);
  try {
    const path = sqlitePathOf(config.STORE_URL);
    const store = await openSqliteStore({ path, settings: storeSettings(config), clock });
    opened.add("store", () => store.close());

    const allowPrivate = config.ALLOW_PRIVATE_URLS ?? false;
    const http = createHttpTransport({ allowPrivate, version: VERSION, clock });
    const transports = new TransportRegistry([http]);
    opened.add("transports", () => transports.close());

    const health = healthOf(state, store, clock);
    const { fetch } =
      role === "work"
        ? createHealthApi({ health, logger, version: VERSION })
        : createApi({
            service: taskService(options, store, transports),
            health,
            adminKey: config.ADMIN_API_KEY ?? null,
            logger,
            version: VERSION,
            maxPayloadBytes: config.MAX_PAYLOAD_BYTES,
          });
    const server = serveHttp({
      hostname: config.HOST,
      port: config.PORT,
      fetch,
      idleTimeoutSec: IDLE_TIMEOUT_SEC,
    });
    opened.add("server", () => server.stop(Math.max(graceLeftMs(), MIN_REQUEST_GRACE_MS)));

    if (role !== "serve") {
      const worker = createWorker(options, store, transports, allowPrivate);
      state.worker = worker;
      worker.start();
      opened.add("worker", () => worker.stop(graceLeftMs()));
    }
    logStart(options, server, store, path);
    return {
      url: server.url,
      stop: async () => {
        state.stoppingBeforeMs ??= clock.now() + config.SHUTDOWN_GRACE_SEC * 1_000;
        await opened.closeAll();
      },
    };
  } catch (error) {
    await opened.closeAll();
    throw error;
  }
}

/** What was opened, to be closed last-in first-out, each once. */
class Opened {
  readonly #logger: Logger;
  readonly #parts: { readonly name: string; readonly close: () => Promise<void> }[] = [];

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  add(name: string, close: () => Promise<void>): void {
    this.#parts.push({ name, close });
  }

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

function storeSettings(config: Config) {
  return {
    retentionSucceededMs: config.RETENTION_SUCCEEDED_SEC * 1_000,
    retentionDeadMs: config.RETENTION_DEAD_SEC * 1_000,
    dedupWindowMs: config.DEDUP_WINDOW_SEC * 1_000,
    maxBytes: config.STORE_MAX_BYTES,
  };
}

function taskService({ role, config, clock }: AppOptions, store: TaskStore, transports: TransportRegistry) {
  return new TaskService({
    store,
    transports,
    clock,
    newId: idGenerator((bytes) => crypto.getRandomValues(bytes)),
    maxPayloadBytes: config.MAX_PAYLOAD_BYTES,
    // ALLOW_PRIVATE_URLS is usually told to the workers only, so a `serve` that was told nothing asks them.
    privateTargets: role === "serve" && config.ALLOW_PRIVATE_URLS === undefined ? "ask-workers" : "check",
  });
}

function createWorker(
  { config, logger, clock }: AppOptions,
  store: TaskStore,
  transports: TransportRegistry,
  allowPrivateUrls: boolean,
): Worker {
  return new Worker({
    // Unique where host names and process ids repeat, as they do in containers.
    id: `${hostname()}-${process.pid}-${crypto.randomUUID().slice(0, 8)}`,
    version: VERSION,
    store,
    transports,
    clock,
    random: Math.random,
    logger,
    concurrency: config.WORKER_CONCURRENCY,
    leaseMs: config.LEASE_SEC * 1_000,
    taskTimeoutMs: config.TASK_TIMEOUT_SEC * 1_000,
    maxRetries: config.MAX_RETRY,
    allowPrivateUrls,
    breaker: { failureThreshold: config.CB_FAILURE_THRESHOLD, openMs: config.CB_TIMEOUT_SEC * 1_000 },
  });
}

/** What health tells of a role; changes as it starts and stops. */
interface RoleState {
  readonly role: Role;
  readonly startedAtMs: number;
  /** When the shutdown's grace is over; null until it begins. */
  stoppingBeforeMs: number | null;
  worker: Pick<Worker, "lastMovedAtMs" | "running"> | null;
}

/** A claim loop that has not moved for this long is stuck; it moves at least once a second. */
const STUCK_AFTER_MS = 30_000;

function healthOf(state: RoleState, store: TaskStore, clock: Clock): HealthSource {
  const ready: HealthSource["ready"] = async () => {
    if (state.stoppingBeforeMs !== null) return { ok: false, reason: "shutting down" };
    try {
      await store.check();
      return { ok: true, reason: null };
    } catch (error) {
      return { ok: false, reason: messageOf(error) };
    }
  };
  return {
    ready,
    live: () => {
      // A worker that drains claims nothing on purpose.
      if (state.worker === null || state.stoppingBeforeMs !== null) return { ok: true, reason: null };
      const stillMs = clock.now() - state.worker.lastMovedAtMs;
      if (stillMs < STUCK_AFTER_MS) return { ok: true, reason: null };
      return { ok: false, reason: `the claim loop has not moved for ${Math.round(stillMs / 1_000)} s` };
    },
    detailed: async () => ({
      ...(await ready()),
      facts: {
        role: state.role,
        store: store.name,
        runtime: runtimeName(),
        uptime_sec: Math.floor((clock.now() - state.startedAtMs) / 1_000),
        ...(state.worker === null ? {} : { running: state.worker.running }),
      },
      warnings: [],
    }),
  };
}

function logStart(
  { role, config, logger, warnings }: AppOptions,
  server: HttpServer,
  store: TaskStore,
  path: string,
) {
  for (const warning of warnings) logger.warn(warning);
  if (role !== "work" && config.ADMIN_API_KEY === undefined) {
    logger.warn(
      "ADMIN IS OPEN: ADMIN_API_KEY is not set, so whoever reaches this port can list, change and cancel every task",
    );
  }
  if (role !== "all" && path === ":memory:") {
    logger.warn(
      "tasks are kept in this process' memory, where no other process sees them: use `all`, or a file",
    );
  }
  const { port, hostname: host, url } = server;
  logger.info(
    { port, host, url, store: store.name, path, version: VERSION, runtime: runtimeName() },
    `task-runner ${role} is listening on ${url}`,
  );
}
