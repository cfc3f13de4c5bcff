/** What users write on the command line, turned into what the API takes. */

import { readFileSync } from "node:fs";
import { InvalidArgumentError } from "commander";
import { messageOf } from "../core/errors.ts";
import { CommandFailure, EXIT } from "./host.ts";

const UNIT_SEC: Readonly<Record<string, number>> = { "": 1, s: 1, m: 60, h: 3_600, d: 86_400 };

/** Seconds from `90`, `1.5`, `30s`, `5m`, `2h`, `1d` or several of them (`1h30m`). */
export function durationSec(text: string): number {
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text);
  if (!/^(\d+(\.\d+)?[smhd])+$/.test(text)) {
    throw new InvalidArgumentError("Allowed are seconds, or a time such as 30s, 5m, 2h, 1d or 1h30m.");
  }
  let totalSec = 0;
  for (const [, amount = "", unit = ""] of text.matchAll(/(\d+(?:\.\d+)?)([smhd])/g)) {
    totalSec += Number(amount) * (UNIT_SEC[unit] ?? 0);
  }
  return totalSec;
}

/** A time as the API takes it: RFC 3339 as it is, seconds since 1970 as a number. */
export function instant(text: string): string | number {
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text);
  if (Number.isNaN(Date.parse(text))) {
    throw new InvalidArgumentError("Allowed is a time such as 2030-01-31T08:00:00Z, or seconds since 1970.");
  }
  return text;
}

/** Adds a `Name: value` to the headers given before it. */
export function header(text: string, before: Record<string, string> = {}): Record<string, string> {
  const colon = text.indexOf(":");
  const name = text.slice(0, Math.max(colon, 0)).trim();
  if (name === "") throw new InvalidArgumentError('Allowed is "Name: value".');
  return { ...before, [name]: text.slice(colon + 1).trim() };
}

/** A whole number between two bounds, both included. */
export function wholeNumber(minimum: number, maximum: number): (text: string) => number {
  return (text) => {
    const number = /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (!(number >= minimum && number <= maximum)) {
      throw new InvalidArgumentError(`Allowed is a whole number from ${minimum} to ${maximum}.`);
    }
    return number;
  };
}

/** A number of at least nought. */
export function amount(text: string): number {
  if (!/^\d+(\.\d+)?$/.test(text)) throw new InvalidArgumentError("Allowed is a number of at least 0.");
  return Number(text);
}

/** The word that takes something away; null in the API, which the parser of options has no room for. */
export const NONE = "none";

/** What `parse` makes of a value, and {@link NONE} as it is. */
export function orNone<T>(parse: (text: string) => T): (text: string) => T | typeof NONE {
  return (text) => {
    if (text === NONE) return NONE;
    try {
      return parse(text);
    } catch (error) {
      if (!(error instanceof InvalidArgumentError)) throw error;
      throw new InvalidArgumentError(`${error.message} Or ${NONE}.`);
    }
  };
}

/** The fields with null in the place of {@link NONE}. */
export function noneAsNull(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [name, value === NONE ? null : value]),
  );
}

/** Adds a value to those given before it. */
export function another(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, text];
}

/** The fields that were given: those left out are not sent. */
export function given(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

/** An http or https URL to build paths on, without a slash at its end. */
export function baseUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || !/^https?:$/.test(url.protocol)) {
    throw new InvalidArgumentError("Allowed is an http or https URL, e.g. http://127.0.0.1:8080.");
  }
  return text.replace(/\/+$/, "");
}

/**
 * The bytes of --data: the text itself, the file after an @, or standard input for `@-`.
 * Ends the command with exit status 2 when the file cannot be read.
 */
export async function dataBytes(text: string, readStdin: () => Promise<Uint8Array>): Promise<Uint8Array> {
  if (!text.startsWith("@")) return new TextEncoder().encode(text);
  if (text === "@-") return readStdin();
  try {
    return readFileSync(text.slice(1));
  } catch (error) {
    throw new CommandFailure(
      EXIT.usage,
      `error: --data names a file that cannot be read: ${messageOf(error)}`,
    );
  }
}

/** A body as the API takes it. */
export interface BodyFields {
  readonly body?: string;
  readonly body_base64?: string;
}

/** Text where the bytes are UTF-8, base64 otherwise. */
export function bodyFields(bytes: Uint8Array): BodyFields {
  try {
    return { body: new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes) };
  } catch {
    return { body_base64: Buffer.from(bytes).toString("base64") };
  }
}

/** Whether the bytes are a JSON object or array, which is then sent as application/json unless told otherwise. */
export function looksLikeJson(text: string): boolean {
  if (!/^\s*[[{]/.test(text)) return false;
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
