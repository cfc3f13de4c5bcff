/** The forms that STORE_URL and Redis addresses may have, checked before anything is opened, and what of them may be shown. */

/** What is allowed, in words. */
export const STORE_URL_FORMS =
  "sqlite:PATH, sqlite::memory:, redis://[user:password@]host:port/db, or redis+sentinel://[user:password@]host:port,host:port/master-name; rediss for redis means TLS";

/** Where a valid STORE_URL leads. */
export type StoreKind = "sqlite" | "redis" | "redis+sentinel";

const SQLITE_PREFIX = "sqlite:";
const HIGHEST_PORT = 65_535;
const HIGHEST_DB = 65_535;
const REDIS_URL = /^rediss?(\+sentinel)?:\/\/(?:(.*)@)?([^/?#@]*)(?:\/([^?#]*))?$/i;

export function isStoreUrl(text: string): boolean {
  if (text.startsWith(SQLITE_PREFIX)) {
    // Two slashes and a name would read as a host in any other URL; here they would name a directory at the root.
    return /^sqlite:(?!\/\/[^/]).+$/.test(text);
  }
  const match = REDIS_URL.exec(text);
  if (match === null) return false;
  const [, sentinel, login = "", hosts = "", path = ""] = match;
  if (login !== "" && !(/^[^:]*:./.test(login) && decodes(login))) return false;
  if (sentinel === undefined) return isAddress(hosts) && isDb(path);
  const [masterName = "", db = "", ...rest] = path.split("/");
  return isAddressList(hosts) && masterName !== "" && decodes(masterName) && isDb(db) && rest.length === 0;
}

/** `host`, `host:port` or `[IPv6]:port`. */
export function isAddress(text: string): boolean {
  const match = /^(?:\[[0-9a-f:.]+(?:%[\w.-]+)?\]|[\w.-]+)(?::(\d{1,5}))?$/i.exec(text.trim());
  if (match === null) return false;
  const port = match[1] === undefined ? 1 : Number(match[1]);
  return port >= 1 && port <= HIGHEST_PORT;
}

/** One or more of them, with commas between. */
export function isAddressList(text: string): boolean {
  return text.split(",").every(isAddress);
}

/** Of a valid STORE_URL. */
export function storeKindOf(url: string): StoreKind {
  if (url.startsWith(SQLITE_PREFIX)) return "sqlite";
  return REDIS_URL.exec(url)?.[1] === undefined ? "redis" : "redis+sentinel";
}

/** The file, or `:memory:`, of a valid STORE_URL of the embedded store. */
export function sqlitePathOf(url: string): string {
  return url.slice(SQLITE_PREFIX.length);
}

export function holdsPassword(url: string): boolean {
  return (REDIS_URL.exec(url)?.[2] ?? "") !== "";
}

/** A valid STORE_URL without the user and the password that it may hold. */
export function withoutLogin(url: string): string {
  return url.replace(/^(rediss?(?:\+sentinel)?:\/\/).*@/i, "$1(hidden)@");
}

function isDb(text: string): boolean {
  return /^\d*$/.test(text) && Number(text) <= HIGHEST_DB;
}

function decodes(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    return false;
  }
}
