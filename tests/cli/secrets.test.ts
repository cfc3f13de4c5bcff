/** Signing secrets from the command line to the receiver: made, used, rotated and revoked on running processes. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Received, verify } from "task-runner/receiver";
import { OTHER_SECRETS_KEY, SECRETS_KEY } from "../support/signing.ts";
import { startTarget, type TestTarget } from "../support/target.ts";
import { command, type RunningRole, startRole } from "./harness.ts";

const dir = mkdtempSync(join(tmpdir(), "task-runner-secrets-"));
const KEY_FILE = join(dir, "secrets.key");
const STORE_URL = `sqlite:${join(dir, "tasks.db")}`;
let server: RunningRole;
let target: TestTarget;

beforeAll(async () => {
  writeFileSync(KEY_FILE, `${SECRETS_KEY}\n`);
  target = await startTarget();
  server = await startRole("all", { STORE_URL, SECRETS_KEY_FILE: KEY_FILE, LOG_LEVEL: "debug" });
});
afterAll(async () => {
  server.kill("SIGKILL");
  await server.exited;
  await target.stop();
  rmSync(dir, { recursive: true, force: true });
});

function run(...args: readonly string[]) {
  return command([...args, "--api", server.url]);
}

/** Has a task delivered, and returns what a receiver makes of it with each of the secrets: null where it refuses. */
async function deliver(client: string, secrets: readonly string[], queue = "default") {
  const before = target.requests.length;
  const waited = await run("enqueue", target.url, "--client", client, "--queue", queue, "--wait");
  expect(waited).toMatchObject({ status: 0 });
  const request = target.requests[before];
  if (request === undefined) throw new Error("nothing arrived");
  const seen: (Received | null)[] = [];
  for (const secret of secrets) seen.push(await verify(request, secret).catch(() => null));
  return seen.map((received) => received?.taskId === request.taskId);
}

describe.each([
  ["clients", "client"],
  ["queues", "queue"],
] as const)("%s secrets", (owners, word) => {
  test("are printed alone, shown by id, sign, and rotate without a gap", async () => {
    const made = await run(owners, "secrets", "create", "shop");
    expect(made.status).toBe(0);
    expect(made.stdout).toMatch(/^whsec_[A-Za-z0-9+/]{43}=\n$/);
    expect(made.stderr).toMatch(/^secret [0-9a-f]{8} of shop: keep it now/);
    const old = made.stdout.trim();
    const oldId = made.stderr.split(" ")[1] ?? "";
    expect((await run(owners, "get", "shop")).stdout).toMatch(new RegExp(`^${oldId} +20`, "m"));

    const json = JSON.parse((await run(owners, "secrets", "create", "shop", "--json")).stdout);
    const young = json.secret;
    const both = [old, young];
    const send = () =>
      deliver(word === "client" ? "shop" : "another", both, word === "queue" ? "shop" : "default");
    expect(await send()).toEqual([true, true]);
    const third = await run(owners, "secrets", "create", "shop");
    expect(third.status).toBe(1);
    expect(third.stderr).toContain("Revoke one first");

    const revoked = await run(owners, "secrets", "revoke", "shop", oldId);
    expect(revoked).toMatchObject({ status: 0, stdout: `${oldId}  revoked, secrets left: 1\n` });
    expect(await send()).toEqual([false, true]);
    expect((await run(owners, "secrets", "revoke", "shop", oldId)).status).toBe(1);
    expect((await run(owners, "secrets", "revoke", "shop", json.secret_id)).stdout).toContain("left: 0");
    expect(await send()).toEqual([false, false]);
  });
});

test("a worker with another key, or with none, sends nothing unsigned, and says why", async () => {
  const made = await run("clients", "secrets", "create", "careful");
  const secret = made.stdout.trim();
  const backoff = ["--retry-min-backoff", "1s", "--retry-max-backoff", "1s"];
  expect((await run("queues", "set", "default", ...backoff)).status).toBe(0);
  expect((await run("queues", "pause", "default")).status).toBe(0);
  const { stdout } = await run("enqueue", target.url, "--client", "careful", "--json");
  const { task_id: id } = JSON.parse(stdout);
  server.kill("SIGTERM");
  expect(await server.exited).toBe(0);
  const logs = (await server.output()).stdout;
  for (const hidden of [secret.slice(6, 30), SECRETS_KEY.slice(0, 20)]) expect(logs).not.toContain(hidden);

  const before = target.requests.length;
  for (const env of [{ SECRETS_KEY: OTHER_SECRETS_KEY }, {}] as Record<string, string>[]) {
    server = await startRole("all", { STORE_URL, ...env });
    await run("queues", "resume", "default");
    const line = await server.line((text) => text.includes("a signing secret cannot be opened"));
    expect(JSON.parse(line)).toMatchObject({
      level: "error",
      client: "careful",
      secretId: expect.any(String),
    });
    await run("queues", "pause", "default");
    server.kill("SIGTERM");
    await server.exited;
    expect((await server.output()).stdout).not.toContain(OTHER_SECRETS_KEY.slice(0, 20));
  }
  expect(target.requests.length).toBe(before);

  server = await startRole("all", { STORE_URL, SECRETS_KEY });
  const held = JSON.parse((await run("tasks", "get", id, "--json")).stdout);
  const errors = held.attempts.map(({ error }: { error: string }) => error.split(": ").at(-1));
  expect([...new Set(errors)]).toEqual(["it was sealed with another SECRETS_KEY", "SECRETS_KEY is not set"]);
  await run("queues", "resume", "default");
  await target.waitFor(before + 1);
  const request = target.requests[before];
  if (request === undefined) throw new Error("nothing arrived");
  expect((await verify(request, secret)).taskId).toBe(id);
});

describe("SECRETS_KEY", () => {
  test.each(["short", "A".repeat(44), "0".repeat(63), `${"A".repeat(42)}==`])(
    "%p refuses the start, and is not told",
    async (key) => {
      const { status, stderr } = await command(["all"], { env: { SECRETS_KEY: key } });
      expect(status).toBe(2);
      expect(stderr).toContain("SECRETS_KEY (value hidden) is not allowed: 32 bytes as base64");
      expect(stderr).not.toContain(key);
    },
  );

  test.each([SECRETS_KEY, OTHER_SECRETS_KEY])("is never shown", async (key) => {
    const { status, stdout } = await command(["config"], { env: { SECRETS_KEY: key } });
    expect(status).toBe(0);
    expect(stdout).toMatch(/^SECRETS_KEY +\(hidden\) +environment$/m);
    expect(stdout).not.toContain(key);
  });
});
