/** The program: hands its arguments to the command line, and holds the only way out of the process. */

import process from "node:process";
import { openExistingStore } from "./app/existing-store.ts";
import { readyPlugins } from "./app/plugins.ts";
import { REDIS_GRAMMAR } from "./app/redis-store.ts";
import { startApp } from "./app.ts";
import { type CliHost, EXIT, type Output } from "./cli/host.ts";
import { runCli } from "./cli/program.ts";
import { type LoadedConfig, loadConfig, processEnv, type Role } from "./config.ts";
import { messageOf, TaskRunnerError } from "./core/errors.ts";
import { allowRequestsAtOnce, runtimeName, systemClock } from "./runtime.ts";
import { createLogger, type Logger } from "./telemetry/logger.ts";

/** A stop that takes this much longer than the grace hangs; parts bound their own ends well below it. */
const STOP_OVERTIME_MS = 20_000;
/** The log of the role that runs; null in the other commands. */
let roleLogger: Logger | null = null;

const stdout = writerTo(process.stdout);
const stderr = writerTo(process.stderr);

const host: CliHost = {
  env: processEnv(),
  loadConfig: (overrides) => loadConfig(processEnv(), REDIS_GRAMMAR, overrides),
  stdout,
  stderr,
  clock: systemClock,
  runtime: runtimeName(),
  readStdin: async () => {
    const chunks: Uint8Array[] = [];
    for await (const chunk of process.stdin) chunks.push(chunk);
    return Buffer.concat(chunks);
  },
  readyPlugins: (loaded) => readyPlugins(loaded, systemClock),
  openStore: (config) => openExistingStore(config, systemClock),
  run: runRole,
};

/**
 * Runs a role until SIGTERM or SIGINT, then stops it and resolves to 0. A second signal ends the process at
 * once with 1. Resolves to 1 when the role cannot start, to 2 when a setting is why, to 0 when a signal broke off its start.
 */
async function runRole(role: Role, loaded: LoadedConfig): Promise<number> {
  const { config } = loaded;
  if (role !== "serve") allowRequestsAtOnce(config.WORKER_CONCURRENCY, host.env);
  const logger = createLogger({ level: config.LOG_LEVEL, role });
  roleLogger = logger;
  // Listened to before the start, so that a signal during it is not lost and never leaves a part open.
  const stopping = new AbortController();
  const signalled = firstSignal(logger);
  signalled.then(() => stopping.abort());
  let app: Awaited<ReturnType<typeof startApp>>;
  try {
    const { plugins, problems, warnings } = await readyPlugins(loaded, systemClock);
    if (problems.length > 0) {
      for (const line of problems) stderr.write(`error: ${line}\n`);
      return EXIT.usage;
    }
    const { signal } = stopping;
    app = await startApp({ role, config, logger, clock: systemClock, plugins, warnings, signal });
  } catch (error) {
    if (stopping.signal.aborted) {
      logger.info({ signal: await signalled }, "stopped before it had started");
      return 0;
    }
    // A cause we know is told in its one line; anything else is a bug, and its stack is wanted.
    if (!(error instanceof TaskRunnerError)) logger.fatal({ err: error }, "start failed");
    stderr.write(`error: ${messageOf(error)}\n`);
    // A setting that only the open store could judge is as wrong as one that was refused at once.
    return error instanceof TaskRunnerError && error.code === "validation_failed" ? EXIT.usage : EXIT.failed;
  }
  const signal = await signalled;
  logger.info({ signal }, "shutting down");
  const longestStopSec = config.SHUTDOWN_DELAY_SEC + config.SHUTDOWN_GRACE_SEC;
  const hung = systemClock.after(longestStopSec * 1_000 + STOP_OVERTIME_MS, () => {
    logger.fatal("shutting down took too long; leases that were not given back run out by themselves");
    process.exit(1);
  });
  await app.stop();
  hung();
  logger.info("stopped");
  return 0;
}

function firstSignal(logger: Logger): Promise<string> {
  return new Promise((resolve) => {
    let signalled = false;
    for (const signal of ["SIGTERM", "SIGINT"] as const) {
      process.on(signal, () => {
        if (signalled) {
          logger.fatal({ signal }, "ended at once by a second signal");
          process.exit(1);
        }
        signalled = true;
        resolve(signal);
      });
    }
  });
}

/** A failure that nothing handled: the state of the process is unknown, and leases make leaving it safe. */
function crash(error: unknown, kind: string): never {
  if (roleLogger === null) process.stderr.write(`error: ${messageOf(error)}\n`);
  else roleLogger.fatal({ err: error }, kind);
  process.exit(1);
}

/** An output that knows when its reader has all of it: a process that ends before cuts off what a pipe has not taken. */
interface Writer extends Output {
  /** Waits as long as the reader takes, as a pager may; resolves at once when the reader is gone. */
  flushed(): Promise<unknown>;
}

function writerTo(stream: NodeJS.WriteStream): Writer {
  // `task-runner tasks list | head` closes our output early, which is no failure of ours.
  const gone = new Promise<void>((resolve) => stream.on("error", () => resolve()));
  let last = Promise.resolve();
  return {
    isTTY: stream.isTTY === true,
    write: (text) => {
      // Only a real write's callback tells that it was taken; Bun calls that of an empty one at once.
      last = new Promise((resolve) => stream.write(text, () => resolve()));
    },
    flushed: () => Promise.race([last, gone]),
  };
}

process.on("uncaughtException", (error) => crash(error, "uncaught exception"));
process.on("unhandledRejection", (reason) => crash(reason, "unhandled rejection"));

runCli(process.argv.slice(2), host)
  .then(async (exitCode) => {
    await Promise.all([stdout.flushed(), stderr.flushed()]);
    process.exit(exitCode);
  })
  .catch((error: unknown) => crash(error, "the command failed"));
