/** The receiver kit needs nothing but what Bun, Deno and Node from 20 on have built in. */

import { afterAll, beforeAll, expect, test } from "bun:test";
import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { secretNumber } from "../support/signing.ts";
import { SECRET, signedHeaders, TASK_ID } from "./requests.ts";

const SOURCE = join(import.meta.dir, "../../src/receiver/index.ts");
const PROBE = join(import.meta.dir, "probe.js");
const LIMIT_MS = 20_000;
const BYTES = new Uint8Array([0xff, 0x00, 0xc3, 0x28]);

let dir = "";
let bundle = "";

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "task-runner-receiver-"));
  const { outputs } = await Bun.build({
    entrypoints: [SOURCE],
    target: "browser",
    format: "esm",
    outdir: dir,
  });
  bundle = outputs[0]?.path ?? "";
});
afterAll(() => rm(dir, { recursive: true, force: true }));

test("is one file without an import once it is bundled", async () => {
  const text = await Bun.file(bundle).text();
  expect(text).not.toMatch(/^\s*import\b|\brequire\(|\bBun\b|\bDeno\b|\bprocess\b|\bBuffer\b/m);
  expect(text).toMatch(/^export \{/m);
});

const RUNTIMES = [
  { name: "Bun", command: [process.execPath], kit: () => SOURCE },
  { name: "Deno", command: ["deno", "run", "-A", "--no-lock"], kit: () => SOURCE },
  // Which reads no TypeScript of itself: the kit is bundled for it, as docs/receiving.md says.
  { name: "Node", command: ["node"], kit: () => bundle },
];

for (const { name, command, kit } of RUNTIMES) {
  const [program = "", ...args] = command;
  test.skipIf(Bun.which(program) === null)(
    `verifies on ${name}`,
    async () => {
      const atMs = Date.now();
      const headers = signedHeaders({ body: BYTES, atMs });
      const request = { headers, body: [...BYTES], secret: SECRET, other: secretNumber(2) };
      const given = [...args, PROBE, pathToFileURL(kit()).href, JSON.stringify(request)];
      const { stdout } = await promisify(execFile)(program, given, { timeout: LIMIT_MS });
      expect(JSON.parse(stdout)).toEqual({
        received: {
          taskId: TASK_ID,
          attempt: 2,
          fence: 5,
          queue: "mail",
          scheduledAt: "2025-12-31T23:59:00.000Z",
          body: [...BYTES],
        },
        verdicts: ["first", "repeat"],
        refused: ["VerificationError", "wrong_signature"],
      });
    },
    LIMIT_MS,
  );
}
