/** The curl commands of the documents are run as they are printed, and answer what is printed. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type AppProcess, inheritedEnv, PROJECT_DIR, startApp } from "../../scripts/app-process.ts";
import { SECRETS_KEY } from "../support/signing.ts";

const LIMIT_MS = 20_000;
/** How long what happens in the background may take to show in an answer. */
const SETTLED_WITHIN_MS = 12_000;

interface Block {
  readonly language: string;
  readonly text: string;
}

interface Example {
  readonly command: string;
  /** The answer that the document prints below it; undefined where it prints none. */
  readonly answer: unknown;
}

const textOf = (page: string): string => readFileSync(join(PROJECT_DIR, "docs", page), "utf8");

const DOCUMENT = textOf("clients-and-queues.md");
const API = textOf("api.md");

/** Run one after the other, on the same server. */
const PAGES: ReadonlyMap<string, string> = new Map([
  ["clients-and-queues.md", DOCUMENT],
  ["callbacks.md", textOf("callbacks.md")],
  ["pull.md", textOf("pull.md")],
  ["api.md", API],
]);

function blocksOf(page: string): readonly Block[] {
  return [...page.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)].map(([, language = "", text = ""]) => ({
    language,
    text: text.trim(),
  }));
}

const BLOCKS: readonly Block[] = [...PAGES.values()].flatMap(blocksOf);

const EXAMPLES: readonly Example[] = BLOCKS.flatMap(({ language, text }, index) => {
  if (language !== "sh") return [];
  const next = BLOCKS[index + 1];
  return [{ command: text, answer: next?.language === "json" ? JSON.parse(next.text) : undefined }];
});

/** Fields whose values are of one answer alone. */
const OWN_VALUES =
  /^(?:task_id|lease|lease_until|key|key_id|secret|secret_id|actor|worker|durability|duration_ms|at|.*_at)$/;

/** Whether an answer has all that is printed of it; a `…` stands for anything, and [] for any list. */
function fits(printed: unknown, answer: unknown): boolean {
  if (Array.isArray(printed)) {
    return Array.isArray(answer) && printed.every((item) => answer.some((given) => fits(item, given)));
  }
  if (typeof printed === "object" && printed !== null) {
    if (typeof answer !== "object" || answer === null) return false;
    const given = answer as Readonly<Record<string, unknown>>;
    return Object.entries(printed).every(([name, value]) => {
      if (name === "…") return true;
      if (!Object.hasOwn(given, name)) return false;
      return OWN_VALUES.test(name) ? (value === null) === (given[name] === null) : fits(value, given[name]);
    });
  }
  if (typeof printed === "string" && printed.includes("…")) return typeof answer === "string";
  return printed === answer;
}

/** The method and the path that a command asks for, without its query. */
function requestOf(command: string): readonly [method: string, path: string] {
  const method = / -X ([A-Z]+)/.exec(command)?.[1] ?? (command.includes(" -d ") ? "POST" : "GET");
  return [method, /http:\/\/127\.0\.0\.1:8080([^\s'"?]*)/.exec(command)?.[1] ?? ""];
}

/** Whether a command asks for a route, which has `{name}` for a parameter. */
function asksFor(command: string, method: string, route: string): boolean {
  const [used, path] = requestOf(command);
  const pattern = route.replace(/[.]/g, "\\.").replace(/\{\w+\}/g, "[^/]+");
  return used === method && new RegExp(`^${pattern}$`).test(path);
}

/** What a request sets, which its answer has to show. */
function settingsIn(command: string): object | null {
  if (!/\/admin\/\w+\/set /.test(command)) return null;
  return JSON.parse(/ -d '([^']*)'/.exec(command)?.[1] ?? "");
}

/** Fields of an answer that later commands take from the reader's shell. */
const KEPT = { TASK_ID: "task_id", KEY_ID: "key_id", CLIENT_KEY: "key", SECRET_ID: "secret_id" };

const ADMIN_API_KEY = "documented-admin-key";

describe.each([
  ["without an admin key", {}, {}],
  ["with one, and keys of clients", { ADMIN_API_KEY, CLIENT_AUTH: "optional" }, { ADMIN_API_KEY }],
])("the printed commands, %s", (_, serverEnv, shellEnv) => {
  /** What the reader of the document has in his shell. */
  const variables: Record<string, string> = { ...shellEnv };
  let dataDir = "";
  let app: AppProcess;

  beforeAll(async () => {
    dataDir = await mkdtemp(join(tmpdir(), "task-runner-documented-"));
    app = await startApp({
      command: "all",
      env: { DATA_DIR: dataDir, ALLOW_PRIVATE_URLS: "true", SECRETS_KEY, ...serverEnv },
    });
  }, LIMIT_MS);

  afterAll(async () => {
    await app.stop();
    await rm(dataDir, { recursive: true, force: true });
  });

  /** Runs a command as the reader's shell would; throws when the server did not answer well. */
  async function shell(command: string): Promise<unknown> {
    // The one difference to what is printed: a refusal ends curl with a status, so that it is not taken for an answer.
    const failing = `curl() { command curl --fail-with-body --max-time 10 "$@"; }\n${command}`;
    const child = Bun.spawn(["bash", "-c", failing], {
      env: { ...inheritedEnv(), ...variables },
      stdin: "ignore",
      stdout: "pipe",
      timeout: LIMIT_MS,
    });
    const [output, status] = await Promise.all([new Response(child.stdout).text(), child.exited]);
    if (status !== 0) throw new Error(`${command}\nended with status ${status}:\n${output}`);
    // Metrics and the page of the API are no JSON.
    if (!/^[{[]/.test(output)) return output;
    const answer = JSON.parse(output);
    for (const [name, field] of Object.entries(KEPT)) {
      if (typeof answer[field] === "string") variables[name] = answer[field];
    }
    const [leased] = Array.isArray(answer.tasks) ? answer.tasks : [];
    if (typeof leased?.lease === "string") variables.LEASE = leased.lease;
    return answer;
  }

  test("the table of admin routes has all that the server has, and operations.md every error code", async () => {
    const { paths, components } = await (await fetch(`${app.url}/openapi.json`)).json();
    const served = Object.entries<object>(paths)
      .filter(([path]) => path.startsWith("/admin/"))
      .flatMap(([path, methods]) => Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`));
    const printed = [...DOCUMENT.matchAll(/^\| `((?:GET|POST) \/admin\/\S+)` \|/gm)].map((match) => match[1]);
    expect(printed.sort()).toEqual(served.sort());
    const operations = readFileSync(join(PROJECT_DIR, "docs/operations.md"), "utf8");
    const codes: readonly string[] = components.schemas.Problem.properties.code.enum;
    expect(codes.filter((code) => !new RegExp(`^\\|.*\`${code}\`.*\\|$`, "m").test(operations))).toEqual([]);
  });

  test("the API's table has all routes that the server has, each with a command on the page that it names", async () => {
    const { paths } = await (await fetch(`${app.url}/openapi.json`)).json();
    const served = Object.entries<Record<string, { summary: string }>>(paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, { summary }]) => `${method.toUpperCase()} ${path}: ${summary}`),
    );
    const rows = [
      ...API.matchAll(/^\| `([A-Z]+) (\S+)` \| (.*?) \| \[[^\]]+\]\(([\w-]+\.md)?#?[\w-]*\) \|$/gm),
    ];
    expect(rows.map(([, method, path, summary]) => `${method} ${path}: ${summary}`).sort()).toEqual(
      served.sort(),
    );
    for (const [, method = "", path = "", , page = "api.md"] of rows) {
      const commands = blocksOf(PAGES.get(page) ?? "").filter(({ language }) => language === "sh");
      const found = commands.some(({ text }) => asksFor(text, method, path));
      expect(`${method} ${path} ${found ? "has" : "has no"} command in ${page}`).toContain(" has command");
    }
  });

  // In their order, for later ones look at what earlier ones did.
  test.each(EXAMPLES.map((example, index) => [index + 1, example] as const))(
    "number %d",
    async (_number, { command, answer: printed }) => {
      const here = (text: string) => text.replaceAll("http://127.0.0.1:8080", app.url);
      const expected = settingsIn(here(command));
      const isRead = !command.includes(" -d ");
      const endMs = Date.now() + SETTLED_WITHIN_MS;
      let answer: unknown;
      do answer = await shell(here(command));
      while (isRead && !fits(printed, answer) && printed !== undefined && Date.now() < endMs);
      if (printed !== undefined && !fits(printed, answer)) expect(answer).toEqual(printed);
      if (expected !== null && !fits(expected, answer)) expect(answer).toMatchObject(expected);
    },
    LIMIT_MS,
  );
});

test("every block of commands is one curl, so that none goes without its test", () => {
  expect(EXAMPLES.length).toBeGreaterThan(30);
  expect(EXAMPLES.filter(({ command }) => !/^curl -s /.test(command) || /\ncurl /.test(command))).toEqual([]);
  const languages = new Set(BLOCKS.map(({ language }) => language));
  expect([...languages].sort()).toEqual(["http", "json", "sh"]);
});

test(
  "the eleventh task of a minute is refused as it is printed",
  async () => {
    const dataDir = await mkdtemp(join(tmpdir(), "task-runner-documented-"));
    const app = await startApp({ command: "serve", env: { DATA_DIR: dataDir, ALLOW_PRIVATE_URLS: "true" } });
    try {
      const enqueue = () =>
        fetch(`${app.url}/v1/enqueue`, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify({ client_id: "reports", task: { url: `${app.url}/health/live` } }),
        });
      for (let index = 0; index < 10; index++) {
        const accepted = await enqueue();
        expect(accepted.status).toBe(202);
        expect(accepted.headers.get("ratelimit-remaining")).toBe(String(9 - index));
      }
      const refused = await enqueue();
      const text = BLOCKS.find(({ language }) => language === "http")?.text ?? "";
      const [head = "", body = ""] = text.split("\n\n");
      expect(refused.status).toBe(429);
      for (const line of head.split("\n").slice(1)) {
        const [name = "", value = ""] = line.split(": ");
        const given = refused.headers.get(name) ?? "";
        if (/^(?:Retry-After|RateLimit-Reset)$/.test(name)) expect(Number(given)).toBeWithin(1, 62);
        else expect(given).toBe(value);
      }
      const answer = JSON.parse((await refused.text()).replace(/in \d+ s/, "in 54 s"));
      if (!fits(JSON.parse(body), answer)) expect(answer).toEqual(JSON.parse(body));
    } finally {
      await app.stop();
      await rm(dataDir, { recursive: true, force: true });
    }
  },
  LIMIT_MS,
);
