/** The commands of docs/troubleshooting.md tell what the page says they tell, and its cures cure. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startApp } from "../../scripts/app-process.ts";
import { decideBeforeDelivery } from "../../src/core/retry.ts";
import { MAX_CRASHES } from "../../src/core/task.ts";
import { ExplanationSchema } from "../../src/service/explanation.ts";
import { until } from "../support/redis.ts";
import { startTarget, type TestTarget } from "../support/target.ts";
import { certificateFor } from "../transport/certificate.ts";
import { commandsOf, sectionOf, shell } from "./page.ts";
import { ADMIN_API_KEY, DocumentedServer, taskRunner } from "./server.ts";
import { isQuoted, spansOf } from "./wording.ts";

const PAGE = "docs/troubleshooting.md";
const LIMIT_MS = 60_000;
const SETTLED_MS = 20_000;
const SECRETS_KEY = "ab".repeat(32);

let dir = "";
let target: TestTarget;
/** Its certificate is its own and for another name. */
let secure: TestTarget;
let certificate: ReturnType<typeof certificateFor>;
let server: DocumentedServer;
/** Headings whose commands were run. */
const tried = new Set<string>();

/** Runs the commands that a section prints. */
function runPrinted(heading: string, env: Readonly<Record<string, string>> = {}): Promise<string> {
  tried.add(heading);
  const text = [...sectionOf(PAGE, heading).matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map(([, block]) => block);
  return server.run(text.join("\n"), { cwd: dir, env });
}

/** The cure that a row of the table of explanations names. */
function cureOf(code: string): string {
  const rows = sectionOf(PAGE, "A task does not run").split("\n");
  const row = rows.find((line) => line.startsWith(`| \`${code}\` |`)) ?? "";
  const [cure = ""] = spansOf(row.split("|").at(-2) ?? "").filter((span) => span.startsWith("task-runner "));
  return cure.replace("QUEUE", "mail").replace("CLIENT", "shop");
}

function expectReason(reason: string): void {
  const spans = spansOf(
    sectionOf(PAGE, "A task fails, or is dead") + sectionOf(PAGE, "A certificate is refused"),
  );
  if (!isQuoted(reason, spans)) expect(spans).toContain(reason);
}

function to(path: string, more: Readonly<Record<string, unknown>> = {}) {
  return { task: { url: `${target.url}${path}`, ...more } };
}

const ONCE = { retry: { max_attempts: 1 } };

function start(env: Readonly<Record<string, string>>): Promise<DocumentedServer> {
  const common = { DATA_DIR: join(dir, "data"), ADMIN_API_KEY, CB_FAILURE_THRESHOLD: "2" };
  return startApp({ command: "all", env: { ...common, ...env } }).then((app) => new DocumentedServer(app));
}

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "task-runner-troubles-"));
  certificate = certificateFor(dir, "own", "IP:127.0.0.1");
  target = await startTarget();
  secure = await startTarget(undefined, certificate);
  server = await start({ SECRETS_KEY, EGRESS_ALLOW_CIDRS: "127.0.0.1" });
  await server.admin("tiers/set", { tier: "free", requests_per_minute: null, max_concurrent: null });
  await server.admin("queues/set", { queue: "mail" });
}, LIMIT_MS);

afterAll(async () => {
  await server?.app.stop();
  await target?.stop();
  await secure?.stop();
  await rm(dir, { recursive: true, force: true });
});

describe("a task that does not run", () => {
  test("has each code of an explanation in the table, and no other", () => {
    const codes: readonly string[] = ExplanationSchema.properties.reasons.items.properties.code.enum;
    const rows = [...sectionOf(PAGE, "A task does not run").matchAll(/^\| `(\w+)` \|/gm)].map(
      ([, code]) => code,
    );
    expect(rows.sort()).toEqual([...codes].sort());
  });

  const causes: ReadonlyArray<readonly [string, () => Promise<string>]> = [
    [
      "queue_paused",
      async () => {
        await server.admin("queues/pause", { queue: "mail" });
        return server.handIn({ ...to("/paused"), queue: "mail" });
      },
    ],
    [
      "client_disabled",
      async () => {
        const id = await server.handIn({ ...to("/disabled"), delay: 1 });
        await server.admin("clients/set", { client_id: "shop", enabled: false });
        return id;
      },
    ],
    ["not_due", () => server.handIn({ ...to("/later"), delay: 3_600 })],
    [
      "queue_limit",
      async () => {
        await server.admin("queues/set", { queue: "mail", max_concurrent: 0 });
        return server.handIn({ ...to("/limited"), queue: "mail" });
      },
    ],
    [
      "queue_rate",
      async () => {
        await server.admin("queues/set", { queue: "mail", max_dispatches_per_sec: 0.001, max_burst: 1 });
        await server.untilState(await server.handIn({ ...to("/first"), queue: "mail" }), "succeeded");
        return server.handIn({ ...to("/second"), queue: "mail" });
      },
    ],
    [
      "client_limit",
      async () => {
        await server.admin("clients/set", { client_id: "shop", overrides: { max_concurrent: 0 } });
        return server.handIn(to("/alone"));
      },
    ],
    [
      "pull_queue",
      async () => {
        await server.admin("queues/set", { queue: "mail", mode: "pull" });
        return server.handIn({ ...to("/pulled"), queue: "mail" });
      },
    ],
  ];
  test.each(causes)(
    "because of %s is explained by the printed command, and cured by what the table says",
    async (code, cause) => {
      const TASK_ID = await cause();
      const env = { TASK_ID };
      await until("it is explained", SETTLED_MS, async () =>
        (await server.run("task-runner tasks explain $TASK_ID --json", { cwd: dir, env })).includes(
          `"${code}"`,
        ),
      );
      expect(await runPrinted("A task does not run", env)).toContain(code);
      // Where the limit is a client's own, a tier of another size is not enough.
      if (code === "client_limit") await server.admin("clients/set", { client_id: "shop", overrides: {} });
      await server.run(cureOf(code).replace(/ N$/, " 1000"), { cwd: dir, env });
      await server.untilState(TASK_ID, "succeeded");
    },
    LIMIT_MS,
  );
});

describe("a task that fails", () => {
  const dead = "127.0.0.1:1";
  const causes: ReadonlyArray<readonly [string, () => Readonly<Record<string, unknown>>, string]> = [
    ["no such page", () => to("/missing"), "answered 404 Not Found"],
    ["a redirect", () => to("/moved"), "answered 302 Found; redirects are not followed"],
    ["nobody there", () => ({ task: { url: `http://${dead}/` } }), "connection refused"],
    ["a target that is silent", () => to("/silent", { timeout_sec: 1 }), "timed out after 1 s"],
    [
      "a wrong name",
      () => ({ task: { url: "http://nobody.invalid/" } }),
      "name does not resolve: nobody.invalid",
    ],
    [
      "an unknown certificate",
      () => ({ task: { url: `${secure.url}/` } }),
      "TLS certificate is self-signed and not trusted",
    ],
  ];
  test.each(causes)(
    "by %s is told of by the printed command, in words of the page",
    async (_name, task, words) => {
      target.answer("/missing", 404);
      target.answer("/moved", { status: 302, headers: { location: "/ok" } });
      target.answer("/silent", "never");
      const id = await server.handIn({ ...task(), ...ONCE });
      await server.untilState(id, "dead");
      expect(await runPrinted("A task fails, or is dead", { TASK_ID: id })).toContain(
        `gave up after 1 attempt: ${words}`,
      );
      expectReason(words);
    },
    LIMIT_MS,
  );

  test("by the death of its workers is told of in words of the page", () => {
    const verdict = decideBeforeDelivery(MAX_CRASHES);
    expectReason(verdict?.kind === "dead" ? verdict.reason : "");
  });

  test(
    "by a worker that was told too little, is told of in words of the page",
    async () => {
      await server.admin("clients/secrets/create", { client_id: "signed" });
      await server.app.stop();
      server = await start({ EGRESS_ALLOW_CIDRS: "127.0.0.2" });
      const unsigned = await server.handIn({
        client_id: "signed",
        task: { url: "http://127.0.0.2/" },
        ...ONCE,
      });
      expectReason(lastError(await server.untilState(unsigned, "dead")));
      const { port } = target;
      const inside = await server.handIn({ task: { url: `http://localhost:${port}/` }, ...ONCE });
      const { reason } = await server.untilState(inside, "dead");
      expectReason(String(reason));
      expect(String(reason)).toContain("which is not allowed");
      const shown = await runPrinted("It works here and not in the cluster", {
        EGRESS_ALLOW_CIDRS: "127.0.0.2",
      });
      expect(shown).toMatch(/^EGRESS_ALLOW_CIDRS +127\.0\.0\.2 +environment/m);
    },
    LIMIT_MS,
  );

  test(
    "by a certificate is cured by NODE_EXTRA_CA_CERTS, unless the name is another",
    async () => {
      await server.app.stop();
      server = await start({
        SECRETS_KEY,
        EGRESS_ALLOW_CIDRS: "127.0.0.1",
        NODE_EXTRA_CA_CERTS: certificate.path,
      });
      await server.untilState(await server.handIn({ task: { url: `${secure.url}/` }, ...ONCE }), "succeeded");
      const url = secure.url.replace("127.0.0.1", "localhost");
      const other = await server.untilState(await server.handIn({ task: { url }, ...ONCE }), "dead");
      // Where the machine has ::1 for localhost too, that address is not allowed.
      if (!String(other.reason).includes("not allowed")) expectReason(lastError(other));
    },
    LIMIT_MS,
  );
});

describe("the other commands", () => {
  test(
    "tell of hosts that are held back, and of what waits for them",
    async () => {
      for (let failed = 0; failed < 3; failed++)
        await server.handIn({ task: { url: "http://127.0.0.1:1/" } });
      await until("it is held back", SETTLED_MS, async () =>
        ((await server.admin("stats")).hosts as { host: string }[]).some(
          ({ host }) => host === "http://127.0.0.1:1",
        ),
      );
      expect(await runPrinted("A host is held back")).toMatch(/HOST HELD BACK[\s\S]*http:\/\/127\.0\.0\.1:1/);
    },
    LIMIT_MS,
  );

  test(
    "list dead tasks and queues, and the cure starts a dead task over",
    async () => {
      target.answer("/mended", 500, 200);
      const id = await server.handIn({ ...to("/mended"), ...ONCE, queue: "default" });
      await server.untilState(id, "dead");
      const output = await runPrinted("Dead letters grow");
      expect(output).toContain(id);
      expect(output).toMatch(/^default /m);
      await server.run(`task-runner dead replay ${id}`, { cwd: dir });
      await server.untilState(id, "succeeded");
    },
    LIMIT_MS,
  );

  test("tell of what waits, and for whom", async () => {
    await server.admin("queues/set", { queue: "crowded" });
    await server.admin("queues/pause", { queue: "crowded" });
    await server.handIn({ ...to("/crowd"), queue: "crowded" });
    const output = await runPrinted("Tasks run late");
    expect(output).toMatch(/^ready +[1-9]/m);
    expect(output).toMatch(/TASKS AT ONCE/);
    expect(output).toMatch(/^crowded .*paused/m);
  });

  test("show a client's limits", async () => {
    const output = await runPrinted("429 `rate_limited`", { CLIENT_ID: "signed" });
    expect(output).toContain("signed");
    expect(output).toContain("free");
  });

  test("look the store through", async () => {
    const output = await runPrinted("Figures do not add up", { DATA_DIR: join(dir, "data") });
    expect(output).toContain("nothing is broken");
  });

  test("tell the machine's time and the store's", async () => {
    const output = await runPrinted("The clock is wrong");
    const [now = "", ...rest] = output.split("\n");
    const { workers } = JSON.parse(rest.join("\n")) as { workers: { seen_at: string }[] };
    const newest = Math.max(...workers.map(({ seen_at }) => Date.parse(seen_at)));
    expect(Math.abs(Date.parse(now) - newest)).toBeLessThan(60_000);
  });

  test(
    "say of a worker that is not there why it is not ready",
    async () => {
      const heading = "A process is not ready";
      tried.add(heading);
      const [command = ""] = commandsOf(PAGE).filter((text) => text.includes("healthcheck"));
      const ask = (port: number) =>
        shell(`${taskRunner("")}\n${command}`, { cwd: dir, env: { PORT: String(port) }, statuses: [1] });
      const spans = spansOf(sectionOf(PAGE, heading));
      const told = (output: string) => output.replace(/^not ready: /, "").trim();
      expect(isQuoted(told(await ask(1)), spans)).toBe(true);
    },
    LIMIT_MS,
  );

  test("are all that the page prints", () => {
    const headings = new Set<string>();
    let heading = "";
    for (const line of sectionOf(PAGE, "Troubleshooting").split("\n")) {
      if (/^#+ /.test(line)) heading = line.replace(/^#+ /, "");
      if (line === "```sh") headings.add(heading);
    }
    expect([...tried].sort()).toEqual([...headings].sort());
  });
});

function lastError({ attempts }: Readonly<Record<string, unknown>>): string {
  return String((attempts as { error: string | null }[]).at(-1)?.error);
}
