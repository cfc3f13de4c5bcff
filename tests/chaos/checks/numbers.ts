/** Holds what the API counts at the end against what it lists. */

import type { History } from "../history.ts";

const OVER = ["succeeded", "dead", "cancelled"];

/** A line for each number that is not what it must be. */
export function checkNumbers({ listed, told }: History): string[] {
  const wrong: string[] = [];
  for (const [state, count] of Object.entries(told.tasks)) {
    const there = listed.filter((task) => task.state === state).length;
    if (there !== count) wrong.push(`${count} tasks are told to be ${state}, and ${there} are listed`);
    if (count > 0 && !OVER.includes(state)) wrong.push(`${count} tasks are ${state} still`);
  }
  for (const [what, running] of Object.entries(told.running)) {
    if (running !== 0) wrong.push(`${what} has ${running} tasks running when nothing runs`);
  }
  return wrong;
}
