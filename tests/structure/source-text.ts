/** Reads TypeScript as text: what a file imports and what its code says, apart from comments and strings. */

export interface SourceText {
  /** The code with comments blanked and each string replaced by `"n"`, its index in `strings`. */
  readonly code: string;
  readonly strings: readonly string[];
}

export interface Import {
  /** The specifier; null for an import whose specifier is computed. */
  readonly specifier: string | null;
  /** The names taken from it by name, e.g. `env` of `import { env as e } from "node:process"`. */
  readonly names: readonly string[];
}

const MARK = "\u0001";
/** After one of these words or characters a slash begins a regular expression, elsewhere it divides. */
const BEFORE_REGEX =
  /(?:^|[(,=:[!&|?{};+\-*%<>~^}]|\b(?:return|typeof|case|in|of|do|else|void|delete|await|yield))\s*$/;
const WORST_LOOK_BACK = 20;

/** Takes comments and strings out of a source, so that neither can hide nor fake what the code does. */
export function readSource(source: string): SourceText {
  const strings: string[] = [];
  let code = "";
  /** Depth of braces inside each `${` that is open. */
  const templates: number[] = [];
  let at = 0;

  const keep = (text: string) => {
    code += `"${MARK}${strings.push(text) - 1}${MARK}"`;
  };
  const quoted = (end: string) => {
    let text = "";
    for (at++; at < source.length && source[at] !== end && source[at] !== "\n"; at++) {
      if (source[at] === "\\") at++;
      text += source[at] ?? "";
    }
    at++;
    keep(text);
  };
  const template = () => {
    let text = "";
    for (at++; at < source.length; at++) {
      if (source[at] === "`") {
        at++;
        return keep(text);
      }
      if (source.startsWith("${", at)) {
        at += 2;
        templates.push(0);
        keep(text);
        code += "+(";
        return;
      }
      if (source[at] === "\\") at++;
      text += source[at] ?? "";
    }
  };
  const regex = () => {
    let inClass = false;
    for (at++; at < source.length && source[at] !== "\n"; at++) {
      if (source[at] === "\\") at++;
      else if (source[at] === "[") inClass = true;
      else if (source[at] === "]") inClass = false;
      else if (source[at] === "/" && !inClass) break;
    }
    at++;
    code += "0";
  };

  while (at < source.length) {
    const char = source[at] ?? "";
    if (source.startsWith("//", at)) {
      const end = source.indexOf("\n", at);
      at = end === -1 ? source.length : end;
    } else if (source.startsWith("/*", at)) {
      const end = source.indexOf("*/", at + 2);
      at = end === -1 ? source.length : end + 2;
      code += " ";
    } else if (char === '"' || char === "'") quoted(char);
    else if (char === "`") template();
    else if (char === "/" && BEFORE_REGEX.test(code.slice(-WORST_LOOK_BACK))) regex();
    else if (char === "}" && templates.at(-1) === 0) {
      // The end of a `${…}`: what follows is text again.
      templates.pop();
      code += ")+";
      template();
    } else {
      const depth = templates.at(-1);
      if (depth !== undefined && char === "{") templates[templates.length - 1] = depth + 1;
      if (depth !== undefined && char === "}") templates[templates.length - 1] = depth - 1;
      code += char;
      at++;
    }
  }
  return { code, strings };
}

const STRING = `"${MARK}(\\d+)${MARK}"`;
/** `import x, { a } from "…"`, `export * from "…"`, with or without `type`. */
const FROM = new RegExp(`\\b(?:import|export)\\b([^;"'()=]*?)\\bfrom\\s*${STRING}`, "g");
const BARE = new RegExp(`\\bimport\\s*${STRING}`, "g");
/** `import("…")`, in code or in a type, `require("…")` and `import x = require("…")`. */
const CALL = new RegExp(`(?<![.\\w$])(?:import|require)\\s*\\(\\s*(?:${STRING}\\s*[,)])?`, "g");

/** Every import of a source, static, dynamic, of values and of types. */
export function importsOf({ code, strings }: SourceText): Import[] {
  const text = (index: string | undefined) => (index === undefined ? null : (strings[Number(index)] ?? null));
  const found: Import[] = [];
  for (const [, clause = "", index] of code.matchAll(FROM))
    found.push({ specifier: text(index), names: namesOf(clause) });
  for (const [, index] of code.matchAll(BARE)) found.push({ specifier: text(index), names: [] });
  for (const [, index] of code.matchAll(CALL)) found.push({ specifier: text(index), names: [] });
  return found;
}

function namesOf(clause: string): string[] {
  const inBraces = /\{([^}]*)\}/.exec(clause)?.[1] ?? "";
  return inBraces
    .split(",")
    .map(
      (part) =>
        part
          .trim()
          .replace(/^type\s+/, "")
          .split(/\s+as\s+/)[0] ?? "",
    )
    .filter((name) => name !== "");
}
