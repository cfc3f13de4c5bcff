/** Appends each task to a file, as a line of JSON. `log:orders` is a target of it. */

import { appendFile } from "node:fs/promises";
import { definePlugin, defineTransport, delivered, problem, Type } from "task-runner/plugin";

export default definePlugin({
  name: "log-transport",
  apiVersion: 1,
  envPrefix: "TASKLOG_",
  options: Type.Object({ TASKLOG_FILE: Type.String({ default: "tasks.log" }) }),
  transports: ({ TASKLOG_FILE }) => [
    defineTransport({
      name: "log",
      schemes: ["log:"],
      check: ({ url }) => (/^log:[\w-]+$/.test(url) ? [] : [problem("task.url", "must be like log:orders")]),
      exchange: async ({ taskId, target: { url, body } }) => {
        const line = { taskId, url, body: Buffer.from(body ?? "").toString("base64") };
        await appendFile(TASKLOG_FILE, `${JSON.stringify(line)}\n`);
        return delivered();
      },
    }),
  ],
});
