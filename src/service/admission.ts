/** Holds tasks against the lists of what their client may use: the queues it may fill and the hosts it may have called. */

import { type Client, isRestricted } from "../core/client.ts";
import { type FieldProblem, TaskRunnerError } from "../core/errors.ts";
import { hostMatcher } from "../core/host-list.ts";
import type { Kept, SettingsStore } from "../core/store.ts";
import type { NewTask } from "../core/task.ts";
import { NO_URL } from "./target.ts";

/** Restricted clients that are remembered, those used last. */
const MAX_REMEMBERED = 1_000;

/** A restricted client's lists, ready to be looked into. */
interface Lists {
  readonly revision: number;
  /** Null for all. */
  readonly queues: ReadonlySet<string> | null;
  readonly allowsHost: (host: string) => boolean;
}

/**
 * Only the service can read a target, and only the store knows which lists are in force. So a task is checked here and
 * carries the revision it was checked against; the store gives back those of another revision, to be checked anew.
 * Remembers restricted clients, so that this is one call of the store as a rule. Others cost a look into a map.
 */
export class Admission {
  readonly #store: Pick<SettingsStore, "read">;
  /** The one that was used last stands last. */
  readonly #remembered = new Map<string, Lists>();

  constructor(store: Pick<SettingsStore, "read">) {
    this.#store = store;
  }

  /** Whether {@link check} looks at this client's tasks before the store was asked: lists of its are remembered. */
  concerns(clientId: string): boolean {
    return this.#remembered.size > 0 && this.#remembered.has(clientId);
  }

  /**
   * For each task in order: as it may be handed to the store, or the `forbidden` that tells which list refuses what.
   * Remembered lists may let a task through, for the store notices when they are old; to refuse one they are read
   * again, and with `anew` in any case, once for each client. A client of which nothing is remembered is taken for one
   * without lists, unless `anew`. Rejects as the store does.
   */
  async check(tasks: readonly NewTask[], anew: boolean): Promise<readonly (NewTask | TaskRunnerError)[]> {
    if (this.#remembered.size === 0 && !anew) return tasks;
    const found = new Map<string, Lists | null>();
    const look = async ([clientId, own]: [string, NewTask[]]) => {
      const remembered = this.#recall(clientId);
      const isEnough =
        !anew && (remembered === null || own.every((task) => problemsOf(task, remembered).length === 0));
      const lists = isEnough ? remembered : this.#keep(clientId, await this.#store.read("client", clientId));
      found.set(clientId, lists);
    };
    await Promise.all([...Map.groupBy(tasks, ({ clientId }) => clientId)].map(look));
    return tasks.map((task) => checked(task, found.get(task.clientId) ?? null));
  }

  #recall(clientId: string): Lists | null {
    const lists = this.#remembered.get(clientId);
    if (lists === undefined) return null;
    this.#remembered.delete(clientId);
    this.#remembered.set(clientId, lists);
    return lists;
  }

  /** Null for a client that is not restricted. */
  #keep(clientId: string, client: Kept<Client> | null): Lists | null {
    this.#remembered.delete(clientId);
    if (client === null || !isRestricted(client.value)) return null;
    const lists = listsOf(client);
    this.#remembered.set(clientId, lists);
    if (this.#remembered.size > MAX_REMEMBERED) {
      const [oldest = clientId] = this.#remembered.keys();
      this.#remembered.delete(oldest);
    }
    return lists;
  }
}

function listsOf({ value: { allowedQueues, allowedHosts }, revision }: Kept<Client>): Lists {
  return {
    revision,
    queues: allowedQueues === null ? null : new Set(allowedQueues),
    allowsHost: allowedHosts === null ? () => true : hostMatcher(allowedHosts),
  };
}

function checked(task: NewTask, lists: Lists | null): NewTask | TaskRunnerError {
  if (lists === null) return task.clientRevision === null ? task : { ...task, clientRevision: null };
  const problems = problemsOf(task, lists);
  return problems.length === 0 ? { ...task, clientRevision: lists.revision } : refusal(task, problems);
}

function problemsOf(task: NewTask, lists: Lists): readonly FieldProblem[] {
  const problems: FieldProblem[] = [];
  if (lists.queues !== null && !lists.queues.has(task.queue)) {
    problems.push({ path: "queue", message: `"${task.queue}" is not among the client's allowed_queues` });
  }
  for (const [path, url] of urlsOf(task)) {
    const host = URL.parse(url)?.hostname ?? "";
    if (!lists.allowsHost(host)) {
      problems.push({ path, message: `host "${host}" is not among the client's allowed_hosts` });
    }
  }
  return problems;
}

/** Every URL that a task will have called, with its path in the request. */
function urlsOf({
  target,
  callbackUrl,
  failureCallbackUrl,
}: NewTask): readonly (readonly [string, string])[] {
  const urls: (readonly [string, string])[] = [];
  if (target.url !== NO_URL) urls.push(["task.url", target.url]);
  if (callbackUrl !== null) urls.push(["callback_url", callbackUrl]);
  if (failureCallbackUrl !== null) urls.push(["failure_callback_url", failureCallbackUrl]);
  return urls;
}

function refusal({ clientId }: NewTask, fields: readonly FieldProblem[]): TaskRunnerError {
  const what = fields.map(({ path, message }) => `${path}: ${message}`).join("; ");
  return new TaskRunnerError("forbidden", `Client "${clientId}" may not do this: ${what}.`, { fields });
}
