/** What the API tells once everything has ended: every task, and what is counted. */

import type { ListedTask, Told } from "./history.ts";
import type { Program } from "./program.ts";

const ANSWER_MS = 20_000;
const PAGE = 1_000;

interface TaskView {
  readonly task_id: string;
  readonly state: string;
  readonly client_id: string;
  readonly queue: string;
  readonly task: { readonly url: string };
  readonly counts: { readonly attempts: number; readonly crashes: number; readonly releases: number };
}

/** Tasks that are neither over nor cancelled. */
export async function unfinished(api: Program): Promise<number> {
  const { tasks } = await get<{ tasks: Record<string, number> }>(api, "/admin/stats");
  return ["scheduled", "ready", "running", "retrying"].reduce((sum, state) => sum + (tasks[state] ?? 0), 0);
}

export async function everythingListed(api: Program): Promise<ListedTask[]> {
  const listed: ListedTask[] = [];
  for (let cursor: string | null = ""; cursor !== null; ) {
    const from: string = cursor === "" ? "" : `&cursor=${encodeURIComponent(cursor)}`;
    const page: { tasks: TaskView[]; next_cursor: string | null } = await get(
      api,
      `/v1/tasks?limit=${PAGE}${from}`,
    );
    for (const task of page.tasks) {
      listed.push({
        id: task.task_id,
        n: Number(new URL(task.task.url).searchParams.get("n")),
        state: task.state,
        client: task.client_id,
        queue: task.queue,
        ...task.counts,
      });
    }
    cursor = page.next_cursor;
  }
  return listed;
}

export async function told(api: Program): Promise<Told> {
  const [{ tasks }, { clients }, { queues }] = await Promise.all([
    get<{ tasks: Record<string, number> }>(api, "/admin/stats"),
    get<{ clients: { client_id: string; running: number }[] }>(api, "/admin/clients?limit=100"),
    get<{ queues: { queue: string; running: number }[] }>(api, "/admin/queues?limit=100"),
  ]);
  const running = [
    ...clients.map((each) => [`client ${each.client_id}`, each.running] as const),
    ...queues.map((each) => [`queue ${each.queue}`, each.running] as const),
  ];
  return { tasks, running: Object.fromEntries(running) };
}

async function get<T>({ host, port }: Program, path: string): Promise<T> {
  const answer = await fetch(`http://${host}:${port}${path}`, { signal: AbortSignal.timeout(ANSWER_MS) });
  if (!answer.ok) throw new Error(`GET ${path} answered ${answer.status}: ${await answer.text()}`);
  return (await answer.json()) as T;
}
