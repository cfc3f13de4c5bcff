/** The store that a run is held against: some handles on the same data, its time, and ids that a seed gives again. */

import { idGenerator } from "../../src/core/id.ts";
import type { StoreSettings, TaskStore } from "../../src/core/store.ts";
import type { ManualClock } from "../support/manual-clock.ts";

/** What a run asks of whoever opens a store for it: empty at first, and of the time of the clock to the millisecond. */
export interface ModelStore {
  readonly clock: ManualClock;
  /** Opens one more handle on the same data, as another process would. */
  open(): Promise<TaskStore>;
  /** Removes the data; the handles are closed by then. */
  close(): Promise<void>;
}

export type OpenModelStore = (settings: StoreSettings) => Promise<ModelStore>;

const SECOND_MS = 1_000;

/** Short times, so that a run of some dozen commands sees the end of each. */
export const SETTINGS: StoreSettings = {
  defaultTier: "free",
  autoCreateQueues: true,
  retentionSucceededMs: 60 * SECOND_MS,
  retentionDeadMs: 120 * SECOND_MS,
  dedupWindowMs: 90 * SECOND_MS,
  maxBytes: 0,
};

/** Handles of a run. Each command goes through any of them: what one of them does holds for the other. */
const HANDLES = 2;

export class World {
  readonly #opened: ModelStore;
  readonly #handles: TaskStore[];
  readonly #nextId: (nowMs: number) => string;

  constructor(opened: ModelStore, handles: TaskStore[]) {
    this.#opened = opened;
    this.#handles = handles;
    let state = 1;
    this.#nextId = idGenerator((bytes) => {
      for (let at = 0; at < bytes.length; at++) {
        // Numerical Recipes' generator: its high bits are good enough to tell ids apart.
        state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
        bytes[at] = state >>> 24;
      }
    });
  }

  get clock(): ManualClock {
    return this.#opened.clock;
  }

  get nowMs(): number {
    return this.#opened.clock.now();
  }

  newId(): string {
    return this.#nextId(this.nowMs);
  }

  /** One of the handles, told by any number. */
  store(via: number): TaskStore {
    const store = this.#handles[via % this.#handles.length];
    if (store === undefined) throw new Error("a run has at least one handle");
    return store;
  }

  /** Closes a handle and opens another. */
  async reopen(via: number): Promise<void> {
    await this.store(via).close();
    this.#handles[via % this.#handles.length] = await this.#opened.open();
  }

  async close(): Promise<void> {
    await Promise.allSettled(this.#handles.map((handle) => handle.close()));
    await this.#opened.close();
  }
}

export async function openWorld(open: OpenModelStore): Promise<World> {
  const opened = await open(SETTINGS);
  const handles: TaskStore[] = [];
  try {
    for (let i = 0; i < HANDLES; i++) handles.push(await opened.open());
  } catch (thrown) {
    await Promise.allSettled(handles.map((handle) => handle.close()));
    await opened.close();
    throw thrown;
  }
  return new World(opened, handles);
}
