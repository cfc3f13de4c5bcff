/** Clients, tiers, queues and the audit as their commands show and change them on a running server. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { command, type RunningRole, startRole } from "./harness.ts";

const KEY = "admin-key-of-the-test";
let server: RunningRole;

beforeAll(async () => {
  server = await startRole("all", { ADMIN_API_KEY: KEY, CLIENT_AUTH: "optional" });
});
afterAll(async () => {
  server.kill("SIGKILL");
  await server.exited;
});

/** Runs a command as the administrator of the server. */
function run(args: readonly string[], options: { terminal?: boolean; env?: Record<string, string> } = {}) {
  const env = { ADMIN_API_KEY: KEY, ...options.env };
  return command([...args, "--api", server.url], { ...options, env });
}

/** What a command answers as JSON; it has to succeed. */
async function answer(...args: readonly string[]) {
  const { status, stdout, stderr } = await run([...args, "--json"]);
  if (status !== 0) throw new Error(`${args.join(" ")}: ${stderr}`);
  return JSON.parse(stdout);
}

/** Runs a command as a client would, without the admin key. */
function asClient(args: readonly string[], env: Record<string, string> = {}) {
  return run(args, { env: { ADMIN_API_KEY: "", ...env } });
}

const HEALTH = () => `${server.url}/health/live`;

describe("clients", () => {
  test("set changes what it names and leaves the rest, own limits one by one", async () => {
    const first = await answer("clients", "set", "shop", "--tier", "premium", "--max-concurrent", "none");
    expect(first).toMatchObject({
      client_id: "shop",
      tier: "premium",
      enabled: true,
      overrides: { max_concurrent: null },
      limits: { requests_per_minute: 1_000, max_concurrent: null },
    });
    const second = await answer("clients", "set", "shop", "--requests-per-minute", "7");
    expect(second).toMatchObject({
      tier: "premium",
      overrides: { requests_per_minute: 7, max_concurrent: null },
    });
    const third = await answer("clients", "set", "shop", "--max-concurrent", "tier", "--disable");
    expect(third).toMatchObject({
      enabled: false,
      overrides: { requests_per_minute: 7 },
      limits: { requests_per_minute: 7, max_concurrent: 20 },
    });
    const fourth = await answer("clients", "set", "shop", "--enable");
    expect(fourth).toMatchObject({ enabled: true, overrides: { requests_per_minute: 7 } });
  });

  test("set bounds queues and hosts, and opens all of them again", async () => {
    const lists = ["--allow-queue", "a", "--allow-queue", "b", "--allow-host", "*.example.com"];
    expect(await answer("clients", "set", "listed", ...lists)).toMatchObject({
      allowed_queues: ["a", "b"],
      allowed_hosts: ["*.example.com"],
    });
    const refused = await run(["enqueue", HEALTH(), "--client", "listed", "--queue", "c"]);
    expect(refused.status).toBe(1);
    expect(refused.stderr).toContain("(forbidden)");
    expect(refused.stderr).toContain("queue:");
    expect(await answer("clients", "set", "listed", "--allow-all-queues", "--allow-all-hosts")).toMatchObject(
      {
        allowed_queues: null,
        allowed_hosts: null,
      },
    );
  });

  test("a disabled client's task is refused with the word for it", async () => {
    await answer("clients", "set", "closed", "--disable");
    const { status, stderr } = await run(["enqueue", HEALTH(), "--client", "closed"]);
    expect(status).toBe(1);
    expect(stderr).toContain("(client_disabled)");
  });

  test("list and get show limits and use", async () => {
    await answer("clients", "set", "shown", "--tier", "basic", "--max-concurrent", "9");
    await answer("enqueue", HEALTH(), "--client", "shown", "--delay", "1h");
    const listed = await run(["clients", "list"]);
    expect(listed.stdout).toMatch(/^CLIENT +TIER +ENABLED +LAST MINUTE +RUNNING +KEYS$/m);
    expect(listed.stdout).toMatch(/^shown +basic +yes +1 of 100 +0 of 9 +0$/m);
    const got = await run(["clients", "get", "shown"]);
    expect(got.stdout).toMatch(/^requests a minute +100$/m);
    expect(got.stdout).toMatch(/^running at once +9, its own limit$/m);
  });

  test("list goes on where --cursor says", async () => {
    for (const id of ["page-1", "page-2"]) await answer("clients", "set", id);
    const ids: string[] = [];
    let cursor: string | null = null;
    do {
      const more: string[] = cursor === null ? [] : ["--cursor", cursor];
      const page = await answer("clients", "list", "--limit", "1", ...more);
      ids.push(...page.clients.map(({ client_id }: { client_id: string }) => client_id));
      cursor = page.next_cursor;
    } while (cursor !== null);
    expect(new Set(ids).size).toBe(ids.length);
    expect(ids).toEqual(expect.arrayContaining(["page-1", "page-2"]));
    const table = await run(["clients", "list", "--limit", "1"]);
    expect(table.stderr).toStartWith("more with: --cursor ");
  });

  test("delete forgets it, once it is consented to", async () => {
    await answer("clients", "set", "leaving", "--tier", "basic");
    expect((await run(["clients", "delete", "leaving"])).status).toBe(2);
    expect((await answer("clients", "get", "leaving")).tier).toBe("basic");
    const { status, stdout } = await run(["clients", "delete", "leaving", "--yes"]);
    expect({ status, stdout }).toEqual({ status: 0, stdout: "leaving  deleted\n" });
    const gone = await run(["clients", "get", "leaving"]);
    expect(gone.status).toBe(1);
    expect(gone.stderr).toContain("(client_not_found)");
  });

  test("a tier that is not there is refused with those that are", async () => {
    const { status, stderr } = await run(["clients", "set", "shop", "--tier", "gold"]);
    expect(status).toBe(1);
    expect(stderr).toContain("free");
  });
});

describe("keys", () => {
  test("a created key is all of standard output, opens its client's tasks, and no more once it is revoked", async () => {
    const created = await run(["clients", "keys", "create", "keyed", "--label", "web"]);
    expect(created.status).toBe(0);
    expect(created.stdout).toMatch(/^trk\.keyed\.[A-Za-z0-9_-]{43}\n$/);
    expect(created.stderr).not.toContain(created.stdout.trim());
    const key = created.stdout.trim();
    const [{ key_id: id }] = (await answer("clients", "get", "keyed")).keys;
    expect((await run(["clients", "get", "keyed"])).stdout).toMatch(new RegExp(`^${id} +web `, "m"));

    const enqueue = ["enqueue", HEALTH(), "--client", "keyed", "--delay", "1h"];
    const keyless = await asClient(enqueue);
    expect(keyless.status).toBe(1);
    expect(keyless.stderr).toContain("(unauthorized)");
    expect(keyless.stderr).toContain("--api-key or TASK_RUNNER_API_KEY");
    const byFlag = await asClient([...enqueue, "--api-key", key, "--json"]);
    expect(byFlag.status).toBe(0);
    expect((await asClient(enqueue, { TASK_RUNNER_API_KEY: key })).status).toBe(0);

    // Named on the command line, it stands above the administrator's of the environment.
    await answer("enqueue", HEALTH(), "--client", "someone-else", "--delay", "1h");
    const own = await run(["tasks", "list", "--api-key", key, "--json"]);
    const owners = JSON.parse(own.stdout).tasks.map(({ client_id }: { client_id: string }) => client_id);
    expect(new Set(owners)).toEqual(new Set(["keyed"]));

    const revoked = await run(["clients", "keys", "revoke", "keyed", id]);
    expect({ status: revoked.status, stdout: revoked.stdout }).toEqual({
      status: 0,
      stdout: `${id}  revoked, keys left: 0\n`,
    });
    const refused = await asClient([...enqueue, "--api-key", key]);
    expect(refused.status).toBe(1);
    expect(refused.stdout + refused.stderr).not.toContain(key);
  });
});

describe("tiers", () => {
  test("are listed, made, changed and, once it is consented to, deleted", async () => {
    const listed = await run(["tiers", "list"]);
    expect(listed.stdout).toMatch(/^premium +1000 +20 +built in$/m);
    const limits = ["--requests-per-minute", "30", "--max-concurrent", "none"];
    const made = await run(["tiers", "set", "partner", ...limits]);
    expect(made.stdout).toMatch(/^partner +30 +no limit$/m);
    await answer("clients", "set", "of-a-tier", "--tier", "partner");
    await answer("tiers", "set", "partner", "--requests-per-minute", "31", "--max-concurrent", "2");
    expect((await answer("clients", "get", "of-a-tier")).limits).toEqual({
      requests_per_minute: 31,
      max_concurrent: 2,
    });
    expect((await run(["tiers", "delete", "partner"])).status).toBe(2);
    expect((await run(["tiers", "delete", "partner", "--yes"])).stdout).toBe("partner  deleted\n");
    expect((await answer("clients", "get", "of-a-tier")).limits.requests_per_minute).toBe(10);
    const builtIn = await run(["tiers", "delete", "free", "--yes"]);
    expect(builtIn.status).toBe(1);
    expect(builtIn.stderr).toContain("(conflict)");
  });
});

describe("queues", () => {
  test("set takes every rule, keeps what is not named, and none takes a rule away", async () => {
    const rules = {
      "--max-dispatches-per-sec": "2.5",
      "--max-burst": "4",
      "--max-concurrent": "3",
      "--weight": "7",
      "--retry-max-attempts": "-1",
      "--retry-min-backoff": "1m30s",
      "--retry-max-backoff": "1h",
      "--retry-max-doublings": "5",
      "--retry-max-duration": "2h",
      "--retry-jitter": "0.5",
      "--timeout": "45",
      "--target-url": "https://example.com/all",
      "--target-method": "put",
      "--target-header": "X-A: 1",
      "--retention-succeeded": "0",
      "--retention-dead": "1d",
      "--permanent-status": "404",
      "--after-death": "hold",
      "--dead-queue": "failed",
      "--mode": "pull",
    };
    const args = [...Object.entries(rules).flat(), "--permanent-status", "410", "--disable"];
    expect(await answer("queues", "set", "ruled", ...args)).toMatchObject({
      enabled: false,
      max_dispatches_per_sec: 2.5,
      max_burst: 4,
      max_concurrent: 3,
      weight: 7,
      retry: {
        max_attempts: -1,
        min_backoff_sec: 90,
        max_backoff_sec: 3_600,
        max_doublings: 5,
        max_duration_sec: 7_200,
        jitter: 0.5,
      },
      timeout_sec: 45,
      target: { url: "https://example.com/all", method: "PUT", headers: { "X-A": "1" } },
      retention_succeeded_sec: 0,
      retention_dead_sec: 86_400,
      permanent_statuses: [404, 410],
      after_death: "hold",
      dead_target: { queue: "failed" },
      mode: "pull",
    });
    expect((await run(["queues", "get", "ruled"])).stdout).toMatch(
      /^mode +pull: consumers lease its tasks$/m,
    );

    const one = ["--retry-jitter", "none", "--target-url", "none", "--dead-url", "https://example.com/dead"];
    const changed = await answer("queues", "set", "ruled", ...one, "--enable");
    expect(changed).toMatchObject({
      enabled: true,
      max_concurrent: 3,
      target: { method: "PUT", headers: { "X-A": "1" } },
      dead_target: { url: "https://example.com/dead" },
    });
    expect(changed.retry).toEqual({
      max_attempts: -1,
      min_backoff_sec: 90,
      max_backoff_sec: 3_600,
      max_doublings: 5,
      max_duration_sec: 7_200,
    });
    expect(changed.target).not.toHaveProperty("url");

    const taken = Object.keys(rules).filter(
      (flag) => !["--weight", "--after-death", "--mode"].includes(flag),
    );
    const bare = await answer("queues", "set", "ruled", ...taken.flatMap((flag) => [flag, "none"]));
    expect(bare).toMatchObject({
      max_dispatches_per_sec: null,
      max_burst: null,
      max_concurrent: null,
      weight: 7,
      retry: {},
      timeout_sec: null,
      target: null,
      retention_succeeded_sec: null,
      retention_dead_sec: null,
      permanent_statuses: [],
      after_death: "hold",
      dead_target: null,
      mode: "pull",
    });
    expect(await answer("queues", "set", "ruled", "--mode", "push")).toMatchObject({ mode: "push" });
  });

  test("list and get show limits, counts and state, and no header's value", async () => {
    const header = ["--target-header", "Authorization: Bearer hidden-from-tables"];
    await answer(
      "queues",
      "set",
      "shown",
      "--max-concurrent",
      "2",
      "--max-dispatches-per-sec",
      "5",
      ...header,
    );
    await answer("enqueue", HEALTH(), "--queue", "shown", "--delay", "1h");
    const listed = await run(["queues", "list"]);
    expect(listed.stdout).toMatch(/^shown +open +0 +0 +1 +0 +5 a second, 2 at once$/m);
    const got = await run(["queues", "get", "shown"]);
    expect(got.stdout).toMatch(/^tasks +.*scheduled 1/m);
    expect(got.stdout).toMatch(/^target +with Authorization$/m);
    expect(got.stdout).not.toContain("hidden-from-tables");
  });

  test("pause holds a task, explain says so, resume lets it go", async () => {
    await answer("queues", "set", "halted");
    expect((await run(["queues", "pause", "halted"])).stdout).toBe("halted  paused\n");
    const url = HEALTH();
    const { task_id: id } = await answer("enqueue", url, "-X", "GET", "--queue", "halted", "--client", "p");
    const why = await run(["tasks", "explain", id]);
    expect(why.status).toBe(0);
    expect(why.stdout).toMatch(/^held +yes$/m);
    expect(why.stdout).toMatch(/^queue_paused {2}/m);
    expect((await run(["queues", "resume", "halted"])).stdout).toBe("halted  handed out again\n");
    expect((await run(["tasks", "watch", id])).status).toBe(0);
    const over = await answer("tasks", "explain", id);
    expect(over).toMatchObject({ task_id: id, held: false, reasons: [{ code: "finished" }] });
  });

  test("purge --wait empties a queue, which can then be deleted", async () => {
    for (let index = 0; index < 3; index++) {
      await answer("enqueue", HEALTH(), "--queue", "full", "--client", "f", "--delay", "1h");
    }
    const early = await run(["queues", "delete", "full", "--yes"]);
    expect(early.status).toBe(1);
    expect(early.stderr).toContain("(conflict)");
    expect(early.stderr).toContain("3");
    expect((await run(["queues", "purge", "full"])).status).toBe(2);
    const purged = await run(["queues", "purge", "full", "--yes", "--wait"]);
    expect(purged).toEqual({ status: 0, stdout: "full  purged\n", stderr: "" });
    expect((await answer("queues", "get", "full")).counts).toMatchObject({ scheduled: 0, ready: 0 });
    expect((await run(["queues", "delete", "full", "--yes"])).stdout).toBe("full  deleted\n");
    expect((await run(["queues", "get", "full"])).stderr).toContain("(queue_not_found)");
  });
});

describe("purge --wait", () => {
  /** A server whose purge goes on for so many questions. */
  async function purging(questions: number, args: readonly string[]) {
    const queue = await answer("queues", "set", "slow");
    let asked = 0;
    const other = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch: ({ url }) => {
        if (url.endsWith("/purge"))
          return Response.json({ status: "purging", queue: "slow" }, { status: 202 });
        const share = asked++ / questions;
        const purge = { started_at: queue.created_at, removed: asked, share };
        return Response.json({ ...queue, purge: share < 1 ? purge : null });
      },
    });
    const api = ["--api", `http://127.0.0.1:${other.port}`];
    const ran = await command(["queues", "purge", "slow", "--yes", "--wait", ...args, ...api], {
      terminal: true,
    });
    await other.stop(true);
    return ran;
  }

  test("shows on a terminal how far it is", async () => {
    const { status, stdout, stderr } = await purging(4, []);
    expect({ status, stdout }).toEqual({ status: 0, stdout: "slow  purged\n" });
    for (const share of [0, 25, 50, 75]) expect(stderr).toContain(`slow  ${share} % looked through`);
  });

  test("gives up after --wait-timeout, exit status 1", async () => {
    const { status, stderr } = await purging(1_000_000, ["--wait-timeout", "0.2"]);
    expect(status).toBe(1);
    expect(stderr).toContain("after 0.2 s the queue slow is still being purged");
  });
});

describe("stats", () => {
  test("tells the store, the tasks by state and the workers", async () => {
    const stats = await answer("stats");
    expect(stats).toMatchObject({ store: "sqlite", hosts: [] });
    expect(stats.workers).toHaveLength(1);
    const { stdout, status } = await run(["stats"]);
    expect(status).toBe(0);
    expect(stdout).toMatch(/^store sqlite, \d+ queues? with tasks$/m);
    expect(stdout).toMatch(/^succeeded +\d+$/m);
    expect(stdout).toContain(stats.workers[0].worker);
    expect(stdout).not.toContain("HOST HELD BACK");
  });

  test("tells hosts that are held back, and when they are tried again", async () => {
    const gone = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response("x") });
    const { origin } = gone.url;
    await gone.stop(true);
    await answer("clients", "set", "calls-nobody", "--tier", "premium");
    for (let i = 0; i < 6; i++) await answer("enqueue", `${origin}/hook`, "--client", "calls-nobody");
    let told = "";
    for (const deadline = Date.now() + 10_000; !told.includes(origin) && Date.now() < deadline; )
      told = (await run(["stats"])).stdout;
    const line = told.split("\n").find((one) => one.startsWith(origin));
    expect(line?.slice(origin.length)).toMatch(/^ +\d+ +\S+Z$/);
    expect(told).toContain("HOST HELD BACK");
  });
});

describe("audit", () => {
  test("tells who changed what, field by field, newest first", async () => {
    await answer("clients", "set", "audited", "--tier", "basic");
    await answer("clients", "set", "audited", "--tier", "premium");
    const { entries } = await answer("audit", "--limit", "1");
    expect(entries).toMatchObject([{ action: "clients.set", subject: "audited" }]);
    const { stdout } = await run(["audit"]);
    expect(stdout).toMatch(/^\S+Z +key:[0-9a-f]{8} +clients\.set +audited +tier: "basic" -> "premium"$/m);
    expect(stdout).not.toContain(KEY);
  });
});
