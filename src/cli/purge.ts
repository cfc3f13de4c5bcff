/** `queues purge`: removes what waits in a queue, and may wait until that is done. */

import { type Command, Option } from "commander";
import { sleep } from "../core/clock.ts";
import { DoneView, QueueView } from "./admin-views.ts";
import type { ApiClient } from "./api-client.ts";
import { type CliHost, CommandFailure, EXIT } from "./host.ts";
import { durationSec } from "./input.ts";
import { show } from "./output.ts";
import { plain } from "./plain.ts";
import { progressLine } from "./progress.ts";
import { queuePath } from "./queue-rules.ts";
import { purgeText } from "./queue-text.ts";
import { type ApiOptions, adminApi, needConsent, withApiOptions, withConsent } from "./server-options.ts";

interface PurgeOptions extends ApiOptions {
  readonly yes?: boolean;
  readonly wait?: boolean;
  readonly waitTimeout: number;
}

const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 1_000;

export function addPurgeCommand(queues: Command, host: CliHost, ended: (exitCode: number) => void): void {
  withConsent(withApiOptions(queues.command("purge")))
    .description("remove every task that waits in a queue now; those running finish, those finished stay")
    .argument("<queue>", "the queue")
    .option("--wait", "wait until all of them are gone, showing how far it is")
    .addOption(
      new Option("--wait-timeout <time>", "give up waiting after this time")
        .argParser(durationSec)
        .default(3_600, "1h"),
    )
    .addHelpText(
      "after",
      `
Examples:
  task-runner queues purge mail --yes
  task-runner queues purge mail --yes --wait && echo empty`,
    )
    .action(async (queue: string, options: PurgeOptions) => {
      needConsent(options, `every task that waits in the queue ${queue}`);
      const api = adminApi(host, options);
      const answer = await api.ask("POST", "/admin/queues/purge", DoneView, { queue });
      if (options.wait) {
        const now = await whenPurged(host, api, queue, options.waitTimeout);
        show(host, options, now, () => `${plain(queue)}  purged\n`);
      } else {
        show(host, options, answer, ({ status }) => `${plain(queue)}  ${plain(status)}\n`);
      }
      ended(EXIT.ok);
    });
}

/** Resolves to the queue once no purge of it is under way. */
async function whenPurged(
  host: CliHost,
  api: ApiClient,
  queue: string,
  timeoutSec: number,
): Promise<QueueView> {
  const untilMs = host.clock.now() + timeoutSec * 1_000;
  const progress = progressLine(host);
  let pauseMs = FIRST_PAUSE_MS;
  try {
    while (true) {
      const now = await api.ask("GET", queuePath(queue), QueueView);
      if (!now.purge) return now;
      progress.show(`${plain(queue)}  ${purgeText(now.purge)}`);
      const leftMs = untilMs - host.clock.now();
      if (leftMs <= 0) {
        throw new CommandFailure(
          EXIT.failed,
          `error: after ${timeoutSec} s the queue ${plain(queue)} is still being purged; it goes on by itself`,
        );
      }
      await sleep(host.clock, Math.min(pauseMs, leftMs));
      pauseMs = Math.min(pauseMs * 1.5, LONGEST_PAUSE_MS);
    }
  } finally {
    progress.clear();
  }
}
