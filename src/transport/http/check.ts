/** What is wrong with an HTTP target, as far as can be told when a task is accepted. */

import type { Target } from "../../core/task.ts";
import type { TargetProblem } from "../../core/transport.ts";
import type { Guard } from "./guard.ts";

/** The methods a task may use. Others would not arrive as written: Bun's fetch turns those it does not know into GET. */
const METHODS: ReadonlySet<string> = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]);
const BODILESS: ReadonlySet<string> = new Set(["GET", "HEAD"]);
/** RFC 9110, section 5.6.2. */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
/** RFC 9110, section 5.5: visible characters, blanks, tabs and what Latin-1 adds; never CR, LF or NUL. */
const FIELD_VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;
/** `new URL` silently drops these, so a URL holding one is not the URL that would be called. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
const BLANK_OR_CONTROL = /[\x00-\x20\x7f]/;

/** A URL that can be called, or why it cannot. */
export type ParsedUrl =
  | { readonly kind: "url"; readonly url: URL }
  | { readonly kind: "problem"; readonly problem: TargetProblem };

/** Reads a target's URL: absolute, http or https, without credentials. Its text is never echoed. */
export function parseTargetUrl(text: string): ParsedUrl {
  const url = BLANK_OR_CONTROL.test(text) ? null : URL.parse(text);
  if (url === null) return problem("must be an absolute URL such as https://example.com/path", false);
  if (url.protocol !== "http:" && url.protocol !== "https:") {
    return problem("must begin with http:// or https://", true);
  }
  if (url.username !== "" || url.password !== "") {
    return problem("must not hold a user name or password; send an Authorization header instead", true);
  }
  return url.port === "0" ? problem("must not name port 0", false) : { kind: "url", url };
}

function problem(message: string, forbidden: boolean): ParsedUrl {
  return { kind: "problem", problem: { path: "task.url", message, forbidden } };
}

/** Why a method, with or without a body, cannot be sent as written; null when it can. */
export function methodProblem(target: Target): TargetProblem | null {
  if (!METHODS.has(target.method)) {
    return { path: "task.method", message: `must be one of ${[...METHODS].join(", ")}`, forbidden: false };
  }
  if (target.body !== null && BODILESS.has(target.method)) {
    return { path: "task.body", message: `a ${target.method} request has no body`, forbidden: false };
  }
  return null;
}

/**
 * Every problem of a target; without a guard, those of its form alone. Names are not resolved here: that is the
 * delivery's business, at every attempt.
 */
export function checkTarget(target: Target, guard: Guard | null): readonly TargetProblem[] {
  const problems: TargetProblem[] = [];
  const parsed = parseTargetUrl(target.url);
  if (parsed.kind === "problem") problems.push(parsed.problem);
  else {
    const forbidden = guard?.forbidsHost(parsed.url.hostname) ?? null;
    if (forbidden !== null) {
      problems.push({ path: "task.url", message: `${forbidden}, which is not allowed`, forbidden: true });
    }
  }
  const wrongMethod = methodProblem(target);
  if (wrongMethod !== null) problems.push(wrongMethod);
  for (const [name, value] of Object.entries(target.headers)) {
    if (!TOKEN.test(name)) {
      problems.push({ path: "task.headers", message: "a header's name is not a token", forbidden: false });
    } else if (!FIELD_VALUE.test(value)) {
      const message = "must hold no line break, control character or character beyond Latin-1";
      problems.push({ path: `task.headers.${name}`, message, forbidden: false });
    }
  }
  return problems;
}
