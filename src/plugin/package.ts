/** Finds the module that a package begins with, alike on every runtime and in the compiled program, which all look differently. */

import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";

/** `name` or `@scope/name`. */
const PACKAGE_NAME = /^(?:@[a-z0-9~-][\w.~-]*\/)?[a-z0-9~-][\w.~-]*$/i;
/** In the order of their standing. */
const CONDITIONS = ["bun", "import", "module", "default"];
/** Conditions may stand in conditions; deeper than this nobody writes them. */
const MAX_DEPTH = 5;

/** The file that the package begins with, looked for in node_modules of a folder and those above it; null when there is none. */
export function packageEntry(name: string, folder: string): string | null {
  if (!PACKAGE_NAME.test(name)) return null;
  for (let at = folder; ; at = dirname(at)) {
    const place = join(at, "node_modules", name);
    const description = readDescription(place);
    if (description !== null) return join(place, entryIn(description));
    if (dirname(at) === at) return null;
  }
}

function readDescription(place: string): Record<string, unknown> | null {
  try {
    const description: unknown = JSON.parse(readFileSync(join(place, "package.json"), "utf8"));
    return typeof description === "object" ? (description as Record<string, unknown> | null) : null;
  } catch {
    return null;
  }
}

/** What `exports` says of the package itself, else `main`, else index.js (https://nodejs.org/api/packages.html). */
function entryIn({ exports, main }: Record<string, unknown>): string {
  const whole = typeof exports === "object" && exports !== null && "." in exports ? exports["."] : exports;
  return chosen(whole, 0) ?? (typeof main === "string" ? main : "index.js");
}

function chosen(target: unknown, depth: number): string | null {
  if (typeof target === "string") return target;
  if (typeof target !== "object" || target === null || depth > MAX_DEPTH) return null;
  const byCondition = target as Record<string, unknown>;
  for (const condition of CONDITIONS) {
    const found = chosen(byCondition[condition], depth + 1);
    if (found !== null) return found;
  }
  return null;
}
