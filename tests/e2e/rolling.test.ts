/** A short share of the proof of rolling replacement in every test run; `bun run soak --proof rolling` is the long one. */

import { describe, expect, test } from "bun:test";
import { startApp } from "../../scripts/app-process.ts";
import { isGood, type RollingOptions, rollingRound } from "../soak/rolling.ts";
import { KeptConnection } from "../soak/rolling-client.ts";
import { until } from "../support/redis.ts";

const LIMIT_MS = 90_000;

/** Long enough for a balancer that looks every 150 ms, on a busy machine too. */
const SHORT = {
  seed: 41,
  delaySec: 2,
  graceSec: 10,
  leaseSec: 2,
  passes: ["surge"],
  roles: ["serve", "work"],
  writers: 6,
  answerMs: (random) => random() * 300,
  restMs: 100,
  replicas: 1,
} satisfies RollingOptions;

test.concurrent(
  "every API and every worker is replaced under load, and no request fails, no task is lost, none is called twice",
  async () => {
    const report = await rollingRound(SHORT);
    expect(report.replaced).toBe(4);
    expect(report.acknowledged).toBeGreaterThan(100);
    expect(report).toMatchObject({ failed: [], lost: [], unexplained: [], bad: [] });
    expect(report).toMatchObject({ released: 0, expired: 0, unconnected: 0, nowhere: 0, passedOver: 0 });
    expect(isGood(report, SHORT, false)).toBe(true);
  },
  LIMIT_MS,
);

test.concurrent(
  "deliveries that outlast the grace of their worker are the only ones made twice, and the store knows of each",
  async () => {
    const options: RollingOptions = {
      ...SHORT,
      seed: 42,
      graceSec: 0,
      roles: ["work"],
      answerMs: (random) => (random() < 0.1 ? 2_500 : random() * 300),
    };
    const report = await rollingRound(options);
    expect(report.replaced).toBe(2);
    expect(report).toMatchObject({ failed: [], lost: [], unexplained: [], bad: [] });
    expect(report.released + report.expired).toBeGreaterThan(0);
    expect(isGood(report, options, true)).toBe(true);
  },
  LIMIT_MS,
);

describe("a server that is told to go and delays it", () => {
  for (const [name, runtime] of [
    ["this runtime", undefined],
    ["Deno", ["deno", "run", "-A"]],
  ] as const) {
    test.concurrent(
      `goes on answering on ${name}, and sends clients who keep their connections elsewhere`,
      async () => {
        const app = await startApp({
          command: "serve",
          env: { STORE_URL: "sqlite::memory:", SHUTDOWN_DELAY_SEC: "2" },
          ...(runtime !== undefined && { runtime }),
        });
        const connection = new KeptConnection(app.port);
        const isLast = (headers: ReadonlyMap<string, string>) =>
          headers.get("connection")?.toLowerCase() === "close";
        const before = await connection.ask("GET", "/health/ready");
        expect([before.status, isLast(before.headers)]).toEqual([200, false]);
        const waits = await connection.ask("POST", "/admin/queues/set", { queue: "jobs", mode: "pull" });
        expect(waits.status).toBe(200);
        const waiting = new KeptConnection(app.port).ask("POST", "/v1/queues/jobs/lease", { wait_sec: 30 });
        const ended = app.stop();
        // Told by the same connection for as long as it is kept, and by new ones from then on.
        const last = await until("readiness says no", LIMIT_MS, async () => {
          const answer = await connection.ask("GET", "/health/ready");
          return answer.status === 503 && answer;
        });
        expect(isLast(last.headers)).toBe(true);
        // Whoever waits for tasks is answered at once, and served to the end of the delay if he comes again.
        expect((await waiting).status).toBe(200);
        expect(isLast((await connection.ask("GET", "/v1/tasks")).headers)).toBe(true);
        expect(await ended).toBe(0);
      },
      LIMIT_MS,
    );
  }
});
