/** Where a Redis is and how to log in to it, read from a URL or from host:port; passwords never come back out in an error. */

/** A host and a port; a bare IPv6 address as host, without brackets. */
export interface HostPort {
  readonly host: string;
  readonly port: number;
}

interface Login {
  /** Of an ACL user; the default user when left out. */
  readonly username?: string;
  /** Wanted before connecting where there is a username. */
  readonly password?: string;
  /** Number of the logical database. */
  readonly db: number;
  readonly tls: boolean;
}

export interface StandaloneEndpoint extends HostPort, Login {
  readonly kind: "standalone";
}

export interface SentinelEndpoint extends Login {
  readonly kind: "sentinel";
  /** At least one; a single one may stand for several behind a load balancer. */
  readonly sentinels: readonly HostPort[];
  readonly masterName: string;
  readonly sentinelPassword?: string;
}

export type RedisEndpoint = StandaloneEndpoint | SentinelEndpoint;

export const REDIS_PORT = 6_379;
export const SENTINEL_PORT = 26_379;

const HIGHEST_DB = 65_535;
const SCHEMES = {
  "redis:": { kind: "standalone", tls: false },
  "rediss:": { kind: "standalone", tls: true },
  "redis+sentinel:": { kind: "sentinel", tls: false },
  "rediss+sentinel:": { kind: "sentinel", tls: true },
} as const;
const FORMS =
  "redis://[[user][:password]@]host:port/db, rediss://… with TLS, or redis+sentinel://[[user][:password]@]host:port,host:port/master-name[/db]";

/**
 * Reads `redis://`, `rediss://`, `redis+sentinel://` and `rediss+sentinel://` URLs. Under Sentinel the path is
 * the master's name and the login is that of the data servers. User and password, which end at the last `@`,
 * are percent-decoded; a user may stand alone, for whoever has the password elsewhere. A port left out is 6379,
 * a Sentinel's 26379; a database left out is 0. Throws an Error of one line that says what is wrong and never
 * repeats the login.
 */
export function parseRedisUrl(url: string): RedisEndpoint {
  const match = /^([a-z+]+:)\/\/(?:(.*)@)?([^/?#@]*)(?:\/([^?#]*))?$/i.exec(url);
  const scheme = SCHEMES[match?.[1]?.toLowerCase() as keyof typeof SCHEMES];
  if (match === null || scheme === undefined) throw new Error(`not a Redis URL; allowed: ${FORMS}`);
  const [, , login, hosts = "", path = ""] = match;
  const { kind, tls } = scheme;
  const credentials = parseLogin(login);
  if (kind === "standalone") {
    return { kind, ...parseAddress(hosts, REDIS_PORT), ...credentials, db: parseDb(path), tls };
  }
  const [masterName = "", db = "", ...rest] = path.split("/");
  if (masterName === "" || rest.length > 0) {
    throw new Error("the path of a redis+sentinel URL must be the master's name, e.g. /mymaster");
  }
  const sentinels = parseAddresses(hosts, SENTINEL_PORT);
  return { kind, sentinels, masterName: decoded(masterName), ...credentials, db: parseDb(db), tls };
}

/** Reads `host:port, host:port …`; at least one. Throws an Error of one line. */
export function parseAddresses(text: string, defaultPort: number): HostPort[] {
  return text.split(",").map((each) => parseAddress(each, defaultPort));
}

/**
 * Reads `host`, `host:port`, `1.2.3.4:port` or `[IPv6]:port`. Throws an Error of one line that repeats what
 * was given, unless it holds an `@` and so perhaps a password.
 */
export function parseAddress(text: string, defaultPort: number): HostPort {
  const trimmed = text.trim();
  const match = /^(?:\[([0-9a-f:.]+(?:%[\w.-]+)?)\]|([\w.-]+))(?::(\d{1,5}))?$/i.exec(trimmed);
  const host = match?.[1] ?? match?.[2];
  const port = match?.[3] === undefined ? defaultPort : Number(match[3]);
  if (host === undefined || port < 1 || port > 65_535) {
    const shown = trimmed.includes("@") ? "the address" : `"${trimmed}"`;
    throw new Error(`${shown} is not host:port (an IPv6 address goes in brackets, the port is 1 to 65535)`);
  }
  return { host, port };
}

/** As it is written: `host:port`, IPv6 in brackets. */
export function addressText({ host, port }: HostPort): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** For logs and messages; holds no secret. */
export function endpointText(endpoint: RedisEndpoint): string {
  return endpoint.kind === "standalone"
    ? `Redis at ${addressText(endpoint)}`
    : `Redis master ${endpoint.masterName} of Sentinel at ${endpoint.sentinels.map(addressText).join(", ")}`;
}

function parseLogin(login: string | undefined): { username?: string; password?: string } {
  if (login === undefined || login === "") return {};
  const colon = login.indexOf(":");
  if (colon < 0) return { username: decoded(login) };
  const username = decoded(login.slice(0, colon));
  const password = decoded(login.slice(colon + 1));
  if (password === "") throw new Error("a Redis URL needs a password after the colon that announces one");
  return { ...(username === "" ? {} : { username }), password };
}

function parseDb(text: string): number {
  if (text === "") return 0;
  const db = Number(text);
  if (!/^\d+$/.test(text) || db > HIGHEST_DB) {
    throw new Error("the database of a Redis URL must be a whole number, e.g. /0");
  }
  return db;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new Error("a Redis URL holds a % that encodes nothing; write % itself as %25");
  }
}
