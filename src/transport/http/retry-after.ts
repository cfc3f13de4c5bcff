/** Reads the Retry-After header, by which a target says when to come back (RFC 9110, section 10.2.3). */

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
/** Longer is no wish but nonsense; it also keeps the number a whole one. */
const MAX_RETRY_AFTER_MS = 366 * 86_400_000;

/** The three forms of an HTTP date (RFC 9110, section 5.6.7), each with the same named parts. */
const HTTP_DATES = [
  /^[A-Z][a-z]{2}, (?<day>\d{2}) (?<month>[A-Z][a-z]{2}) (?<year>\d{4}) (?<time>\d{2}:\d{2}:\d{2}) GMT$/,
  /^[A-Z][a-z]{5,8}, (?<day>\d{2})-(?<month>[A-Z][a-z]{2})-(?<year>\d{2}) (?<time>\d{2}:\d{2}:\d{2}) GMT$/,
  /^[A-Z][a-z]{2} (?<month>[A-Z][a-z]{2}) (?<day>[ \d]\d) (?<time>\d{2}:\d{2}:\d{2}) (?<year>\d{4})$/,
];

/** How long to wait in milliseconds, never negative; null when the header is missing or cannot be read. */
export function retryAfterMs(header: string | null, nowMs: number): number | null {
  const text = header?.trim() ?? "";
  const waitMs = /^\d+$/.test(text) ? Number(text) * 1_000 : httpDateMs(text, nowMs) - nowMs;
  return Number.isNaN(waitMs) ? null : Math.min(Math.max(waitMs, 0), MAX_RETRY_AFTER_MS);
}

/** Milliseconds since the epoch; NaN where the text is no HTTP date. */
function httpDateMs(text: string, nowMs: number): number {
  for (const form of HTTP_DATES) {
    const parts = form.exec(text)?.groups;
    if (parts === undefined) continue;
    const month = MONTHS.indexOf(parts.month ?? "");
    const [hour, minute, second] = (parts.time ?? "").split(":").map(Number);
    if (month < 0) return Number.NaN;
    return Date.UTC(fullYear(parts.year ?? "", nowMs), month, Number(parts.day), hour, minute, second);
  }
  return Number.NaN;
}

/** A two-digit year that seems more than 50 years ahead is the latest past one with those digits. */
function fullYear(digits: string, nowMs: number): number {
  const year = Number(digits);
  if (digits.length === 4) return year;
  const thisYear = new Date(nowMs).getUTCFullYear();
  const inThisCentury = thisYear - (thisYear % 100) + year;
  return inThisCentury > thisYear + 50 ? inThisCentury - 100 : inThisCentury;
}
