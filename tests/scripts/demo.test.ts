/** The demo must show what it promises and end by itself. */

import { expect, test } from "bun:test";
import { PROJECT_DIR } from "../../scripts/app-process.ts";

const LIMIT_MS = 15_000;

test(
  "the demo tells the story of four tasks that succeed, each attempt with its status",
  async () => {
    const demo = Bun.spawn(["scripts/start", "--demo"], {
      cwd: PROJECT_DIR,
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
      timeout: LIMIT_MS,
    });
    const [story, status] = await Promise.all([new Response(demo.stdout).text(), demo.exited]);
    expect(status, story).toBe(0);
    const stories = story.split("\n\n").slice(2, 6);
    expect(stories.map((text) => text.split(/[ :]/)[0])).toEqual([
      "immediate",
      "delayed",
      "retried",
      "scheduled",
    ]);
    const statuses = stories.map((text) => [...text.matchAll(/status (\d+)/g)].map((match) => match[1]));
    expect(statuses).toEqual([["200"], ["200"], ["503", "503", "200"], ["200"]]);
  },
  LIMIT_MS + 1_000,
);
