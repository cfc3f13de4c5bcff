/** Why an attempt failed, as one word of few: for labels and span attributes, where free text would have no bound. */

/** What is known of a failure, as attempts and outcomes keep it. */
export interface Failure {
  readonly status: number | null;
  readonly error: string | null;
}

/** All of them; `ok` for none. */
export const CAUSES = [
  "ok",
  "timeout",
  "status_3xx",
  "status_4xx",
  "status_429",
  "status_5xx",
  "connection",
  "dns",
  "tls",
  "forbidden",
  "crashes",
  "other",
] as const;
export type Cause = (typeof CAUSES)[number];

/** The words by which transports and workers begin, or go on, when they tell of a failure without an answer. */
const BY_WORDS: readonly (readonly [RegExp, Cause])[] = [
  [/^(?:timed out|no outcome within)/, "timeout"],
  [/^(?:connection|connecting|host cannot|network cannot|no connection|the egress proxy)/, "connection"],
  [/^name does not resolve/, "dns"],
  [/^TLS /, "tls"],
  [/not allowed|forbidden/, "forbidden"],
];

/** Null stands for a task that died without an attempt: its workers did. */
export function causeOf(failure: Failure | null): Cause {
  if (failure === null) return "crashes";
  const { status, error } = failure;
  if (error === null) return "ok";
  // A head that came says nothing of a body that did not.
  if (error.startsWith("timed out")) return "timeout";
  if (status !== null) return causeOfStatus(status);
  for (const [words, cause] of BY_WORDS) if (words.test(error)) return cause;
  return "other";
}

function causeOfStatus(status: number): Cause {
  if (status === 429) return "status_429";
  if (status >= 500) return "status_5xx";
  if (status >= 400) return "status_4xx";
  if (status >= 300) return "status_3xx";
  return "other";
}
