/** Opens a file that is there already as it is: never makes one, and never takes an older one over to this version. */

import { existsSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { messageOf, TaskRunnerError } from "../../core/errors.ts";
import type { TaskStore } from "../../core/store.ts";
import { SCHEMA_VERSION } from "./migrations.ts";
import { openSqliteStore, type SqliteOptions } from "./store.ts";

/** Rejects with one clear line where there is no file, or one of another version. */
export async function openExistingSqliteStore(options: SqliteOptions): Promise<TaskStore> {
  const { path } = options;
  const cannot = (why: string) =>
    new TaskRunnerError("store_unavailable", `cannot open the store at ${path}: ${why}`);
  if (path === ":memory:") throw cannot("it is in the memory of another process");
  if (!existsSync(path)) throw cannot("there is no such file");
  let version: number;
  try {
    version = versionOf(path);
  } catch (thrown) {
    throw cannot(messageOf(thrown));
  }
  if (version !== SCHEMA_VERSION) {
    throw cannot(
      `it has schema version ${version}, this build knows ${SCHEMA_VERSION}; run a matching task-runner`,
    );
  }
  return openSqliteStore(options);
}

function versionOf(path: string): number {
  const db = new DatabaseSync(path, { readOnly: true });
  try {
    return Number(db.prepare("PRAGMA user_version").get()?.user_version);
  } finally {
    db.close();
  }
}
