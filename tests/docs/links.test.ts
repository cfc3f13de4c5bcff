/** Whatever the documentation points at is there: files, headings, settings, commands with their options, routes, metrics. */

import { describe, expect, test } from "bun:test";
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, normalize } from "node:path";
import { PROJECT_DIR, startApp } from "../../scripts/app-process.ts";
import { SETTING_NAMES, settingOf } from "../../src/config.ts";
import { command } from "../cli/harness.ts";
import { blocksOf, pageText } from "./page.ts";

const LIMIT_MS = 60_000;

/** Every page of the repository, new ones too. */
const PAGES: readonly string[] = execFileSync(
  "git",
  ["ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
  { cwd: PROJECT_DIR, encoding: "utf8" },
)
  .trim()
  .split("\n")
  .filter((path) => existsSync(join(PROJECT_DIR, path)));

/** A page without its blocks, for what stands in them is no Markdown. */
function prose(path: string): string {
  return pageText(path).replace(/^ *```[\s\S]*?^ *```$/gm, "");
}

/** The anchors of a page's headings, as GitHub makes them. */
function anchorsOf(path: string): ReadonlySet<string> {
  const anchors = new Set<string>();
  for (const [, heading = ""] of prose(path).matchAll(/^#{1,6} +(.+?) *$/gm)) {
    const text = heading.replace(/\[([^\]]*)\]\([^)]*\)/g, "$1").replace(/`/g, "");
    const slug = text
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, "")
      .replace(/\s/g, "-");
    let anchor = slug;
    for (let again = 1; anchors.has(anchor); again++) anchor = `${slug}-${again}`;
    anchors.add(anchor);
  }
  return anchors;
}

/** All code of a page: spans, with line breaks undone, and lines of blocks of commands. */
function codeOf(path: string): readonly string[] {
  const spans = [...prose(path).matchAll(/`([^`]+)`/g)].map(([, span = ""]) => span.replace(/\s+/g, " "));
  const blocks = blocksOf(path).filter(({ language }) =>
    ["", "sh", "text", "yaml", "ini"].includes(language),
  );
  return [...spans, ...blocks.flatMap(({ text }) => text.replace(/\\\n/g, " ").split("\n"))];
}

describe("links", () => {
  test("are looked for in all pages", () => {
    for (const page of ["README.md", "docs/operations.md", "docs/troubleshooting.md", "cpln/README.md"]) {
      expect(PAGES).toContain(page);
    }
  });

  test.each(PAGES.map((page) => [page] as const))(
    "of %s lead to files and headings that there are",
    (page) => {
      const broken: string[] = [];
      const targets = [
        ...[...prose(page).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = ""]) => target),
        ...[...prose(page).matchAll(/^\[[^\]]+\]: (\S+)$/gm)].map(([, target = ""]) => target),
      ];
      for (const target of targets) {
        if (/^[a-z]+:/.test(target)) continue;
        const [file = "", anchor] = target.split("#");
        const path = file === "" ? page : normalize(join(dirname(page), file));
        if (!existsSync(join(PROJECT_DIR, path))) broken.push(`${target}: no such file`);
        else if (anchor !== undefined && !anchorsOf(path).has(anchor))
          broken.push(`${target}: no such heading`);
      }
      expect(broken).toEqual([]);
    },
  );

  test("of README lead to every page of docs/", () => {
    const linked = new Set(
      [...pageText("README.md").matchAll(/\]\((docs\/[\w-]+\.md)/g)].map(([, path]) => path),
    );
    expect(PAGES.filter((page) => page.startsWith("docs/") && !linked.has(page))).toEqual([]);
  });
});

/** Names in capitals that are no settings of ours: other programs', and those of plugins that the pages have for examples. */
const OTHERS = new Set([
  "NODE_EXTRA_CA_CERTS",
  "REDISCLI_AUTH",
  "HTTPS_PROXY",
  "NO_COLOR",
  "SIGTERM",
  "OTEL_EXPORTER_OTLP_HEADERS",
  "OTEL_EXPORTER_OTLP_COMPRESSION",
  "OTEL_SERVICE_NAME",
  "OTEL_RESOURCE_ATTRIBUTES",
  // Of the commands that ask a server, and of tests.
  "TASK_RUNNER_API_KEY",
  "TASK_RUNNER_BIN",
  // Another name of REDIS_SENTINEL_ADDR.
  "REDIS_SENTINEL_ADDRS",
  // What examples stand for, or have in a shell.
  "TASK_ID",
  "KEY_ID",
  "SECRET_ID",
  "CLIENT_ID",
  "CLIENT_KEY",
  "NAME_FILE",
  "NAME_BYTES",
]);
/** Pages on plugins have options of their own, and a changelog tells of names that are gone. */
const OWN_NAMES = /^(?:docs\/plugins\.md|examples\/.*|CHANGELOG\.md)$/;

describe("settings", () => {
  const known = new Set<string>(
    SETTING_NAMES.flatMap((name) => (settingOf(name).secret ? [name, `${name}_FILE`] : [name])),
  );

  test.each(PAGES.filter((page) => !OWN_NAMES.test(page)).map((page) => [page] as const))(
    "that %s names are there",
    (page) => {
      const named = codeOf(page).flatMap((code) => [
        ...code.matchAll(/(?<![\w-])[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+(?![\w(])/g),
      ]);
      const unknown = named.map(([name]) => name).filter((name) => !known.has(name) && !OTHERS.has(name));
      // A misspelt one, e.g. of docs/configuration.md, is shown to be pointed out.
      expect([...new Set(unknown)].filter((name) => name !== "WORKER_CONCURENCY")).toEqual([]);
    },
  );
});

/** The help of a command; null where there is no such command. */
const helps = new Map<string, Promise<string | null>>();
function helpOf(path: readonly string[]): Promise<string | null> {
  const name = path.join(" ");
  const known = helps.get(name);
  if (known !== undefined) return known;
  const asked = command([...path, "--help"]).then(({ status, stdout }) => (status === 0 ? stdout : null));
  helps.set(name, asked);
  return asked;
}

function subcommandsOf(help: string): ReadonlySet<string> {
  const [, listed = ""] = /\nCommands:\n([\s\S]*?)(?:\n\n|$)/.exec(help) ?? [];
  return new Set([...listed.matchAll(/^ {2}([a-z]+)(?: |$)/gm)].map(([, name = ""]) => name));
}

/** What is wrong with a command that a page prints, `task-runner` left out; null where nothing is. */
async function wrongWith(words: readonly string[]): Promise<string | null> {
  const path: string[] = [];
  let help = (await helpOf(path)) ?? "";
  for (const word of words) {
    const subcommands = subcommandsOf(help);
    if (subcommands.size === 0) break;
    if (!/^[a-z]+$/.test(word)) break;
    if (!subcommands.has(word)) return `no command ${[...path, word].join(" ")}`;
    path.push(word);
    help = (await helpOf(path)) ?? "";
  }
  for (const option of words.filter((word) => /^--[a-z]/.test(word))) {
    const [name = ""] = option.split("=");
    if (!help.includes(`${name} `) && !help.includes(`${name}\n`))
      return `no option ${name} of ${path.join(" ")}`;
  }
  return null;
}

describe("commands", () => {
  test.each(PAGES.map((page) => [page] as const))(
    "of task-runner that %s prints are there, with their options",
    async (page) => {
      const wrong: string[] = [];
      for (const code of codeOf(page)) {
        for (const [, line = ""] of code.matchAll(
          /(?:^|[\s;&|(])(?:task-runner|bun \S*src\/main\.ts|\/task-runner)((?: +[^\s;&|)#>]+)+)/g,
        )) {
          const words = line.trim().split(/ +/);
          if (/^[a-z]+$/.test(words[0] ?? "") || words[0]?.startsWith("--")) {
            const what = await wrongWith(words);
            if (what !== null) wrong.push(`${code}: ${what}`);
          }
        }
      }
      expect(wrong).toEqual([]);
    },
    LIMIT_MS,
  );

  test("that are wrong would be found", async () => {
    expect(await wrongWith(["tasks", "explane", "ID"])).toBe("no command tasks explane");
    expect(await wrongWith(["tasks", "explain", "ID", "--now"])).toBe("no option --now of tasks explain");
    expect(await wrongWith(["queues", "set", "mail", "--weight", "5"])).toBeNull();
  });
});

test("alerts that pages name are in the rules, and operations.md names them all", () => {
  const rules = [...pageText("docs/prometheus-rules.yml").matchAll(/alert: (\w+)/g)].map(
    ([, name]) => name ?? "",
  );
  const alerts = (page: string) => codeOf(page).filter((code) => /^TaskRunner[A-Z]\w+$/.test(code));
  expect(PAGES.flatMap(alerts).filter((name) => !rules.includes(name))).toEqual([]);
  expect([...new Set(alerts("docs/operations.md"))].sort()).toEqual(rules.sort());
});

test(
  "routes that pages name are in the API's description, and metrics in observability.md",
  async () => {
    const dir = mkdtempSync(join(tmpdir(), "task-runner-links-"));
    const app = await startApp({ command: "serve", env: { DATA_DIR: dir } });
    const { paths } = (await (await fetch(`${app.url}/openapi.json`)).json()) as {
      paths: Record<string, object>;
    };
    await app.stop();
    rmSync(dir, { recursive: true });
    const served = new Set(
      Object.entries(paths).flatMap(([path, methods]) =>
        Object.keys(methods).map((method) => `${method.toUpperCase()} ${path.replace(/\{\w+\}/g, "*")}`),
      ),
    );
    const metrics = pageText("docs/observability.md");
    const unknown: string[] = [];
    for (const page of PAGES) {
      for (const code of codeOf(page)) {
        for (const [, method = "", path = ""] of code.matchAll(
          /\b(GET|POST|PATCH|DELETE) (\/(?:v1|admin|health)\/[\w{}/]+)/g,
        )) {
          const known = `${method} ${path.replace(/\{\w+\}|\bID\b/g, "*")}`;
          if (!served.has(known) && !isSubRoute(known, served)) unknown.push(`${page}: ${method} ${path}`);
        }
        for (const [name] of code.matchAll(/(?<![\w:])task_runner_[a-z_]+[a-z](?![\w(:])/g)) {
          if (!metrics.includes(name)) unknown.push(`${page}: ${name}`);
        }
      }
    }
    expect(unknown).toEqual([]);
  },
  LIMIT_MS,
);

/** `POST /v1/queues/render/lease` is one of `POST /v1/queues/{queue}/lease`. */
function isSubRoute(route: string, served: ReadonlySet<string>): boolean {
  return [...served].some(
    (each) => each.includes("*") && new RegExp(`^${each.replaceAll("*", "[\\w*]+")}$`).test(route),
  );
}
