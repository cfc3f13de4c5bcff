/** The limit of dispatch on this machine: a bare fetch loop that stores nothing and decides nothing. */

import { optionsOf, say } from "./messages.ts";

export interface DispatchLimitOptions {
  readonly url: string;
  readonly body: string;
  readonly inFlight: number;
  readonly total: number;
}

const options = optionsOf<DispatchLimitOptions>();
let left = options.total;

async function loop(): Promise<void> {
  while (left > 0) {
    left--;
    const answer = await fetch(options.url, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: options.body,
    });
    await answer.text();
  }
}

await Promise.all(Array.from({ length: options.inFlight }, loop));
say("done");
