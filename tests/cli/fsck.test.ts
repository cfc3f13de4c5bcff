/** `fsck`: what it prints and how it ends, on stores that are sound, broken, busy, or not there. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { TaskStore } from "../../src/core/store.ts";
import { systemClock } from "../../src/runtime.ts";
import { parseRedisUrl } from "../../src/store/redis/connection.ts";
import { openRedisStore } from "../../src/store/redis/store.ts";
import { openSqliteStore } from "../../src/store/sqlite/store.ts";
import { DEFAULT_SETTINGS, liftLimits, put, settle, take } from "../conformance/store/harness.ts";
import { type StandaloneRedis, startRedis } from "../support/redis.ts";
import { connect } from "../support/redis-store.ts";
import { newTask, newTasks, success } from "../support/tasks.ts";
import { command, ranProgram } from "./harness.ts";

const dir = mkdtempSync(join(tmpdir(), "task-runner-fsck-"));
let redis: StandaloneRedis;
beforeAll(async () => {
  redis = await startRedis({});
});
afterAll(async () => {
  await redis.stop();
  rmSync(dir, { recursive: true, force: true });
});

let files = 0;
async function withFile(body: (url: string, store: TaskStore, path: string) => Promise<void>): Promise<void> {
  files += 1;
  const path = join(dir, `${files}.db`);
  const store = await openSqliteStore({ path, settings: DEFAULT_SETTINGS, clock: systemClock });
  try {
    await liftLimits(store);
    await put(store, ...newTasks(20));
    await body(`sqlite:${path}`, store, path);
  } finally {
    await store.close();
  }
}

function breakFile(path: string, sql: string): void {
  const db = new DatabaseSync(path);
  db.exec(sql);
  db.close();
}

describe("fsck", () => {
  test("finds nothing broken in a sound store, and ends with 0", () =>
    withFile(async (url) => {
      const ran = await command(["fsck", "--store", url]);
      expect(ran).toMatchObject({ status: 0, stderr: "" });
      expect(ran.stdout).toContain("nothing is broken");
      const json = JSON.parse((await command(["fsck", "--store", url, "--json"])).stdout);
      expect(json).toMatchObject({ store: "sqlite", sound: true, violations: [], totals: {}, skipped: 0 });
      expect(json.looked).toBeGreaterThan(20);
    }));

  test("tells what is broken, ends with 1, and mends it when asked to", () =>
    withFile(async (url, _store, path) => {
      breakFile(
        path,
        "UPDATE lanes SET ready = ready + 2; INSERT INTO names (scope, id) VALUES ('n/q/x', 'y')",
      );
      const looked = await command(["fsck"], { env: { STORE_URL: url } });
      expect(looked.status).toBe(1);
      expect(looked.stdout).toContain("it counts ready 22 for 20");
      expect(looked.stdout).toContain("dangling_name");
      const mended = await command(["fsck", "--store", url, "--repair", "--json"]);
      expect(mended.status).toBe(0);
      expect(JSON.parse(mended.stdout)).toMatchObject({
        sound: true,
        totals: { wrong_count: { found: 1, mended: 1 }, dangling_name: { found: 1, mended: 1 } },
      });
      expect((await command(["fsck", "--store", url])).status).toBe(0);
    }));

  test("says what it left, and ends with 1 then", () =>
    withFile(async (url, _store, path) => {
      breakFile(
        path,
        "UPDATE specs SET spec = '{' WHERE seq = 3; INSERT INTO names (scope, id) VALUES ('n/q/x', 'y')",
      );
      const ran = await command(["fsck", "--store", url, "--repair"]);
      expect(ran.status).toBe(1);
      expect(ran.stdout).toMatch(/unreadable_record .* left\n/);
      expect(ran.stdout).toMatch(/dangling_name .* mended\n/);
    }));

  test("shows a hundred of many, and counts the rest", () =>
    withFile(async (url, _store, path) => {
      breakFile(
        path,
        `INSERT INTO names (scope, id)
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 250) SELECT 'n/q/' || i, 'x' FROM n`,
      );
      const ran = await command(["fsck", "--store", url]);
      expect(ran.stdout).toContain("… and 150 more");
      expect(ran.stdout.split("\n").length).toBeLessThan(115);
      expect(ran.stdout).toMatch(/dangling_name +250 /);
    }));

  test("looks at a Redis by the settings of the roles", async () => {
    const keyPrefix = "fsck";
    const connection = await connect(parseRedisUrl(redis.url));
    const settings = DEFAULT_SETTINGS;
    const store = await openRedisStore({
      connection,
      keyPrefix,
      durability: "primary",
      settings,
      clock: systemClock,
    });
    try {
      await liftLimits(store);
      await put(store, ...newTasks(20));
      await settle(store, ...(await take(store, 5)).map((task) => success(task)));
      const ran = await ranProgram(["fsck", "--json"], { STORE_URL: redis.url, KEY_PREFIX: keyPrefix });
      expect(ran).toMatchObject({ status: 0, stderr: "" });
      expect(JSON.parse(ran.stdout)).toMatchObject({ store: "redis", sound: true });
    } finally {
      await store.close();
    }
  });

  test("in a loop beside others at work never takes their work for damage", () =>
    withFile(async (url, store) => {
      let ended = false;
      const work = (async () => {
        while (!ended) {
          await store.enqueue([newTask({ retentionMs: 0 }), ...newTasks(3)]);
          await settle(store, ...(await take(store, 4)).map((task) => success(task)));
          await new Promise((resolve) => setImmediate(resolve));
        }
      })();
      for (let walks = 0; walks < 5; walks++) {
        const ran = await command(["fsck", "--store", url]);
        expect(ran).toMatchObject({ status: 0 });
      }
      ended = true;
      await work;
    }));

  test("makes no store where there is none", async () => {
    const path = join(dir, "none.db");
    const ran = await command(["fsck", "--store", `sqlite:${path}`]);
    expect(ran).toMatchObject({ status: 1, stdout: "" });
    expect(ran.stderr).toContain("there is no such file");
    expect(existsSync(path)).toBe(false);
    const memory = await command(["fsck", "--store", "sqlite::memory:"]);
    expect(memory.stderr).toContain("in the memory of another process");
    const prefix = await command(["fsck", "--store", redis.url], { env: { KEY_PREFIX: "nothing" } });
    expect(prefix).toMatchObject({ status: 1, stdout: "" });
    expect(prefix.stderr).toContain("no store under the prefix nothing");
  });

  test("leaves a store of another version as it is", () =>
    withFile(async (url, _store, path) => {
      breakFile(path, "PRAGMA user_version = 2");
      const ran = await command(["fsck", "--store", url]);
      expect(ran.status).toBe(1);
      expect(ran.stderr).toContain("schema version 2");
    }));

  test("is refused with 2 where it is called wrongly", async () => {
    expect((await command(["fsck", "--mend"])).status).toBe(2);
    expect((await command(["fsck", "--store", "ftp://x"])).status).toBe(2);
  });
});
