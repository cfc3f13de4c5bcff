/** Dead tasks as their commands show them, start them over and remove them. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { command, type RunningRole, startRole } from "./harness.ts";

let server: RunningRole;
let target: Bun.Server<undefined>;
/** What the target answers with. */
let status = 500;

beforeAll(async () => {
  // A target that fails so often would otherwise be left alone for a while.
  server = await startRole("all", { CB_FAILURE_THRESHOLD: "1000" });
  target = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: () => new Response("not\u001b[2J now", { status }),
  });
  const limits = ["--requests-per-minute", "none", "--max-concurrent", "none"];
  await answer("tiers", "set", "free", ...limits);
});
afterAll(async () => {
  server.kill("SIGKILL");
  await server.exited;
  await target.stop(true);
});

function run(args: readonly string[], options: { terminal?: boolean } = {}) {
  return command([...args, "--api", server.url], options);
}

async function answer(...args: readonly string[]) {
  const ran = await run([...args, "--json"]);
  if (ran.status !== 0) throw new Error(`${args.join(" ")}: ${ran.stderr}`);
  return JSON.parse(ran.stdout);
}

/** Hands in a task that dies of its first answer; resolves to its id. */
async function deadTask(queue: string): Promise<string> {
  status = 500;
  const url = `http://127.0.0.1:${target.port}/`;
  const retry = ["--retry-max-attempts", "2", "--retry-min-backoff", "0", "--retry-jitter", "0"];
  await answer("queues", "set", queue, ...retry);
  const { task_id: id } = await answer("enqueue", url, "--queue", queue);
  expect((await run(["tasks", "watch", id])).status).toBe(1);
  return id;
}

describe("on a running server", () => {
  test("list shows dead tasks alone, and get every attempt in full", async () => {
    const id = await deadTask("shown");
    await answer("enqueue", `http://127.0.0.1:${target.port}/`, "--queue", "shown", "--delay", "1h");
    const listed = await run(["dead", "list", "--queue", "shown"]);
    expect(listed.stdout.trimEnd().split("\n")).toHaveLength(2);
    expect(listed.stdout).toContain(`\n${id}  dead`);

    const { status: exit, stdout } = await run(["dead", "get", id]);
    expect(exit).toBe(0);
    expect(stdout.match(/^attempt +\d$/gm)).toEqual(["attempt  1", "attempt  2"]);
    expect(stdout.match(/^status +500$/gm)).toHaveLength(2);
    expect(stdout.match(/^answer +not.*now$/gm)).toHaveLength(2);
    expect(stdout).not.toContain("\u001b");
  });

  test("get of a task that is not dead says what it is, exit status 1", async () => {
    const { task_id: id } = await answer("enqueue", "http://127.0.0.1:1/", "--delay", "1h");
    const { status: exit, stderr } = await run(["dead", "get", id]);
    expect(exit).toBe(1);
    expect(stderr).toContain("is scheduled, not dead");
  });

  test("replay starts over what fits, and nothing else", async () => {
    const ids = [await deadTask("mended"), await deadTask("mended"), await deadTask("broken")];
    status = 200;
    const one = await run(["dead", "replay", ids[0] ?? ""]);
    expect({ status: one.status, stdout: one.stdout }).toEqual({ status: 0, stdout: "replayed 1\n" });
    expect((await run(["tasks", "watch", ids[0] ?? ""])).status).toBe(0);
    expect(await answer("dead", "replay", "--queue", "mended", "--rate", "100")).toEqual({ replayed: 1 });
    expect((await run(["tasks", "watch", ids[1] ?? ""])).status).toBe(0);
    expect((await answer("tasks", "get", ids[2] ?? "")).state).toBe("dead");
  });

  test("purge removes as many as --limit says, once it is consented to", async () => {
    for (let index = 0; index < 3; index++) await deadTask("purged");
    const left = async () => (await answer("dead", "list", "--queue", "purged")).tasks.length;
    expect((await run(["dead", "purge", "--queue", "purged"])).status).toBe(2);
    expect(await left()).toBe(3);
    const some = await run(["dead", "purge", "--queue", "purged", "--limit", "2", "--yes"]);
    expect({ status: some.status, stdout: some.stdout }).toEqual({ status: 0, stdout: "removed 2\n" });
    expect(await left()).toBe(1);
    expect(await answer("dead", "purge", "--queue", "purged", "--client", "other", "--yes")).toEqual({
      removed: 0,
    });
    expect(await answer("dead", "purge", "--queue", "purged", "--yes")).toEqual({ removed: 1 });
  });
});

describe("many dead tasks", () => {
  /** A server that does a third of what it is asked in each call, and then `last`. */
  async function paged(last: () => Response, args: readonly string[]) {
    const asked: unknown[] = [];
    const pages = [
      () => Response.json({ replayed: 1_000, next_cursor: "c1" }),
      () => Response.json({ replayed: 400, next_cursor: "c2" }),
      last,
    ];
    const other = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch: async (request) => {
        asked.push(await request.json());
        return pages[asked.length - 1]?.() ?? new Response("asked too often", { status: 500 });
      },
    });
    const api = `http://127.0.0.1:${other.port}`;
    const ran = await command(["dead", "replay", ...args, "--api", api], { terminal: true });
    await other.stop(true);
    return { asked, ...ran };
  }

  test("are replayed call after call, with what is done so far on stderr", async () => {
    const last = () => Response.json({ replayed: 7, next_cursor: null });
    const ran = await paged(last, ["--queue", "q", "--rate", "5", "--limit", "1500"]);
    expect(ran).toMatchObject({ status: 0, stdout: "replayed 1407\n" });
    expect(ran.asked).toEqual([
      { queue: "q", rate_per_sec: 5, limit: 1_000 },
      { queue: "q", rate_per_sec: 5, limit: 500, cursor: "c1" },
      { queue: "q", rate_per_sec: 5, limit: 100, cursor: "c2" },
    ]);
    expect(ran.stderr).toContain("replayed 1400");
  });

  test("that could not all be replayed leave word of how many were, exit status 1", async () => {
    const last = () => Response.json({ detail: "away", code: "store_unavailable" }, { status: 503 });
    const ran = await paged(last, []);
    expect(ran.status).toBe(1);
    expect(ran.stderr).toContain("replayed 1400 before it failed\n");
    expect(ran.stderr).toContain("error: away (store_unavailable)\n");
  });
});
