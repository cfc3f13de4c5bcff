/** The few queues, clients, names and times that runs are about: few, so that they meet. */

import fc from "fast-check";
import { PRIORITIES } from "../../src/core/priority.ts";

export const QUEUES = ["default", "alpha", "beta", "pull"] as const;
export const CLIENTS = ["ann", "bob", "eve"] as const;
export const HOSTS = ["http://h0.test", "http://h1.test"] as const;
export const WORKERS = ["w0", "w1"] as const;

export const queue = fc.constantFrom(...QUEUES);
export const client = fc.constantFrom(...CLIENTS);
export const host = fc.constantFrom(...HOSTS);
export const worker = fc.constantFrom(...WORKERS);
export const priority = fc.constantFrom(...PRIORITIES);

/** Says which of the handles a step goes through. */
export const via = fc.nat({ max: 1 });
/** Says which of the things there are is meant, by its number modulo how many there are. */
export const pick = fc.nat({ max: 99 });

/** How long until something is to happen; 0 for now. */
export const delayMs = fc.constantFrom(0, 0, 1, 700, 5_000, 12_345, 25_000, 70_000);

/** The one that a number means; undefined where there is none. */
export function picked<T>(items: readonly T[], at: number): T | undefined {
  return items.length === 0 ? undefined : items[at % items.length];
}
