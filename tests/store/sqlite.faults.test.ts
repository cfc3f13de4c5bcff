/** What the embedded store does when its file or its disk is not as it should be: a clear refusal, and nothing lost. */

import { afterEach, describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { TaskRunnerError } from "../../src/core/errors.ts";
import { idGenerator } from "../../src/core/id.ts";
import type { StoreSettings, TaskStore } from "../../src/core/store.ts";
import type { NewTask } from "../../src/core/task.ts";
import { systemClock } from "../../src/runtime.ts";
import { openSqliteStore } from "../../src/store/sqlite/store.ts";

const HOUR_MS = 3_600_000;
const newId = idGenerator((bytes) => crypto.getRandomValues(bytes));
const undo: (() => void)[] = [];

afterEach(() => {
  for (const step of undo.splice(0).reverse()) step();
});

function freshDir(): string {
  const dir = mkdtempSync(join(tmpdir(), "task-runner-faults-"));
  undo.push(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

async function open(path: string, settings: Partial<StoreSettings> = {}): Promise<TaskStore> {
  const store = await openSqliteStore({
    path,
    clock: systemClock,
    settings: {
      defaultTier: "enterprise",
      autoCreateQueues: true,
      retentionSucceededMs: HOUR_MS,
      retentionDeadMs: HOUR_MS,
      dedupWindowMs: HOUR_MS,
      maxBytes: 0,
      ...settings,
    },
  });
  undo.push(() => void store.close());
  return store;
}

function task(body = "x"): NewTask {
  return {
    id: newId(Date.now()),
    queue: "default",
    clientId: "faults",
    clientRevision: null,
    priority: "normal",
    target: { url: "http://127.0.0.1:1/", method: "POST", headers: {}, body },
    timeoutMs: null,
    scheduledAtMs: null,
    name: null,
    idempotencyKey: null,
    orderingKey: null,
    retry: {},
    retentionMs: null,
    metadata: {},
    traceparent: null,
    callbackUrl: null,
    failureCallbackUrl: null,
  };
}

/** The error a promise rejects with; fails the test when it does not. */
async function refusal(promise: Promise<unknown>): Promise<TaskRunnerError> {
  try {
    await promise;
  } catch (thrown) {
    if (thrown instanceof TaskRunnerError) return thrown;
    throw thrown;
  }
  throw new Error("it was not refused");
}

describe("opening refuses, in one line that names the file,", () => {
  test("a file that is not a database", async () => {
    const path = join(freshDir(), "store.db");
    writeFileSync(path, "this is a letter to my aunt\n".repeat(500));
    const error = await refusal(open(path));
    expect(error.code).toBe("store_unavailable");
    expect(error.message).toBe(`cannot open the store at ${path}: the file is not a SQLite database`);
  });

  test("another program's database, and leaves it as it was", async () => {
    const path = join(freshDir(), "store.db");
    const other = new DatabaseSync(path);
    other.exec("CREATE TABLE letters (aunt TEXT)");
    other.close();
    const error = await refusal(open(path));
    expect(error.message).toContain("belongs to another program");
    const again = new DatabaseSync(path);
    expect(again.prepare("SELECT name FROM sqlite_schema").all()).toMatchObject([{ name: "letters" }]);
    again.close();
  });

  test("a file written by a newer version", async () => {
    const path = join(freshDir(), "store.db");
    await (await open(path)).close();
    const db = new DatabaseSync(path);
    db.exec("PRAGMA user_version = 99");
    db.close();
    const error = await refusal(open(path));
    expect(error.message).toContain("schema version 99");
    expect(error.message).toContain("run a newer task-runner");
  });

  test("a file whose pages are damaged", async () => {
    const path = join(freshDir(), "store.db");
    const store = await open(path);
    await store.enqueue(Array.from({ length: 500 }, () => task("damage".repeat(50))));
    await store.close();
    const fd = openSync(path, "r+");
    const junk = new Uint8Array(2048).fill(0xa5);
    for (let at = 8192; at < statSync(path).size; at += 8192) writeSync(fd, junk, 0, junk.length, at);
    closeSync(fd);
    const error = await refusal(open(path));
    expect(error.message).toContain("damaged");
  });

  test("a path whose folder cannot be made", async () => {
    const dir = freshDir();
    writeFileSync(join(dir, "file"), "");
    const error = await refusal(open(join(dir, "file", "store.db")));
    expect(error.message).toStartWith(`cannot open the store at ${join(dir, "file", "store.db")}: `);
  });

  test("a read-only file, in a process that may not override it", async () => {
    const dir = freshDir();
    const path = join(dir, "store.db");
    await (await open(path)).close();
    chmodSync(path, 0o444);
    chmodSync(dir, 0o555);
    undo.push(() => chmodSync(dir, 0o755));
    // Root may write anywhere, so the refusal is asked for by a process that is nobody.
    const script = `
      const { openSqliteStore } = await import(${JSON.stringify(join(import.meta.dir, "../../src/store/sqlite/store.ts"))});
      const clock = { now: () => Date.now(), after: () => () => {} };
      const settings = { defaultTier: "free", autoCreateQueues: true, retentionSucceededMs: 0, retentionDeadMs: 0, dedupWindowMs: 0, maxBytes: 0 };
      process.setgid(65534); process.setuid(65534);
      try { await openSqliteStore({ path: ${JSON.stringify(path)}, clock, settings }); console.log("opened"); }
      catch (error) { console.log(error.message); }`;
    chmodSync(join(dir), 0o555);
    const run = spawnSync(process.execPath, ["-e", script], { encoding: "utf8" });
    expect(run.stdout.trim()).toMatch(/^cannot open the store at .*: .*(read-only|permissions)/);
  });
});

describe("a disk that fills up", () => {
  /** A small file system of our own; null where this machine does not let us make one. */
  function smallDisk(megabytes: number): string | null {
    const dir = join(freshDir(), "disk");
    mkdirSync(dir);
    const mount = spawnSync("mount", ["-t", "tmpfs", "-o", `size=${megabytes}m`, "tmpfs", dir]);
    if (mount.status !== 0) return null;
    undo.push(() => spawnSync("umount", ["-l", dir]));
    return dir;
  }
  const disk = smallDisk(8);

  test.skipIf(disk === null)(
    "refuses with store_full, keeps what it acknowledged, and goes on when there is room",
    async () => {
      const dir = smallDisk(8) ?? "";
      const path = join(dir, "store.db");
      const store = await open(path);
      const kept: string[] = [];
      let full: TaskRunnerError | undefined;
      for (let group = 0; group < 200 && full === undefined; group++) {
        const tasks = Array.from({ length: 10 }, () => task("y".repeat(20_000)));
        try {
          const { results } = await store.enqueue(tasks);
          for (const result of results) if (result.kind === "created") kept.push(result.id);
        } catch (thrown) {
          full = thrown as TaskRunnerError;
        }
      }
      expect(full?.code).toBe("store_full");
      expect(full?.retryAfterSec).toBeGreaterThan(0);
      expect(kept.length).toBeGreaterThan(0);
      for (const id of kept) expect((await store.get(id))?.state).toBe("ready");
      spawnSync("mount", ["-o", "remount,size=64m", dir]);
      const { results } = await store.enqueue([task()]);
      expect(results[0]?.kind).toBe("created");
      await store.close();
      const again = await open(path);
      for (const id of kept) expect((await again.get(id))?.state).toBe("ready");
    },
  );

  test.skipIf(disk === null)(
    "is refused at the start with one line when there is no room for an empty store",
    async () => {
      const dir = smallDisk(1) ?? "";
      spawnSync("dd", ["if=/dev/zero", `of=${join(dir, "filler")}`, "bs=1k"]);
      const error = await refusal(open(join(dir, "store.db")));
      expect(error.message).toMatch(/cannot open the store at .*: (the disk is full|.*no space)/i);
    },
  );
});

describe("STORE_MAX_BYTES", () => {
  test("refuses new tasks at the bound, lets finished ones go early, and then takes new ones again", async () => {
    const path = join(freshDir(), "store.db");
    const store = await open(path, { maxBytes: 2_000_000 });
    let refused: TaskRunnerError | undefined;
    for (let group = 0; group < 100 && refused === undefined; group++) {
      refused = await store.enqueue(Array.from({ length: 10 }, () => task("z".repeat(10_000)))).then(
        () => undefined,
        (thrown: TaskRunnerError) => thrown,
      );
    }
    expect(refused?.code).toBe("store_full");
    expect(refused?.message).toContain("STORE_MAX_BYTES");
    const { tasks } = await store.claim({ worker: "w", limit: 1_000, leaseMs: 30_000 });
    await store.settle(
      tasks.map((claimed) => ({
        lease: { taskId: claimed.id, fence: claimed.fence },
        verdict: { kind: "succeeded" },
        attempt: null,
      })),
    );
    expect((await store.sweep(1_000)).tasks).toBe(tasks.length);
    expect((await store.enqueue([task()])).results[0]?.kind).toBe("created");
  });
});

test("two processes that open a new file at once both find it ready", async () => {
  const path = join(freshDir(), "store.db");
  const stores = await Promise.all(Array.from({ length: 8 }, () => open(path)));
  await stores[0]?.enqueue([task()]);
  for (const store of stores) expect((await store.counts())[0]?.states.ready).toBe(1);
});

test("closing leaves no file open and no log behind", async () => {
  const path = join(freshDir(), "store.db");
  const store = await open(path);
  store.onHint(() => {});
  await store.enqueue([task()]);
  await store.close();
  expect(existsSync(`${path}-wal`)).toBe(false);
  expect((await refusal(store.enqueue([task()]))).message).toBe("the store is closed");
});
