/** The pages of the documentation as tests read them: their blocks, and their commands run as a reader would. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { inheritedEnv, PROJECT_DIR } from "../../scripts/app-process.ts";

const LIMIT_MS = 30_000;

export interface Block {
  /** The word behind the fence; empty where there is none. */
  readonly language: string;
  readonly text: string;
}

export function pageText(path: string): string {
  return readFileSync(join(PROJECT_DIR, path), "utf8");
}

/** What stands between fences in a page, in order. */
export function blocksOf(path: string): readonly Block[] {
  return [...pageText(path).matchAll(/^ *```(\w*)\n([\s\S]*?)^ *```$/gm)].map(
    ([, language = "", text = ""]) => ({
      language,
      text: text.trim(),
    }),
  );
}

/** The blocks of shell commands of a page. */
export function commandsOf(path: string): readonly string[] {
  return blocksOf(path).flatMap(({ language, text }) => (language === "sh" ? [text] : []));
}

/** What stands under a heading of a page, up to the next one of its level or above. Throws where there is no such heading. */
export function sectionOf(path: string, heading: string): string {
  const lines = pageText(path).split("\n");
  const begin = lines.findIndex((line) => /^#+ /.test(line) && line.replace(/^#+ /, "") === heading);
  if (begin === -1) throw new Error(`${path} has no heading "${heading}"`);
  const level = /^#+/.exec(lines[begin] ?? "")?.[0].length ?? 0;
  const length = lines.slice(begin + 1).findIndex((line) => {
    const found = /^#+(?= )/.exec(line);
    return found !== null && found[0].length <= level;
  });
  return lines.slice(begin + 1, length === -1 ? undefined : begin + 1 + length).join("\n");
}

export interface ShellOptions {
  readonly cwd: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Statuses that are no failure; 0 alone unless told. */
  readonly statuses?: readonly number[];
}

/** Runs commands as a shell would, and gives all their output; throws with it when one fails. */
export async function shell(
  commands: string,
  { cwd, env = {}, statuses = [0] }: ShellOptions,
): Promise<string> {
  const child = Bun.spawn(["bash", "-euo", "pipefail", "-c", `exec 2>&1\n${commands}`], {
    cwd,
    env: { ...inheritedEnv(), ...env },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "ignore",
    timeout: LIMIT_MS,
  });
  const [output, status] = await Promise.all([new Response(child.stdout).text(), child.exited]);
  if (!statuses.includes(status)) throw new Error(`${commands}\nended with status ${status}:\n${output}`);
  return output;
}
