/** The dead letters: tasks that were given up, started over or removed, many in one request and never without a bound. */

import type { Clock } from "../core/clock.ts";
import { TaskRunnerError } from "../core/errors.ts";
import { MAX_PAGE, type ProducerStore, type SettingsStore } from "../core/store.ts";
import { isFinal, type Task } from "../core/task.ts";
import {
  DEFAULT_DEAD,
  type DeadPurgeRequest,
  type DeadReplayRequest,
  type Selection,
  selectionOf,
} from "./dead-request.ts";
import { MAX_AHEAD_DAYS } from "./enqueue-request.ts";
import { invalid } from "./new-task.ts";

export interface DeadLettersOptions {
  readonly store: Pick<ProducerStore, "get" | "list" | "replayMany" | "forget"> &
    Pick<SettingsStore, "record">;
  readonly clock: Pick<Clock, "now">;
}

/** Pages that one request reads: where hardly any task fits it is answered before all are looked through. */
const MAX_PAGES = 100;
/** Tasks that are looked up at once. */
const LOOKUPS = 50;
/** Ids that the audit keeps of a request that named its tasks. */
const AUDITED_IDS = 20;
const MAX_AHEAD_MS = MAX_AHEAD_DAYS * 86_400_000;

interface Page {
  readonly ids: readonly string[];
  /** Where the next one begins; null when nothing follows. */
  readonly next: string | null;
}

interface Done {
  readonly count: number;
  readonly next: string | null;
}

export class DeadLetters {
  readonly #options: DeadLettersOptions;

  constructor(options: DeadLettersOptions) {
    this.#options = options;
  }

  /**
   * Starts dead tasks over, with a rate one after the other. When the store fails on the way, it tells what was done
   * by then, and where to go on. Rejects with `validation_failed`.
   */
  async replay(request: DeadReplayRequest, actor: string) {
    const { store, clock } = this.#options;
    const { rate_per_sec: ratePerSec } = request;
    const nowMs = clock.now();
    const from = cursorOf(request.cursor, nowMs);
    let sent = 0;
    const runsAtMs = (nth: number) =>
      // Nothing to wait for is told as a time long past, so that no clock but the store's matters.
      ratePerSec === undefined ? 0 : Math.round(from.startMs + (nth * 1_000) / ratePerSec);
    const { count, next } = await this.#each(request, from.cursor, async (ids) => {
      const states = await store.replayMany(ids.map((id, at) => ({ id, notBeforeMs: runsAtMs(sent + at) })));
      sent += ids.length;
      return states.filter((state) => state !== null && isFinal(state)).length;
    });
    const facts = ratePerSec === undefined ? {} : { rate_per_sec: ratePerSec };
    await this.#record("dead.replay", actor, request, { replayed: count, ...facts });
    const startMs = ratePerSec === undefined ? null : runsAtMs(sent);
    return { replayed: count, next_cursor: next === null ? null : cursorText(startMs, next) };
  }

  /** Removes dead tasks before their time; when the store fails on the way as {@link replay} does. */
  async purge(request: DeadPurgeRequest, actor: string) {
    const { store, clock } = this.#options;
    const { cursor } = cursorOf(request.cursor, clock.now());
    const { count, next } = await this.#each(request, cursor, (ids) => store.forget(ids));
    await this.#record("dead.purge", actor, request, { removed: count });
    return { removed: count, next_cursor: next === null ? null : cursorText(null, next) };
  }

  /** Does something to the dead tasks that fit, page by page; `act` tells how many of a page it was done to. */
  async #each(
    request: DeadPurgeRequest,
    cursor: string | null,
    act: (ids: readonly string[]) => Promise<number>,
  ): Promise<Done> {
    const limit = request.limit ?? DEFAULT_DEAD;
    const selection = selectionOf(request);
    const named = request.filter?.ids === undefined ? null : [...new Set(request.filter.ids)];
    let count = 0;
    let next = cursor;
    for (let pages = 0; pages < MAX_PAGES && count < limit; pages++) {
      const most = Math.min(MAX_PAGE, limit - count);
      try {
        const page: Page =
          named === null
            ? await this.#page(selection, most, next)
            : await this.#namedPage(selection, most, next, named);
        if (page.ids.length > 0) count += await act(page.ids);
        next = page.next;
      } catch (thrown) {
        // What was done stays done: whoever asked is told so, and told of the failure when he goes on.
        if (count > 0 && thrown instanceof TaskRunnerError) return { count, next };
        throw thrown;
      }
      if (next === null) break;
    }
    return { count, next };
  }

  async #page(selection: Selection, limit: number, cursor: string | null): Promise<Page> {
    const { tasks, nextCursor } = await this.#options.store.list({
      ...selection,
      state: "dead",
      limit,
      ...(cursor !== null && { cursor }),
    });
    return { ids: tasks.map(({ id }) => id), next: nextCursor };
  }

  /** The next of the named tasks that are dead and fit; the cursor counts those that were looked at. */
  async #namedPage(
    selection: Selection,
    limit: number,
    cursor: string | null,
    named: readonly string[],
  ): Promise<Page> {
    const ids: string[] = [];
    let at = cursor === null ? 0 : positionOf(cursor);
    while (at < named.length && ids.length < limit) {
      const looked = named.slice(at, at + Math.min(LOOKUPS, limit - ids.length));
      const tasks = await Promise.all(looked.map((id) => this.#options.store.get(id)));
      ids.push(...tasks.flatMap((task) => (task !== null && fits(task, selection) ? [task.id] : [])));
      at += looked.length;
    }
    return { ids, next: at < named.length ? String(at) : null };
  }

  async #record(
    action: string,
    actor: string,
    { queue, filter }: DeadPurgeRequest,
    facts: { readonly replayed?: number; readonly removed?: number },
  ): Promise<void> {
    if ((facts.replayed ?? facts.removed) === 0) return;
    const ids = filter?.ids;
    await this.#options.store.record({
      atMs: this.#options.clock.now(),
      actor,
      action,
      subject: queue ?? "*",
      before: null,
      after: {
        ...facts,
        queue: queue ?? null,
        filter: {
          ...filter,
          ...(ids !== undefined && { ids: ids.slice(0, AUDITED_IDS), ids_given: ids.length }),
        },
      },
    });
  }
}

function fits(task: Task, { queue, clientId, fromMs, toMs }: Selection): boolean {
  return (
    task.state === "dead" &&
    (queue === undefined || task.queue === queue) &&
    (clientId === undefined || task.clientId === clientId) &&
    (fromMs === undefined || task.createdAtMs >= fromMs) &&
    (toMs === undefined || task.createdAtMs < toMs)
  );
}

/** A cursor as callers see it: when the next task is to run, where they are spaced, before where it is found. */
function cursorText(startMs: number | null, cursor: string): string {
  return `${startMs ?? ""}~${cursor}`;
}

/** The time of the next task is never past, and no further ahead than a task can be planned. */
function cursorOf(text: string | undefined, nowMs: number) {
  if (text === undefined) return { startMs: nowMs, cursor: null };
  const parts = /^(\d{0,15})~(.+)$/s.exec(text);
  if (parts === null) throw noCursor();
  const [, start = "", cursor = ""] = parts;
  const startMs = Math.max(nowMs, Number(start));
  if (startMs > nowMs + MAX_AHEAD_MS) throw noCursor();
  return { startMs, cursor };
}

function positionOf(cursor: string): number {
  if (!/^\d{1,4}$/.test(cursor)) throw noCursor();
  return Number(cursor);
}

function noCursor(): TaskRunnerError {
  return invalid([{ path: "cursor", message: "must be the next_cursor of the answer before" }]);
}
