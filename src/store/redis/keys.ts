/** The names of all keys: every one under the prefix and one hash tag, so that they live on one shard together. */

/** The keys' own names, in the order in which lua/shared.lua takes them. */
const NAMES = [
  "tasks",
  "state",
  "queues",
  "lanes",
  "ring:0",
  "ring:1",
  "ring:2",
  "ring:3",
  "due",
  "later",
  "leases",
  "expiry",
  "names",
  "names-until",
  "orderings",
  "counts",
  "log",
  "meta",
  "claims",
  "workers",
  "settings",
  "limits",
  "index",
  "flows",
  "wakes",
  "purges",
  "audit",
  "hosts",
] as const;
export type KeyName = (typeof NAMES)[number];

export interface Keys {
  /** What every script is given as KEYS. There are no others. */
  readonly all: readonly string[];
  readonly of: (name: KeyName) => string;
  /** The channel on which hints are published. */
  readonly hints: string;
}

/** The keys of one store; two stores with different prefixes share a Redis without touching. */
export function keysUnder(prefix: string): Keys {
  const of = (name: KeyName | "hints") => `{${prefix}}:${name}`;
  return { all: NAMES.map(of), of, hints: of("hints") };
}
