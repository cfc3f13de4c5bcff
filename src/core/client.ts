/** Who hands tasks in, and how much of the runner each of them may use. */

/** Limits that clients share by name. Null stands for no limit. */
export interface Tier {
  /** Tasks accepted within any sixty seconds. */
  readonly requestsPerMinute: number | null;
  /** Tasks running at once, over all queues and workers. */
  readonly maxConcurrent: number | null;
}

/** The tiers that every store begins with. They can be changed, and not deleted. */
export const BUILT_IN_TIERS: Readonly<Record<string, Tier>> = {
  free: { requestsPerMinute: 10, maxConcurrent: 1 },
  basic: { requestsPerMinute: 100, maxConcurrent: 5 },
  premium: { requestsPerMinute: 1_000, maxConcurrent: 20 },
  enterprise: { requestsPerMinute: 5_000, maxConcurrent: 50 },
};

/** The tier of a client that nobody has put into another, unless DEFAULT_CLIENT_TIER says otherwise. */
export const FIRST_TIER = "free";

/** The most API keys of one client, revoked ones not counted: enough to rotate, few enough to check each. */
export const MAX_CLIENT_KEYS = 10;

/** An API key as it is kept: never the key itself. */
export interface ClientKey {
  /** Names the key in lists and logs; tells nothing of it. */
  readonly id: string;
  /** SHA-256 of the key's secret part, in hexadecimal. */
  readonly hash: string;
  readonly label: string | null;
  readonly createdAtMs: number;
}

/** A signing secret as it is kept: encrypted with a key that no store has. */
export interface SealedSecret {
  /** Names the secret in lists and logs; tells nothing of it. */
  readonly id: string;
  /** Initialisation vector, ciphertext and tag of AES-256-GCM, as base64. */
  readonly sealed: string;
  readonly createdAtMs: number;
}

/** The most signing secrets that are in force together: the one that is coming and the one that is going. */
export const MAX_SIGNING_SECRETS = 2;

/** A client as it is kept. */
export interface Client {
  readonly tier: string;
  /** A disabled client's new tasks are refused, and its waiting ones are held. */
  readonly enabled: boolean;
  /** Limits of its own; what is absent is the tier's. */
  readonly overrides: { readonly [K in keyof Tier]?: Tier[K] };
  /** The queues it may use; null for all. */
  readonly allowedQueues: readonly string[] | null;
  /** The hosts it may have called: a name, `*.name` for everything below it, or an address. Null for all. */
  readonly allowedHosts: readonly string[] | null;
  readonly keys: readonly ClientKey[];
  /** With each of which its deliveries are signed, where their queue has none; the newest first. */
  readonly signing: readonly SealedSecret[];
  readonly createdAtMs: number;
}

/** What a worker has to know of a client. */
export type ClientRules = Pick<Client, "allowedHosts" | "signing">;

/** A client as it is made on its first use. */
export function newClient(tier: string, nowMs: number): Client {
  return {
    tier,
    enabled: true,
    overrides: {},
    allowedQueues: null,
    allowedHosts: null,
    keys: [],
    signing: [],
    createdAtMs: nowMs,
  };
}

/** What a client may do now: its own limits, and the tier's where it has none. */
export function limitsOf({ overrides }: Pick<Client, "overrides">, tier: Tier): Tier {
  return {
    requestsPerMinute:
      overrides.requestsPerMinute === undefined ? tier.requestsPerMinute : overrides.requestsPerMinute,
    maxConcurrent: overrides.maxConcurrent === undefined ? tier.maxConcurrent : overrides.maxConcurrent,
  };
}

/** What a worker has to know of a client; null when there is nothing. */
export function rulesOfClient({ allowedHosts, signing }: Client): ClientRules | null {
  return allowedHosts === null && signing.length === 0 ? null : { allowedHosts, signing };
}

/** Whether what it hands in has to be held against lists that only the service can read. */
export function isRestricted({ allowedQueues, allowedHosts }: Client): boolean {
  return allowedQueues !== null || allowedHosts !== null;
}
