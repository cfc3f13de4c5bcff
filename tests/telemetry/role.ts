/** A role of the app in this process, on a real store, for tests to look at what it tells of itself. */

import { REDIS_GRAMMAR } from "../../src/app/redis-store.ts";
import { type App, startApp } from "../../src/app.ts";
import { loadConfig, type Role } from "../../src/config.ts";
import { systemClock } from "../../src/runtime.ts";
import { createLogger } from "../../src/telemetry/logger.ts";

const PATIENCE_MS = 15_000;

/** Resolves once `isSo` holds; fails, saying what was awaited, when it never does. */
export async function until(what: string, isSo: () => boolean | Promise<boolean>): Promise<void> {
  const deadlineMs = performance.now() + PATIENCE_MS;
  while (!(await isSo())) {
    if (performance.now() > deadlineMs) throw new Error(`waited ${PATIENCE_MS} ms in vain: ${what}`);
    await Bun.sleep(20);
  }
}

/** Lines of a log, parsed. */
export type Line = Readonly<Record<string, unknown>> & { readonly level: string; readonly msg: string };

export class RunningRole {
  readonly log: Line[];
  readonly #app: App;

  private constructor(app: App, log: Line[]) {
    this.#app = app;
    this.log = log;
  }

  /** On a store in memory unless the settings say otherwise; clients have no limits. */
  static async start(role: Role, env: Readonly<Record<string, string>> = {}): Promise<RunningRole> {
    const settings = {
      HOST: "127.0.0.1",
      PORT: "0",
      STORE_URL: "sqlite::memory:",
      ALLOW_PRIVATE_URLS: "true",
      LOG_LEVEL: "debug",
      ...env,
    };
    const { config, problems } = loadConfig(settings, REDIS_GRAMMAR);
    if (problems.length > 0) throw new Error(problems.map(({ line }) => line).join("\n"));
    const log: Line[] = [];
    const destination = { write: (line: string) => void log.push(JSON.parse(line)) };
    const logger = createLogger({ level: config.LOG_LEVEL, role, destination });
    const signal = new AbortController().signal;
    const app = await startApp({
      role,
      config,
      logger,
      clock: systemClock,
      plugins: [],
      warnings: [],
      signal,
    });
    const running = new RunningRole(app, log);
    if (role !== "work") await running.post("/admin/tiers/set", UNLIMITED);
    return running;
  }

  get url(): string {
    return this.#app.url;
  }

  async post(path: string, body: unknown, headers: Readonly<Record<string, string>> = {}) {
    const answer = await fetch(`${this.url}${path}`, {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body: JSON.stringify(body),
    });
    return { status: answer.status, json: (await answer.json()) as Record<string, unknown> };
  }

  /** The value of every sample, by its line's name and labels. */
  async metrics(): Promise<ReadonlyMap<string, number>> {
    const answer = await fetch(`${this.url}/metrics`);
    if (!answer.ok) throw new Error(`/metrics answered ${answer.status}: ${await answer.text()}`);
    const lines = (await answer.text()).split("\n").filter((line) => line !== "" && !line.startsWith("#"));
    return new Map(
      lines.map((line) => {
        const at = line.lastIndexOf(" ");
        return [line.slice(0, at), Number(line.slice(at + 1))] as const;
      }),
    );
  }

  stop(): Promise<void> {
    return this.#app.stop();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}

const UNLIMITED = { tier: "free", requests_per_minute: null, max_concurrent: null };
