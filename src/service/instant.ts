/** Reads the times that callers give: RFC 3339 text or seconds since 1970, the same on every engine. */

const RFC_3339 =
  /^(\d{4})-(\d{2})-(\d{2})[Tt ](\d{2}):(\d{2}):(\d{2})(?:\.(\d{1,9}))?(?:[Zz]|([+-])(\d{2}):(\d{2}))$/;

/**
 * Milliseconds since the epoch, or null when `given` is no time. What is finer than a millisecond is cut
 * off. `Date.parse` is not used: engines differ in what they let through beyond the standard.
 */
export function parseInstantMs(given: string | number): number | null {
  if (typeof given === "number") return Number.isFinite(given) ? Math.round(given * 1_000) : null;
  const parts = RFC_3339.exec(given);
  if (parts === null) return null;
  const [, year, month, day, hour, minute, second, fraction, sign, offsetHour, offsetMinute] = parts;
  if (Number(hour) > 23 || Number(minute) > 59 || Number(second) > 59) return null;
  if (Number(offsetHour ?? 0) > 23 || Number(offsetMinute ?? 0) > 59) return null;
  const local = new Date(0);
  local.setUTCFullYear(Number(year), Number(month) - 1, Number(day));
  // A day that the month does not have would roll over into the next one.
  if (local.getUTCMonth() !== Number(month) - 1 || local.getUTCDate() !== Number(day)) return null;
  local.setUTCHours(Number(hour), Number(minute), Number(second), milliseconds(fraction));
  const offsetMs = (Number(offsetHour ?? 0) * 60 + Number(offsetMinute ?? 0)) * 60_000;
  return local.getTime() - (sign === "-" ? -offsetMs : offsetMs);
}

function milliseconds(fraction: string | undefined): number {
  return fraction === undefined ? 0 : Number(fraction.slice(0, 3).padEnd(3, "0"));
}
