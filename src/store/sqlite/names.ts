/** Names and idempotency keys: taken while their task lives, and for the deduplication window after it ended. */

import { namesOfStored, type TaskRow } from "./codec.ts";
import type { Database } from "./database.ts";

function prepareAll(db: Database) {
  return {
    find: db.prepare<{ id: string; until_ms: number | null }>(
      "SELECT id, until_ms FROM names WHERE scope = ?",
    ),
    take: db.prepare("INSERT OR REPLACE INTO names (scope, id, until_ms) VALUES (?, ?, NULL)"),
    drop: db.prepare("DELETE FROM names WHERE scope = ? AND id = ?"),
    release: db.prepare("UPDATE names SET until_ms = ? WHERE scope = ? AND id = ?"),
    sweep: db.prepare(
      "DELETE FROM names WHERE scope IN (SELECT scope FROM names WHERE until_ms <= ? ORDER BY until_ms LIMIT ?)",
    ),
    spec: db.prepare<{ spec: string; queue: string; client: string }>(
      `SELECT s.spec, l.queue, l.client FROM tasks t
       JOIN specs s ON s.seq = t.seq JOIN lanes l ON l.id = t.lane WHERE t.seq = ?`,
    ),
  };
}

/** Which names are taken, and by which task. */
export class Names {
  readonly #statements: ReturnType<typeof prepareAll>;
  readonly #windowMs: number;

  constructor(db: Database, windowMs: number) {
    this.#statements = prepareAll(db);
    this.#windowMs = windowMs;
  }

  /** The id of the task that has one of these names, or null when all are free. */
  holder(scopes: readonly string[], nowMs: number): string | null {
    for (const scope of scopes) {
      const row = this.#statements.find.get(scope);
      if (row !== undefined && (row.until_ms === null || row.until_ms > nowMs)) return row.id;
    }
    return null;
  }

  take(scopes: readonly string[], id: string): void {
    for (const scope of scopes) this.#statements.take.run(scope, id);
  }

  /** A named task has ended: its names are free once the window has passed. */
  release(task: Pick<TaskRow, "seq" | "id" | "named">, nowMs: number): void {
    if (task.named === 0) return;
    for (const scope of this.#scopesOf(task))
      this.#statements.release.run(nowMs + this.#windowMs, scope, task.id);
  }

  /** A named task never was: its names are free. */
  drop(task: Pick<TaskRow, "seq" | "id" | "named">): void {
    if (task.named === 0) return;
    for (const scope of this.#scopesOf(task)) this.#statements.drop.run(scope, task.id);
  }

  /** A named task starts over: its names are its own again, unless another task has them by now. */
  retake(task: Pick<TaskRow, "seq" | "id" | "named">, nowMs: number): void {
    if (task.named === 0) return;
    for (const scope of this.#scopesOf(task)) {
      const holder = this.holder([scope], nowMs);
      if (holder === null || holder === task.id) this.take([scope], task.id);
    }
  }

  /** Forgets at most `limit` names whose window is over; how many. */
  sweep(nowMs: number, limit: number): number {
    return Number(this.#statements.sweep.run(nowMs, limit).changes);
  }

  #scopesOf(task: Pick<TaskRow, "seq">): string[] {
    const row = this.#statements.spec.get(task.seq);
    return row === undefined ? [] : namesOfStored(row.spec, row.queue, row.client);
  }
}
