/** README's commands are what a newcomer types first: they are run here as they are printed. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type AppProcess, inheritedEnv, PROJECT_DIR, startListening } from "../../scripts/app-process.ts";

const LIMIT_MS = 20_000;

/** The commands that README prints, in order. */
async function readmeCommands(): Promise<string[]> {
  const readme = await readFile(join(PROJECT_DIR, "README.md"), "utf8");
  return [...readme.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map((match) => (match[1] ?? "").trim());
}

/** Runs a command as a shell would, and gives its output; throws when it fails. */
async function shell(command: string): Promise<string> {
  const child = Bun.spawn(["bash", "-c", command], {
    cwd: PROJECT_DIR,
    env: inheritedEnv(),
    stdin: "ignore",
    stdout: "pipe",
    timeout: LIMIT_MS,
  });
  const [output, status] = await Promise.all([new Response(child.stdout).text(), child.exited]);
  if (status !== 0) throw new Error(`${command} ended with status ${status}`);
  return output;
}

/** The first block of a language, without its fence. */
async function printedBlock(language: string): Promise<string> {
  const readme = await readFile(join(PROJECT_DIR, "README.md"), "utf8");
  return new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, "m").exec(readme)?.[1] ?? "";
}

describe("README", () => {
  let dataDir = "";
  let app: AppProcess;

  beforeAll(async () => {
    const start = (await printedBlock("sh")).trim();
    dataDir = await mkdtemp(join(tmpdir(), "task-runner-test-"));
    // Another port, for the printed one may be taken where tests run; everything else is as printed.
    app = await startListening(["bash", "-c", `exec ${start}`], { PORT: "0", DATA_DIR: dataDir });
  }, LIMIT_MS);

  afterAll(async () => {
    await app.stop();
    await rm(dataDir, { recursive: true, force: true });
  });

  test("prints the commands that are tested here, and no others", async () => {
    const commands = await readmeCommands();
    expect(commands.map((command) => command.split(/\s/)[0])).toEqual([
      "./scripts/start",
      "curl",
      "curl",
      "./scripts/test",
    ]);
  });

  test(
    "its first curl hands in a task that the second shows to have succeeded",
    async () => {
      const [, enqueue = "", read = ""] = await readmeCommands();
      const here = (command: string) => command.replaceAll("http://127.0.0.1:8080", app.url);
      const answer = JSON.parse(await shell(here(enqueue)));
      expect(Object.keys(answer)).toEqual(Object.keys(JSON.parse(await printedBlock("json"))));
      expect(answer).toMatchObject({
        status: "enqueued",
        queue: "default",
        state: "ready",
        durability: "disk",
      });
      const endMs = Date.now() + LIMIT_MS / 2;
      let task: { state: string; attempts: { status: number }[] };
      do {
        task = JSON.parse(await shell(here(read).replace("TASK_ID", answer.task_id)));
      } while (task.state !== "succeeded" && Date.now() < endMs);
      expect(task).toMatchObject({ state: "succeeded", attempts: [{ number: 1, status: 200, error: null }] });
    },
    LIMIT_MS,
  );

  test("its start lets in this machine only, for it allows private targets, and says both", () => {
    expect(app.output()).toContain('"host":"127.0.0.1"');
    expect(app.output()).toContain("ALLOW_PRIVATE_URLS=true");
  });
});
