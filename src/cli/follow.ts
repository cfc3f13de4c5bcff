/** Watching a task until it has ended, by asking for it again and again. */

import { sleep } from "../core/clock.ts";
import { isFinal, TASK_STATES } from "../core/task.ts";
import { type ApiClient, Refused, TaskView, taskPath, Unreachable } from "./api-client.ts";
import { type CliHost, CommandFailure, EXIT } from "./host.ts";

const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 1_000;
/** A server that restarts may be away for some of our questions; for longer, it is told. */
const MAX_UNREACHABLE = 10;

export interface FollowOptions {
  readonly id: string;
  readonly timeoutSec: number;
  /** Whether the task is known to have been there, so that its absence means that it ended. */
  readonly existed: boolean;
  readonly changed: (task: TaskView) => void;
}

/**
 * Resolves to the task once it has ended. `changed` is called with the task as it was first seen and at every
 * change of its state or its number of attempts. Ends the command when the time is over, when the task is
 * gone, or when the server stays away.
 */
export async function followTask(
  host: CliHost,
  api: ApiClient,
  { id, timeoutSec, existed, changed }: FollowOptions,
): Promise<TaskView> {
  const untilMs = host.clock.now() + timeoutSec * 1_000;
  let pauseMs = FIRST_PAUSE_MS;
  let unreachable = 0;
  let seen = "";
  let state = "unknown";
  while (true) {
    try {
      const task = await api.ask("GET", taskPath(id), TaskView);
      unreachable = 0;
      state = task.state;
      const now = `${state} ${task.counts.attempts}`;
      if (now !== seen) {
        seen = now;
        pauseMs = FIRST_PAUSE_MS;
        changed(task);
      }
      if (hasEnded(task)) return task;
    } catch (error) {
      if (error instanceof Refused && error.status === 404 && (existed || seen !== "")) {
        throw new CommandFailure(
          EXIT.failed,
          `error: task ${id} is gone: it ended and was not kept to be read`,
        );
      }
      if (!(error instanceof Unreachable) || ++unreachable >= MAX_UNREACHABLE) throw error;
    }
    const leftMs = untilMs - host.clock.now();
    if (leftMs <= 0)
      throw new CommandFailure(EXIT.failed, `error: after ${timeoutSec} s task ${id} is still ${state}`);
    await sleep(host.clock, Math.min(pauseMs, leftMs));
    pauseMs = Math.min(pauseMs * 1.5, LONGEST_PAUSE_MS);
  }
}

/** Whether a task is over. */
export function hasEnded(task: TaskView): boolean {
  const state = TASK_STATES.find((known) => known === task.state);
  return state !== undefined && isFinal(state);
}
