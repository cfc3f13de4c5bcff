/** docs/security.md tells which routes ask for no key, and every other asks for one. */

import { expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startApp } from "../../scripts/app-process.ts";
import { sectionOf } from "./page.ts";
import { ADMIN_API_KEY } from "./server.ts";
import { spansOf } from "./wording.ts";

const LIMIT_MS = 40_000;
/** Answers that say only whether a process works. */
const PROBES = ["/health", "/health/live", "/health/ready"];

async function running(
  env: Readonly<Record<string, string>>,
  use: (url: string) => Promise<void>,
): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), "task-runner-security-"));
  const app = await startApp({ command: "serve", env: { DATA_DIR: dir, ...env } });
  try {
    await use(app.url);
  } finally {
    await app.stop();
    await rm(dir, { recursive: true, force: true });
  }
}

test(
  "with the keys set that the page asks for, what it names is open, and nothing else",
  () =>
    running({ ADMIN_API_KEY, CLIENT_AUTH: "required" }, async (url) => {
      const spans = spansOf(sectionOf("docs/security.md", "Before you expose it"));
      const named = spans.filter((span) => /^\/[a-z./]*$/.test(span) && span !== "/admin");
      const { paths } = (await (await fetch(`${url}/openapi.json`)).json()) as {
        paths: Record<string, object>;
      };
      const open: string[] = [];
      for (const [path, methods] of Object.entries(paths)) {
        for (const method of Object.keys(methods)) {
          const answer = await fetch(url + path.replace(/\{\w+\}/g, "x"), {
            method: method.toUpperCase(),
            headers: { "content-type": "application/json" },
            ...(/^(?:get|head)$/.test(method) ? {} : { body: "{}" }),
          });
          if (answer.status !== 401) open.push(path);
        }
      }
      expect(open.length).toBeGreaterThan(3);
      const known = [...named, ...PROBES];
      expect(open.filter((path) => !known.includes(path.replace(/\/\{file\}$/, "")))).toEqual([]);
      for (const path of named) expect([path, (await fetch(url + path)).status]).toEqual([path, 200]);
    }),
  LIMIT_MS,
);

test(
  "without them the log and the detailed health say so",
  () =>
    running({}, async (url) => {
      const { warnings } = (await (await fetch(`${url}/health/detailed`)).json()) as { warnings: string[] };
      expect(warnings.join(" ")).toContain("ADMIN_API_KEY is not set");
    }),
  LIMIT_MS,
);
