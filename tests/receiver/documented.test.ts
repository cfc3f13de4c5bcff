/** The programs printed in docs/receiving.md do what it says of them. */

import { Database } from "bun:sqlite";
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type MarkStore, MemoryMarks } from "task-runner/receiver";
import { secretNumber } from "../support/signing.ts";
import { unusedPort } from "../support/target.ts";
import { SECRET, signedHeaders } from "./requests.ts";

const ROOT = join(import.meta.dir, "../..");
const LIMIT_MS = 15_000;
const LOOK_EVERY_MS = 20;
let dir = "";

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "task-runner-documented-"));
  const text = await readFile(join(ROOT, "docs/receiving.md"), "utf8");
  for (const [, name = "", source = ""] of text.matchAll(/^```ts\n\/\/ (\S+)\n([\s\S]*?)^```$/gm)) {
    const kit = JSON.stringify(join(ROOT, "src/receiver/index.ts"));
    await writeFile(join(dir, name), source.replaceAll('"task-runner/receiver"', kit));
  }
});
afterAll(() => rm(dir, { recursive: true, force: true }));

test(
  "the receiver takes a signed delivery once, and refuses what is not signed with its secrets",
  async () => {
    const port = await unusedPort();
    const receiver = Bun.spawn([process.execPath, join(dir, "receiver.ts")], {
      env: { PORT: String(port), WEBHOOK_SECRETS: `${secretNumber(9)} ${SECRET}` },
      stdin: "ignore",
      stdout: "pipe",
      stderr: "inherit",
      timeout: LIMIT_MS,
    });
    try {
      const url = `http://127.0.0.1:${port}/`;
      const post = async (headers: Record<string, string>) => {
        const answer = await fetch(url, { method: "POST", headers, body: "hello" });
        return [answer.status, await answer.text()] as const;
      };
      const endMs = Date.now() + LIMIT_MS;
      while (
        !(await fetch(url).then(
          () => true,
          () => false,
        )) &&
        Date.now() < endMs
      )
        await Bun.sleep(LOOK_EVERY_MS);
      const signed = { body: "hello", atMs: Date.now() };
      expect(await post(signedHeaders(signed))).toEqual([200, "first"]);
      expect(await post(signedHeaders({ ...signed, headers: { "x-task-fence": "6" } }))).toEqual([
        200,
        "repeat",
      ]);
      expect(await post(signedHeaders({ ...signed, headers: { "x-task-fence": "4" } }))).toEqual([
        409,
        "stale",
      ]);
      expect((await post(signedHeaders({ ...signed, secrets: [secretNumber(2)] })))[0]).toBe(401);
      expect((await post({}))[0]).toBe(400);
      receiver.kill("SIGKILL");
      const printed = (await new Response(receiver.stdout).text()).trim().split("\n");
      expect(printed).toEqual([expect.stringMatching(/ hello$/)]);
    } finally {
      receiver.kill("SIGKILL");
      await receiver.exited;
    }
  },
  LIMIT_MS,
);

test("the marks on SQLite are set and left alone as those in memory are", async () => {
  const { sqliteMarks }: { sqliteMarks: (db: Database) => MarkStore } = await import(join(dir, "marks.ts"));
  using db = new Database(":memory:");
  const stores = [sqliteMarks(db), new MemoryMarks()];
  const marks = [null, { fence: 1, done: false }, { fence: 1, done: true }, { fence: 2, done: false }];
  for (const task of ["a", "b"]) {
    for (const from of [...marks, ...marks.toReversed()]) {
      for (const to of marks) {
        if (to === null) continue;
        const [onDisk, inMemory] = await Promise.all(
          stores.map((store) => store.compareAndSet(task, from, to)),
        );
        expect(onDisk).toEqual(inMemory as never);
      }
    }
  }
});
