/** Logging: one JSON object a line on stdout, with whatever is named like a secret blanked out. */

import { pino } from "pino";

export type Logger = pino.Logger;
export type LogLevel = "debug" | "info" | "warn" | "error";

export interface LoggerOptions {
  readonly level: LogLevel;
  /** Which part of the product speaks: serve, work or all. */
  readonly role: string;
  /** Where lines go; stdout unless told. */
  readonly destination?: pino.DestinationStream;
}

/**
 * Names whose values are never written, whatever their case and however deep in a line they are:
 * `adminKey`, `api_key`, `X-Admin-Key`, `clientSecret`, `REDIS_PASSWORD`, `Authorization`, `set-cookie` …
 * Keys that open nothing (`ordering_key`, `idempotencyKey`) do not match.
 */
const SECRET_NAME =
  /(?:(?:api|admin|access|private|secrets?|signing|client)[-_]?keys?|secrets?|password|passwd|passphrase|authorization|cookie|credentials?|(?:^|[-_]|access|auth|bearer|session|refresh)token)$/i;
const CENSOR = "[hidden]";
/** Deeper than any line we write; what lies below is dropped, so that a cycle cannot hold up a line. */
const MAX_DEPTH = 6;
/** What a child logger is bound to does not pass through our formatter, so pino itself is told these names. */
const BOUND_SECRETS = [
  "adminKey",
  "adminApiKey",
  "ADMIN_API_KEY",
  "apiKey",
  "authorization",
  "password",
  "secret",
  "secretsKey",
  "SECRETS_KEY",
  "signingSecrets",
  "token",
];

/** Writes synchronously: worker threads, which pino's transports need, do not start in a compiled binary. */
export function createLogger({ level, role, destination }: LoggerOptions): Logger {
  return pino(
    {
      level,
      base: { service: "task-runner", role },
      redact: { paths: BOUND_SECRETS, censor: CENSOR },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: {
        level: (label) => ({ level: label }),
        bindings: (bindings) => censored(bindings, 0),
        log: (line) => censored(line, 0),
      },
    },
    destination ?? pino.destination({ fd: 1, sync: true }),
  );
}

function censored(values: Record<string, unknown>, depth: number): Record<string, unknown> {
  const shown: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(values)) {
    shown[name] =
      SECRET_NAME.test(name) && value !== null && value !== undefined
        ? CENSOR
        : censoredValue(value, depth + 1);
  }
  return shown;
}

function censoredValue(value: unknown, depth: number): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (depth > MAX_DEPTH) return "[deeper]";
  if (Array.isArray(value)) return value.map((item) => censoredValue(item, depth + 1));
  // Errors and the like have their own way of being written.
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) return value;
  return censored(value as Record<string, unknown>, depth);
}
