/** Holds the log transport to what every transport owes. */

import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { transportConformance, transportOf } from "task-runner/plugin/conformance";
import plugin from "./plugin.ts";

transportConformance(
  "log-transport",
  async () => {
    const dir = await mkdtemp(join(tmpdir(), "log-transport-"));
    const file = join(dir, "tasks.log");
    return {
      transport: await transportOf(plugin, { TASKLOG_FILE: file }),
      goodUrl: "log:orders",
      undeliverable: [{ url: "log:two words", method: "POST", headers: {}, body: null }],
      received: async (taskId) => {
        const lines = (await readFile(file, "utf8").catch(() => "")).split("\n").slice(0, -1);
        const entries = lines.map((line) => JSON.parse(line)).filter((entry) => entry.taskId === taskId);
        return entries.map((entry) => Buffer.from(entry.body, "base64"));
      },
      stop: () => rm(dir, { recursive: true }),
    };
  },
  // A file is there, and answers at once.
  { without: ["failing", "silent", "dead", "garbage"] },
);
