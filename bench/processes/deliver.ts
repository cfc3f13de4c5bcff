/** A delivery as a job's processor would make it: fetch, and an error for what is no success. Bodies are text here. */

import type { JobData } from "./bullmq.ts";

export async function deliver({ url = "", method, headers, body }: JobData): Promise<void> {
  const answer = await fetch(url, {
    method: method ?? "POST",
    ...(headers === undefined ? {} : { headers }),
    ...(typeof body === "string" ? { body } : {}),
  });
  await answer.text();
  if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
}
