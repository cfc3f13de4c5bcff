/** The page at /docs, in a real browser: it shows every operation, loads nothing from elsewhere, and hands in a task. */

import { afterAll, afterEach, beforeAll, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core";
import { type AppProcess, startApp } from "../../scripts/app-process.ts";

const CHROMIUM = Bun.which("chromium");
const LIMIT_MS = 120_000;
/** For one step in a browser on a machine that has other work. */
const STEP_MS = 45_000;

let browser: Browser;
let context: BrowserContext | undefined;
const undo: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  if (CHROMIUM === null) throw new Error("chromium is needed: install it, or run scripts/test, which does");
  browser = await chromium.launch({
    executablePath: CHROMIUM,
    headless: true,
    timeout: STEP_MS,
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}, LIMIT_MS);
afterAll(() => browser?.close(), LIMIT_MS);
afterEach(async () => {
  await context?.close();
  for (const step of undo.splice(0).reverse()) await step();
}, LIMIT_MS);

async function startServer(env: Record<string, string> = {}, runtime?: string[]): Promise<AppProcess> {
  const dataDir = await mkdtemp(join(tmpdir(), "task-runner-docs-"));
  undo.push(() => rm(dataDir, { recursive: true, force: true }));
  const app = await startApp({
    ...(runtime !== undefined && { runtime }),
    command: "all",
    env: { DATA_DIR: dataDir, ALLOW_PRIVATE_URLS: "true", ...env },
  });
  undo.push(() => app.stop());
  return app;
}

interface Opened {
  readonly page: Page;
  /** What the page complained of: its console's errors and warnings, and what nobody caught. */
  readonly complaints: string[];
  readonly requested: string[];
}

async function open(url: string): Promise<Opened> {
  context = await browser.newContext();
  context.setDefaultTimeout(STEP_MS);
  const page = await context.newPage();
  const complaints: string[] = [];
  const requested: string[] = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(error.message));
  context.on("request", (request) => requested.push(request.url()));
  await page.goto(url);
  await page.locator(".opblock").first().waitFor();
  return { page, complaints, requested };
}

/** Fills in the enqueue operation of an open page, or takes its example for `null`, and sends it; resolves with the answer that the page shows. */
async function tryEnqueue(
  page: Page,
  request: object | null,
  key?: string,
): Promise<{ status: string; body: string }> {
  if (key !== undefined) {
    await page.locator(".btn.authorize").first().click();
    await page.locator('.auth-container:has-text("X-Admin-Key") input').fill(key);
    await page.locator('.auth-container:has-text("X-Admin-Key") button[type=submit]').click();
    await page.locator(".btn-done").first().click();
  }
  const operation = page.locator("#operations-Handing_in-post_v1_enqueue");
  await operation.locator(".opblock-summary-control").click();
  const body = operation.locator("textarea.body-param__text");
  if (request !== null) await body.fill(JSON.stringify(request));
  await operation.locator("button.execute").click();
  const answer = operation.locator(".live-responses-table .response");
  await answer.waitFor();
  return {
    status: ((await answer.locator(".response-col_status").textContent()) ?? "").trim(),
    body: (await answer.locator(".response-col_description .highlight-code").first().textContent()) ?? "",
  };
}

async function operationsOf(app: AppProcess, prefix = ""): Promise<string[]> {
  const { paths } = await (await fetch(`${app.url}${prefix}/openapi.json`)).json();
  return Object.values<Record<string, { operationId: string }>>(paths)
    .flatMap((path) => Object.values(path).map(({ operationId }) => operationId))
    .sort();
}

/** The operations that the page shows. */
async function shownIn(page: Page): Promise<string[]> {
  const ids = await page.locator(".opblock").evaluateAll((blocks) => blocks.map(({ id }) => id));
  return ids.map((id) => id.replace(/^operations-[^-]+-/, "")).sort();
}

for (const prefix of ["", "/apps/tasks"]) {
  test(
    `shows all operations and enqueues a task${prefix === "" ? "" : " under a path prefix"}, without a complaint or a request elsewhere`,
    async () => {
      const app = await startServer(prefix === "" ? {} : { PATH_PREFIX: prefix });
      const { page, complaints, requested } = await open(`${app.url}${prefix}/docs`);
      expect(await page.title()).toBe("Task Runner: the API");
      expect(await shownIn(page)).toEqual(await operationsOf(app, prefix));
      const task = { url: `${app.url}/health/live`, method: "GET" };
      const { status, body } = await tryEnqueue(page, { client_id: "browser", task, delay: 3_600 });
      expect(status).toStartWith("202");
      const id = /"task_id": "([0-9A-Z]{26})"/.exec(body)?.[1];
      const kept = await (await fetch(`${app.url}${prefix}/v1/tasks/${id}`)).json();
      expect(kept).toMatchObject({ task_id: id, client_id: "browser", state: "scheduled" });
      expect(complaints).toEqual([]);
      const elsewhere = requested.filter(
        (url) => !url.startsWith(`${app.url}${prefix}/`) && !url.startsWith("data:"),
      );
      expect(elsewhere).toEqual([]);
      expect(requested).toContain(`${app.url}${prefix}/v1/enqueue`);
    },
    LIMIT_MS,
  );
}

test(
  "sends its example with the keys that its reader gives it, and is the same with a slash behind its address",
  async () => {
    const app = await startServer({ ADMIN_API_KEY: "docs-admin-key", CLIENT_AUTH: "required" });
    const { page, complaints } = await open(`${app.url}/docs/`);
    const { status } = await tryEnqueue(page, null, "docs-admin-key");
    expect(status).toStartWith("202");
    expect(complaints).toEqual([]);
  },
  LIMIT_MS,
);

test(
  "runs no script but its own files, whatever comes into the page",
  async () => {
    const app = await startServer();
    const { page, complaints } = await open(`${app.url}/docs`);
    const ran = await page.evaluate(async () => {
      const script = document.createElement("script");
      script.textContent = "window.foreign = true";
      document.body.append(script);
      const fetched = await fetch("http://127.0.0.1:9/", { mode: "no-cors" }).then(
        () => true,
        () => false,
      );
      return { script: "foreign" in window, fetched };
    });
    expect(ran).toEqual({ script: false, fetched: false });
    expect(complaints.filter((text) => /Content Security Policy/.test(text)).length).toBeGreaterThanOrEqual(
      2,
    );
  },
  LIMIT_MS,
);

test(
  "its files are typed, kept a while, and no others are there",
  async () => {
    const app = await startServer();
    const of = async (path: string) => {
      const { status, headers } = await fetch(`${app.url}${path}`);
      return [status, headers.get("content-type"), headers.get("x-content-type-options")];
    };
    expect(await of("/docs")).toEqual([200, "text/html; charset=utf-8", "nosniff"]);
    expect(await of("/docs/start.js")).toEqual([200, "text/javascript; charset=utf-8", "nosniff"]);
    expect(await of("/docs/swagger-ui-bundle.js")).toEqual([
      200,
      "text/javascript; charset=utf-8",
      "nosniff",
    ]);
    expect(await of("/docs/swagger-ui.css")).toEqual([200, "text/css; charset=utf-8", "nosniff"]);
    for (const name of [
      "index.html",
      "package.json",
      "constructor",
      "..%2Fpackage.json",
      "%2e%2e%2fserver.ts",
    ]) {
      expect((await of(`/docs/${name}`)).slice(0, 2)).toEqual([404, "application/problem+json"]);
    }
    const { headers } = await fetch(`${app.url}/docs`);
    expect(headers.get("content-security-policy")).toStartWith(
      "default-src 'none'; script-src 'self'; style-src 'self';",
    );
  },
  LIMIT_MS,
);

test.skipIf(Bun.which("deno") === null)(
  "is served on Deno too, the same to the byte",
  async () => {
    const servers = [await startServer(), await startServer({}, ["deno", "run", "--quiet", "-A"])];
    for (const path of ["/docs", "/docs/start.js", "/docs/swagger-ui.css", "/docs/swagger-ui-bundle.js"]) {
      const texts = await Promise.all(servers.map(async ({ url }) => (await fetch(`${url}${path}`)).text()));
      expect([path, texts[0]?.length === 0, texts[0] === texts[1]]).toEqual([path, false, true]);
    }
  },
  LIMIT_MS,
);
