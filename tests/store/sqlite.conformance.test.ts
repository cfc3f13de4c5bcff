/** Runs the store's conformance suite on the embedded store, on a file and in memory. */

import { expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { StoreSettings, TaskStore } from "../../src/core/store.ts";
import { openSqliteStore } from "../../src/store/sqlite/store.ts";
import { DEFAULT_SETTINGS, type OpenedStore, storeConformance } from "../conformance/store.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { newTask } from "../support/tasks.ts";

storeConformance("sqlite file", openFile);
storeConformance("sqlite :memory:", openMemory, { reopen: false, second: false });

test("a file's tasks are as safe as the disk, a memory's no safer than the process", async () => {
  const [file, memory] = [await openFile(), await openMemory()];
  try {
    expect((await file.store.enqueue([newTask()])).durability).toBe("disk");
    expect((await memory.store.enqueue([newTask()])).durability).toBe("memory");
  } finally {
    await file.close();
    await memory.close();
  }
});

async function openFile(settings: Partial<StoreSettings> = {}): Promise<OpenedStore> {
  const dir = await mkdtemp(join(tmpdir(), "task-runner-store-"));
  const clock = new ManualClock();
  const handles: TaskStore[] = [];
  const openHandle = async () => {
    const path = join(dir, "task-runner.db");
    const store = await openSqliteStore({ path, settings: { ...DEFAULT_SETTINGS, ...settings }, clock });
    handles.push(store);
    return store;
  };
  const store = await openHandle();
  return {
    store,
    ...timeOf(clock),
    async reopen() {
      await store.close();
      return openHandle();
    },
    second: openHandle,
    async close() {
      await closeAll(handles);
      await rm(dir, { recursive: true, force: true });
    },
  };
}

async function openMemory(settings: Partial<StoreSettings> = {}): Promise<OpenedStore> {
  const clock = new ManualClock();
  const store = await openSqliteStore({
    path: ":memory:",
    settings: { ...DEFAULT_SETTINGS, ...settings },
    clock,
  });
  return { store, ...timeOf(clock), close: () => closeAll([store]) };
}

function timeOf(clock: ManualClock): Pick<OpenedStore, "advance" | "now"> {
  return { advance: (ms) => clock.advance(ms), now: () => clock.now() };
}

/** A test may have closed a handle itself, and a closed store may refuse to be closed again. */
async function closeAll(handles: readonly TaskStore[]): Promise<void> {
  await Promise.allSettled(handles.map((handle) => handle.close()));
}
