/** A running server for tests of documentation: asked over HTTP, and by the commands that a page prints. */

import { type AppProcess, appCommand } from "../../scripts/app-process.ts";
import { until } from "../support/redis.ts";
import { shell } from "./page.ts";

const ANSWERED_MS = 20_000;
export const ADMIN_API_KEY = "documented-admin-key";

export interface Answer {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
}

export type Headers = Readonly<Record<string, string>>;

/** The server that runs as a process, with an admin key or without one. */
export class DocumentedServer {
  readonly app: AppProcess;

  constructor(app: AppProcess) {
    this.app = app;
  }

  /** `body` is sent as it is when it is text, else as JSON. */
  async ask(method: string, path: string, body?: unknown, headers: Headers = {}): Promise<Answer> {
    const answer = await fetch(this.app.url + path, {
      method,
      headers: { ...(body === undefined ? {} : { "content-type": "application/json" }), ...headers },
      ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
      signal: AbortSignal.timeout(ANSWERED_MS),
    });
    return { status: answer.status, body: (await answer.json()) as Answer["body"] };
  }

  /** What an admin route answers; throws when it refuses. */
  async admin(path: string, body?: unknown): Promise<Answer["body"]> {
    const method = body === undefined ? "GET" : "POST";
    return accepted(await this.ask(method, `/admin/${path}`, body, { "x-admin-key": ADMIN_API_KEY }));
  }

  enqueue(task: Readonly<Record<string, unknown>>, headers: Headers = {}): Promise<Answer> {
    return this.ask("POST", "/v1/enqueue", { client_id: "shop", ...task }, headers);
  }

  /** The id of a task that was accepted; throws when it was not. */
  async handIn(task: Readonly<Record<string, unknown>>): Promise<string> {
    return String(accepted(await this.enqueue(task)).task_id);
  }

  /** Resolves with the task once it is in this state. */
  untilState(id: string, state: string): Promise<Answer["body"]> {
    return until(`${id} is ${state}`, ANSWERED_MS, async () => {
      const { body } = await this.ask("GET", `/v1/tasks/${id}`);
      return body.state === state ? body : null;
    });
  }

  /** Runs commands of a page as a reader would who has set `task-runner` up. Gives what they print. */
  run(
    commands: string,
    options: { cwd: string; env?: Headers; statuses?: readonly number[] },
  ): Promise<string> {
    const env = { ADMIN_API_KEY, NO_COLOR: "1", ...options.env };
    return shell(`${taskRunner(this.app.url)}\n${commands}`, { ...options, env });
  }
}

/** The shell function that the pages' `task-runner` stands for, with the server's address where it asks one. */
export function taskRunner(api: string): string {
  const program = appCommand()
    .map((part) => `'${part}'`)
    .join(" ");
  return `task-runner() {
    case $1 in
      all | serve | work | config | fsck | healthcheck | version) ${program} "$@" ;;
      *) ${program} "$@" --api '${api}' ;;
    esac
  }`;
}

function accepted({ status, body }: Answer): Answer["body"] {
  if (status >= 400) throw new Error(`${status}: ${JSON.stringify(body)}`);
  return body;
}
