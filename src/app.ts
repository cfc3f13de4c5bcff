/** The composition root: builds a role from its settings, and takes it down in the reverse order. */

import { hostname } from "node:os";
import process from "node:process";
import type { HealthSource } from "./api/health.ts";
import { pullRoutes } from "./api/pull.ts";
import { type Api, adminOpenWarning, createApi, createHealthApi } from "./api/server.ts";
import { settingsRoutes } from "./app/admin.ts";
import { asksWorkers, egressOf, reachesPrivate } from "./app/egress.ts";
import { healthOf, type RoleState } from "./app/health.ts";
import { LateStore } from "./app/late-store.ts";
import { MeteredStore } from "./app/metered-store.ts";
import { Opened } from "./app/opened.ts";
import { openReadyPlugins, type ReadyPlugins } from "./app/plugins.ts";
import { type OpenOptions, type OpenStore, type StorePlan, storePlan } from "./app/store.ts";
import { openTelemetry, type Telemetry } from "./app/telemetry.ts";
import type { Config, Role } from "./config.ts";
import { type Clock, sleep } from "./core/clock.ts";
import { idGenerator } from "./core/id.ts";
import { defaultRetryPolicy } from "./core/retry.ts";
import type { TaskStore } from "./core/store.ts";
import { type HttpServer, runtimeName, serveHttp } from "./runtime.ts";
import { Sealer } from "./secrets/sealing.ts";
import { ClientKeys } from "./service/client-keys.ts";
import { PullService } from "./service/pull.ts";
import { MAX_WAIT_SEC } from "./service/pull-request.ts";
import { PurgeRunner } from "./service/purges.ts";
import { TaskService } from "./service/tasks.ts";
import type { Logger } from "./telemetry/logger.ts";
import { createHttpTransport } from "./transport/http/http.ts";
import { TransportRegistry } from "./transport/registry.ts";
import { COMMIT, VERSION } from "./version.ts";
import { Worker } from "./worker/worker.ts";

export interface AppOptions {
  readonly role: Role;
  readonly config: Config;
  readonly logger: Logger;
  readonly clock: Clock;
  /** Loaded, with their options read. */
  readonly plugins: ReadyPlugins["plugins"];
  /** What the settings gave cause to warn of; logged with the rest at start. */
  readonly warnings: readonly string[];
  /** Breaks off the start, which then rejects; without effect once it is over. */
  readonly signal: AbortSignal;
}

/** A role that runs. */
export interface App {
  /** Where this machine reaches it, with the port that is really listened on. */
  readonly url: string;
  /**
   * Ends it within SHUTDOWN_DELAY_SEC, SHUTDOWN_GRACE_SEC and a few seconds for what must be settled after that. Never rejects:
   * what does not close cleanly is logged, and the rest is closed all the same.
   */
  stop(): Promise<void>;
}

/** Silence after which a connection is closed; none is longer than that of a consumer who waits for tasks. */
const IDLE_TIMEOUT_SEC = MAX_WAIT_SEC + 30;
/** Requests in flight get at least this long, even when the deliveries used up the grace. */
const MIN_REQUEST_GRACE_MS = 1_000;

/**
 * Starts a role. Rejects when it cannot start, a TaskRunnerError with one clear line where the cause is
 * known; what was opened until then is closed.
 *
 * HTTP comes first and answers while the store is opened, which a Redis that starts cold makes take minutes:
 * liveness says that the process works, readiness says what it waits for, and what needs the store is refused
 * with 503. The worker comes last, so that a start that fails has delivered nothing. Stopping takes the worker
 * first, then HTTP, the store last: health stays readable while deliveries finish, and in `all` new tasks are
 * still accepted meanwhile. That loses nothing, for an accepted task is kept; closing the API first would fail
 * the deliveries whose targets hand in follow-up tasks before they answer. Readiness says no from the first
 * moment, so that no balancer sends anything new.
 */
export async function startApp(options: AppOptions): Promise<App> {
  const { role, config, logger, clock, signal } = options;
  const opened = new Opened(logger);
  try {
    const plan = storePlan(config);
    const late = new LateStore();
    opened.add("store", () => late.close());
    let unreachable: OpenStore["unreachable"] = () => null;
    const state: RoleState = {
      role,
      startedAtMs: clock.now(),
      storeName: plan.name,
      // What the connection knows comes first: a check that went well a moment ago says less.
      checkStore: async () => {
        const reason = unreachable();
        if (reason !== null) throw new Error(`the store cannot be reached: ${reason}`);
        await late.check();
      },
      stoppingBeforeMs: null,
      worker: null,
    };
    const telemetry = await openTelemetry({
      role,
      config,
      clock,
      logger,
      store: late,
      storeName: plan.name,
      running: () => state.worker?.running ?? null,
    });
    opened.add("telemetry", () => telemetry.close());
    const graceLeftMs = () => Math.max((state.stoppingBeforeMs ?? 0) - clock.now(), 0);

    const egress = egressOf(config);
    const http = createHttpTransport({ ...egress, version: VERSION, clock });
    const builtIn = [http];
    const plugged = await openReadyPlugins(options.plugins, builtIn, {
      clock,
      logger,
      allowPrivateUrls: egress.allowPrivate,
    });
    const transports = new TransportRegistry([...builtIn, ...plugged]);
    opened.add("transports", () => transports.close());

    const health = healthOf(state, clock);
    const purges = new PurgeRunner({ store: late, clock, logger });
    opened.add("purges", () => purges.close());
    const pull = new PullService({
      store: late,
      clock,
      random: Math.random,
      newId: taskIds(),
      retry: defaultRetryPolicy(config.MAX_RETRY),
      onSettled: (...settled) => telemetry.metrics.settled(...settled),
    });
    const addressOf = (request: Request) => server.addressOf(request);
    const { fetch } =
      role === "work"
        ? createHealthApi({ ofProcess: [telemetry.route], health, logger, version: VERSION, commit: COMMIT })
        : wholeApi(options, { store: late, transports, health, purges, pull, addressOf, telemetry });
    const server: HttpServer = serveHttp({
      hostname: config.HOST,
      port: config.PORT,
      fetch,
      idleTimeoutSec: IDLE_TIMEOUT_SEC,
    });
    opened.add("server", () => server.stop(Math.max(graceLeftMs(), MIN_REQUEST_GRACE_MS)));
    opened.add("consumers who wait", async () => pull.close());

    logWarnings(options, plan);
    logger.info({ url: server.url, store: plan.name }, `opening the store: ${plan.place}`);
    const onTrouble = (reason: string) => late.tellTrouble(reason);
    const onReplayed = (replayed: number, lost: number) => telemetry.metrics.replayed(replayed, lost);
    const found = await openUnlessAborted(plan, { role, logger, clock, signal, onTrouble, onReplayed });
    const store = new MeteredStore(found.store, telemetry.metrics, clock);
    late.use(store);
    unreachable = found.unreachable;

    if (role !== "serve") {
      const worker = createWorker(options, { store, transports, telemetry }, reachesPrivate(egress));
      state.worker = worker;
      worker.start();
      opened.add("worker", () => worker.stop(graceLeftMs()));
    }
    logStart(options, server, plan);
    return {
      url: server.url,
      stop: async () => {
        const delayMs = role === "work" ? 0 : config.SHUTDOWN_DELAY_SEC * 1_000;
        state.stoppingBeforeMs ??= clock.now() + delayMs + config.SHUTDOWN_GRACE_SEC * 1_000;
        // Unready from here on, and serving: a balancer looks elsewhere before it is refused, and clients that keep
        // their connections, consumers who wait among them, are sent there.
        server.endConnections();
        pull.close();
        if (delayMs > 0) await sleep(clock, delayMs);
        await opened.closeAll();
      },
    };
  } catch (error) {
    await opened.closeAll();
    throw error;
  }
}

/** Opens the store, or rejects at once when told to stop: a try under way may take its time to notice. */
async function openUnlessAborted(plan: StorePlan, options: OpenOptions): Promise<OpenStore> {
  const { signal } = options;
  const aborted = Promise.withResolvers<never>();
  const abort = () => aborted.reject(new Error("the start was broken off"));
  signal.addEventListener("abort", abort, { once: true });
  const opening = plan.open(options);
  try {
    if (signal.aborted) abort();
    return await Promise.race([opening, aborted.promise]);
  } catch (error) {
    // Nobody waits for it any more: opened late it is closed, and why it failed no longer matters.
    opening.then(({ store }) => store.close()).catch(() => {});
    throw error;
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

/** What the API is made of beside the settings. */
interface ApiParts {
  readonly store: LateStore;
  readonly transports: TransportRegistry;
  readonly health: HealthSource;
  readonly purges: PurgeRunner;
  readonly pull: PullService;
  readonly addressOf: (request: Request) => string | null;
  readonly telemetry: Telemetry;
}

function wholeApi({ role, config, clock, logger }: AppOptions, parts: ApiParts): Api {
  const { store, transports, health, purges, pull, addressOf, telemetry } = parts;
  const shared = {
    store,
    clock,
    transports,
    privateTargets: asksWorkers(role, config) ? ("ask-workers" as const) : ("check" as const),
  };
  return createApi({
    service: new TaskService({
      ...shared,
      newId: taskIds(),
      maxPayloadBytes: config.MAX_PAYLOAD_BYTES,
      tracing: telemetry.tracing,
    }),
    ofProcess: [telemetry.route],
    moreRoutes: [
      ...pullRoutes(pull),
      ...settingsRoutes({
        ...shared,
        defaultTier: config.DEFAULT_CLIENT_TIER,
        purges,
        sealer: sealerOf(config),
      }),
    ],
    health,
    adminKey: config.ADMIN_API_KEY ?? null,
    clientAuth: config.CLIENT_AUTH,
    clientKeys: new ClientKeys(store),
    addressOf,
    clock,
    logger,
    version: VERSION,
    commit: COMMIT,
    maxPayloadBytes: config.MAX_PAYLOAD_BYTES,
    pathPrefix: config.PATH_PREFIX ?? "",
  });
}

/** What a worker is made of beside the settings. */
interface WorkerParts {
  readonly store: TaskStore;
  readonly transports: TransportRegistry;
  readonly telemetry: Telemetry;
}

function createWorker(
  { config, logger, clock }: AppOptions,
  { store, transports, telemetry }: WorkerParts,
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
    newId: taskIds(),
    logger,
    tracing: telemetry.tracing,
    metrics: telemetry.metrics,
    inspected: store,
    concurrency: config.WORKER_CONCURRENCY,
    leaseMs: config.LEASE_SEC * 1_000,
    taskTimeoutMs: config.TASK_TIMEOUT_SEC * 1_000,
    maxRetries: config.MAX_RETRY,
    allowPrivateUrls,
    breaker: {
      failureThreshold: config.CB_FAILURE_THRESHOLD,
      openMs: config.CB_TIMEOUT_SEC * 1_000,
      minds: config.CB_RETRY_AFTER ? "hosts" : "tasks",
    },
    sealer: sealerOf(config),
  });
}

function sealerOf({ SECRETS_KEY: key }: Config): Sealer | null {
  return key === undefined ? null : new Sealer(key);
}

function taskIds() {
  return idGenerator((bytes) => crypto.getRandomValues(bytes));
}

function logWarnings({ role, config, logger, warnings }: AppOptions, plan: StorePlan) {
  for (const warning of warnings) logger.warn(warning);
  if (role !== "work" && config.ADMIN_API_KEY === undefined) {
    logger.warn(adminOpenWarning(config.CLIENT_AUTH));
  }
  if (role !== "all" && plan.isPrivate) {
    logger.warn(
      "tasks are kept in this process' memory, where no other process sees them: use `all`, a file or a Redis",
    );
  }
}

function logStart({ role, logger }: AppOptions, { port, hostname: host, url }: HttpServer, plan: StorePlan) {
  const build = COMMIT === null ? {} : { commit: COMMIT };
  logger.info(
    { port, host, url, store: plan.name, ...plan.facts, version: VERSION, ...build, runtime: runtimeName() },
    `task-runner ${role} is listening on ${url}`,
  );
}
