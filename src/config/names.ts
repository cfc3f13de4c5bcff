/** Names that are no settings: those that a setting was meant by are pointed out. */

import { SETTING_NAMES, settingOf } from "./schema.ts";

const SECRET_FILE_NAMES = SETTING_NAMES.filter((name) => settingOf(name).secret).map(
  (name) => `${name}_FILE`,
);
const ALIASES = SETTING_NAMES.flatMap((name) => settingOf(name).alias ?? []);
const KNOWN: ReadonlySet<string> = new Set([...SETTING_NAMES, ...SECRET_FILE_NAMES, ...ALIASES]);

/** Whether a name that begins so is Task Runner's own; a plugin may not have such a prefix. */
export function isOwnPrefix(prefix: string): boolean {
  return (
    PREFIX.startsWith(prefix) ||
    prefix.startsWith(PREFIX) ||
    [...KNOWN].some((name) => name.startsWith(prefix))
  );
}

/** Shorter names resemble too many words of other programs to guess at. */
const SHORTEST_GUESSED = 6;
/** From this length on, two slips are still recognised; below, one. */
const TWO_SLIPS_FROM = 12;
const PREFIX = "TASK_RUNNER_";

/** Looks through the names that are set, and warns of those that do nothing. */
export function judgeNames(names: Iterable<string>, textOf: (name: string) => string): readonly string[] {
  const warnings: string[] = [];
  for (const name of names) {
    if (KNOWN.has(name)) continue;
    const meant = guess(name, textOf(name));
    if (meant !== null) warnings.push(`${name} is not a setting and has no effect: did you mean ${meant}?`);
  }
  return warnings;
}

function guess(name: string, value: string): string | null {
  if (name.startsWith(PREFIX)) {
    // Kubernetes describes a service named task-runner by TASK_RUNNER_PORT=tcp://…, which nobody misspelt.
    const bare = name.slice(PREFIX.length);
    return KNOWN.has(bare) && !value.startsWith("tcp://") ? bare : null;
  }
  if (name.length < SHORTEST_GUESSED) return null;
  const upper = name.toUpperCase();
  for (const known of KNOWN) {
    if (known.length < SHORTEST_GUESSED) continue;
    if (slips(upper, known) <= (known.length < TWO_SLIPS_FROM ? 1 : 2)) return known;
  }
  return null;
}

/**
 * The number of letters added, dropped, changed or swapped with their neighbour that lead from one word to
 * another: the optimal string alignment distance (https://en.wikipedia.org/wiki/Damerau-Levenshtein_distance).
 */
export function slips(a: string, b: string): number {
  // More than two slips are never asked about, and each difference in length is one.
  if (Math.abs(a.length - b.length) > 2) return Math.abs(a.length - b.length);
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let best = Math.min((last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (last[j - 1] ?? 0) + (same ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        best = Math.min(best, (beforeLast[j - 2] ?? 0) + 1);
      }
      row.push(best);
    }
    beforeLast = last;
    last = row;
  }
  return last[b.length] ?? 0;
}
