/** What STORE_URL may be. The embedded store's form is known here, those of Redis only to whoever hands in their grammar. */

/** What is allowed, in words. */
export const STORE_URL_FORMS =
  "sqlite:PATH, sqlite::memory:, redis://[[user][:password]@]host:port/db, or redis+sentinel://[[user][:password]@]host:port,host:port/master-name; rediss for redis means TLS";

/** What a Redis URL says, as far as other settings depend on it. */
export interface RedisPlace {
  readonly kind: "standalone" | "sentinel";
  readonly username?: string;
  readonly password?: string;
}

/** Reads what is written of a Redis, which the store on Redis knows to do; each throws when it cannot. */
export interface RedisGrammar {
  readonly url: (text: string) => RedisPlace;
  /** Of a server: `host:port`. */
  readonly address: (text: string) => unknown;
  /** Of Sentinels: one or more, with commas between. */
  readonly addresses: (text: string) => unknown;
}

const SQLITE_PREFIX = "sqlite:";

export function isStoreUrl(text: string, redis: RedisGrammar): boolean {
  // Two slashes and a name would read as a host in any other URL; here they would name a directory at the root.
  return isEmbedded(text) ? /^sqlite:(?!\/\/[^/]).+$/.test(text) : reads(redis.url, text);
}

/** Whether a reader takes the text. */
export function reads(reader: (text: string) => unknown, text: string): boolean {
  try {
    reader(text);
    return true;
  } catch {
    return false;
  }
}

/** Whether a valid STORE_URL is that of the embedded store. */
export function isEmbedded(url: string): boolean {
  return url.startsWith(SQLITE_PREFIX);
}

/** The Redis of a valid STORE_URL; null for the embedded store. */
export function redisPlaceOf(url: string, redis: RedisGrammar): RedisPlace | null {
  return isEmbedded(url) ? null : redis.url(url);
}

/** The file, or `:memory:`, of a valid STORE_URL of the embedded store. */
export function sqlitePathOf(url: string): string {
  return url.slice(SQLITE_PREFIX.length);
}

/** A valid STORE_URL without the user and the password that it may hold. */
export function withoutLogin(url: string): string {
  return isEmbedded(url) ? url : url.replace(/^([a-z+]+:\/\/).*@/i, "$1(hidden)@");
}
