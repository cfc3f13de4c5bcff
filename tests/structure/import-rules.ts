/** Who may import whom, and where the runtime, the environment and the exit may be touched. */

import { posix } from "node:path";
import { importsOf, readSource } from "./source-text.ts";

/** What each part of src may import besides itself. The composition root sees all. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  core: [],
  store: ["core"],
  transport: ["core"],
  service: ["core", "secrets"],
  worker: ["core", "secrets", "telemetry"],
  api: ["core", "service", "telemetry"],
  cli: ["core", "config", "version", "runtime"],
  secrets: ["core"],
  receiver: [],
  // Types alone: it is bundled into programs that have nothing else of this one, which a test of its own holds.
  client: ["core", "service", "api"],
  plugin: ["core", "transport"],
  telemetry: ["core"],
  config: ["core"],
  runtime: ["core"],
  version: [],
};
const COMPOSITION_ROOT = ["app", "main"];
/** Parts whose every folder is one implementation, which knows the core and no sibling. */
const SEAMS = ["store", "transport"];
const CORE_PACKAGE = "@sinclair/typebox";

/** What is wrong with one file of src; `path` is relative to src, with slashes. */
export function problemsOf(path: string, source: string): string[] {
  const text = readSource(source);
  const from = partOf(path);
  const problems: string[] = [];
  if (!COMPOSITION_ROOT.includes(from.part) && !(from.part in MAY_IMPORT)) {
    problems.push(`no rule says what ${from.part} may import: add it to the table`);
  }
  for (const { specifier, names } of importsOf(text)) {
    const problem = specifier === null ? computedProblem(from.part) : importProblem(path, specifier, names);
    if (problem !== null) problems.push(problem);
  }
  return [...problems, ...usageProblems(from.part, text.code)].map((problem) => `src/${path} ${problem}`);
}

/** Plugins lie wherever their users say; they come in by one door. */
function computedProblem(part: string): string | null {
  return part === "runtime" ? null : "imports what cannot be told by reading: only src/runtime.ts may";
}

function importProblem(path: string, specifier: string, names: readonly string[]): string | null {
  const from = partOf(path);
  if (specifier.startsWith(".")) return relativeProblem(path, specifier);
  if (specifier.startsWith("/") || specifier.startsWith("file:") || /^(?:src|~|#|@)\//.test(specifier)) {
    return `imports ${specifier} by something else than a relative path`;
  }
  if (from.part === "core" && specifier !== CORE_PACKAGE && !specifier.startsWith(`${CORE_PACKAGE}/`)) {
    return `imports ${specifier}: the core knows ${CORE_PACKAGE} and nothing else`;
  }
  if (/^(?:bun|deno)(?::|$)/.test(specifier) && from.part !== "runtime")
    return `imports ${specifier}: only src/runtime.ts may`;
  if (specifier === "process" || specifier === "node:process") {
    if (names.includes("env") && from.part !== "config") return "reads the environment: only src/config may";
    if (names.some((name) => EXITS.includes(name)) && from.part !== "main")
      return "ends the process: only src/main.ts may";
  }
  return null;
}

function relativeProblem(path: string, specifier: string): string | null {
  const from = partOf(path);
  const target = posix.join(posix.dirname(path), specifier);
  if (target.startsWith("../")) {
    const ownFile = from.part === "version" && target === "../package.json";
    return ownFile ? null : `imports ${specifier} from outside of src`;
  }
  if (!/\.(?:ts|json|lua|html|css|svg)$/.test(target)) return `imports ${specifier} without its ending`;
  if (COMPOSITION_ROOT.includes(from.part)) return null;
  const to = partOf(target);
  if (COMPOSITION_ROOT.includes(to.part))
    return from.part === to.part ? null : `imports ${specifier}: the composition root`;
  if (from.part === to.part) {
    return from.folder === to.folder || !SEAMS.includes(from.part)
      ? null
      : `imports its sibling ${specifier}`;
  }
  const known = MAY_IMPORT[from.part];
  // A part without a rule is told as such, once.
  if (known === undefined || known.includes(to.part)) return null;
  return `imports ${specifier}: ${from.part} may not know ${to.part}`;
}

const EXITS = ["exit", "abort", "reallyExit", "kill"];
const RUNTIME = /(?<![\w$])(?:Bun|Deno)\b/;
const ENVIRONMENT =
  /\bprocess\s*(?:\?\s*)?\.\s*env\b|\bimport\s*\.\s*meta\s*\.\s*env\b|\{[^{}]*\benv\b[^{}]*\}\s*=\s*(?:globalThis\s*\.\s*)?process\b/;
const EXIT =
  /\bprocess\s*(?:\?\s*)?\.\s*(?:exit|abort|reallyExit|kill)\b|\{[^{}]*\bexit\b[^{}]*\}\s*=\s*(?:globalThis\s*\.\s*)?process\b/;
/** `process["…"]`: what it takes cannot be told from the code without its strings. */
const COMPUTED = /\bprocess\s*(?:\?\s*\.\s*)?\[/;

function usageProblems(part: string, code: string): string[] {
  const problems: string[] = [];
  if (part !== "runtime" && RUNTIME.test(code)) problems.push("names Bun or Deno: only src/runtime.ts may");
  if (part !== "config" && ENVIRONMENT.test(code))
    problems.push("reads the environment: only src/config may");
  if (part !== "main" && EXIT.test(code)) problems.push("ends the process: only src/main.ts may");
  if (COMPUTED.test(code)) problems.push("takes something from process by a computed name");
  return problems;
}

/** `store/sqlite/codec.ts` is of part `store`, folder `sqlite`; `config.ts` is of part `config`. */
function partOf(path: string): { readonly part: string; readonly folder: string } {
  const [first = "", second, third] = path.split("/");
  return {
    part: first.replace(/\.\w+$/, ""),
    folder: third === undefined || second === undefined ? "" : second,
  };
}
