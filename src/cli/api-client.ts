/** The commands' way to a running server: one request at a time, every failure one clear message. */

import { type Static, type TSchema, Type } from "@sinclair/typebox";
import { Value } from "@sinclair/typebox/value";
import { messageOf } from "../core/errors.ts";
import { CommandFailure, EXIT } from "./host.ts";
import { plain } from "./plain.ts";

export const Nullable = <T extends TSchema>(schema: T) => Type.Optional(Type.Union([schema, Type.Null()]));

/** What the commands read of a task; the API may say more. */
export const TaskView = Type.Object({
  task_id: Type.String(),
  state: Type.String(),
  queue: Type.String(),
  client_id: Type.String(),
  priority: Type.String(),
  reason: Nullable(Type.String()),
  task: Type.Object({ url: Type.String(), method: Type.String() }),
  created_at: Type.String(),
  scheduled_at: Type.String(),
  next_run_at: Nullable(Type.String()),
  finished_at: Nullable(Type.String()),
  counts: Type.Object({ attempts: Type.Number(), crashes: Type.Number(), releases: Type.Number() }),
  attempts: Type.Optional(
    Type.Array(
      Type.Object({
        number: Type.Number(),
        started_at: Type.String(),
        duration_ms: Type.Number(),
        status: Nullable(Type.Number()),
        error: Nullable(Type.String()),
        response_excerpt: Nullable(Type.String()),
        worker: Type.String(),
      }),
    ),
  ),
});
export type TaskView = Static<typeof TaskView>;

export const TaskPageView = Type.Object({
  tasks: Type.Array(TaskView),
  next_cursor: Nullable(Type.String()),
});

export const EnqueuedView = Type.Object({
  status: Type.String(),
  task_id: Type.String(),
  state: Type.Optional(Type.String()),
  scheduled_at: Type.Optional(Type.String()),
});

const ProblemView = Type.Object({
  title: Type.Optional(Type.String()),
  detail: Type.Optional(Type.String()),
  code: Type.Optional(Type.String()),
  errors: Type.Optional(Type.Array(Type.Object({ path: Type.String(), message: Type.String() }))),
});

/** The path of one task. */
export function taskPath(id: string): string {
  return `/v1/tasks/${encodeURIComponent(id)}`;
}

/** The server could not be reached, or did not answer in time: asking again may help. */
export class Unreachable extends CommandFailure {}

/** The server refused what it was asked. */
export class Refused extends CommandFailure {
  readonly status: number;

  constructor(status: number, message: string) {
    super(EXIT.failed, message);
    this.status = status;
  }
}

const ANSWER_TIMEOUT_MS = 30_000;

/** What a command proves who it is with; what is undefined is not sent. */
export interface ApiKeys {
  readonly admin: string | undefined;
  readonly client?: string | undefined;
}

export class ApiClient {
  readonly #base: string;
  readonly #keys: ApiKeys;

  constructor(base: string, keys: ApiKeys) {
    this.#base = base;
    this.#keys = keys;
  }

  /**
   * Asks and checks the form of the answer. Throws Unreachable, Refused (a 4xx or 5xx, with the server's own
   * reason) or CommandFailure (an answer that no Task Runner gives).
   */
  async ask<T extends TSchema>(method: string, path: string, schema: T, body?: unknown): Promise<Static<T>> {
    const response = await this.#fetch(method, path, body);
    const text = await response.text();
    const answer = parsed(text);
    if (!response.ok) throw new Refused(response.status, refusal(response.status, answer));
    if (!Value.Check(schema, answer)) {
      throw new CommandFailure(EXIT.failed, `error: ${this.#base} gave an answer that is not Task Runner's`);
    }
    return answer;
  }

  /** What a GET finds, or null where there is none. Throws as {@link ask} does. */
  async find<T extends TSchema>(path: string, schema: T): Promise<Static<T> | null> {
    try {
      return await this.ask("GET", path, schema);
    } catch (error) {
      if (error instanceof Refused && error.status === 404) return null;
      throw error;
    }
  }

  async #fetch(method: string, path: string, body: unknown): Promise<Response> {
    try {
      return await fetch(this.#base + path, {
        method,
        headers: {
          accept: "application/json",
          ...(body === undefined ? {} : { "content-type": "application/json" }),
          ...(this.#keys.admin === undefined ? {} : { "x-admin-key": this.#keys.admin }),
          ...(this.#keys.client === undefined ? {} : { "x-api-key": this.#keys.client }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        // A redirect would carry the keys to a server that was not named.
        redirect: "manual",
        signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS),
      });
    } catch (error) {
      throw new Unreachable(
        EXIT.failed,
        `error: cannot reach ${this.#base}: ${whyUnreachable(error)} (--api says where the server is)`,
      );
    }
  }
}

/** Why a fetch failed, in one line. */
export function whyUnreachable(error: unknown): string {
  if (error instanceof Error && error.name === "TimeoutError") return "no answer in time";
  // Bun tells the cause in the error itself, Deno in the error's cause.
  const causes = [error, (error as { cause?: unknown }).cause];
  const refused = causes.some((cause) =>
    /ECONNREFUSED|ConnectionRefused|refused/i.test(`${codeOf(cause)} ${messageOf(cause)}`),
  );
  return refused ? "nothing listens there" : messageOf(causes[1] ?? error);
}

function codeOf(error: unknown): string {
  return String((error as { code?: unknown } | undefined)?.code ?? "");
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

const WHENCE_KEYS = [
  "  the admin key comes from --admin-key, ADMIN_API_KEY or ADMIN_API_KEY_FILE,",
  "  and a client's own, for enqueue and tasks, from --api-key or TASK_RUNNER_API_KEY",
];

function refusal(status: number, answer: unknown): string {
  if (!Value.Check(ProblemView, answer)) return `error: the server answered ${status}`;
  const said = answer.detail ?? answer.title ?? `the server answered ${status}`;
  const lines = [`error: ${plain(said)}${answer.code === undefined ? "" : ` (${plain(answer.code)})`}`];
  for (const { path, message } of answer.errors ?? []) lines.push(`  ${plain(path)}: ${plain(message)}`);
  if (status === 401) lines.push(...WHENCE_KEYS);
  return lines.join("\n");
}
