/** Conformance: whatever a client sends and when, a minute's requests are those that a plain model allows. */

import { describe, expect, test } from "bun:test";
import type { TaskStore } from "../../../src/core/store.ts";
import { send, setClient } from "./admin.ts";
import { MINUTE_MS, type OpenedStore, type OpenStore, randomOf, SECOND_MS, withStore } from "./harness.ts";

export function rateWalkTests(open: OpenStore): void {
  describe("requests a minute", () => {
    for (const seed of [3, 77]) {
      test(
        `hold against a plain model through hundreds of random sendings (seed ${seed})`,
        withStore(open, (opened) => wander(opened, opened.store, seed)),
        30_000,
      );
    }
  });
}

/** When a request was admitted, as nearly as a test can know. */
type Span = readonly [fromMs: number, toMs: number];

/** Sends at random, and holds every answer against the times of those that were admitted. */
async function wander({ advance, now }: OpenedStore, store: TaskStore, seed: number): Promise<void> {
  const random = randomOf(seed);
  const limits: Readonly<Record<string, number>> = { a: 7, b: 20 };
  const admitted: Record<string, Span[]> = { a: [], b: [] };
  let refused = 0;
  for (const [id, requestsPerMinute] of Object.entries(limits)) {
    await setClient(store, id, { overrides: { requestsPerMinute } });
  }
  for (let step = 0; step < 250; step++) {
    const clientId = random() < 0.4 ? "a" : "b";
    const [limit, spans] = [limits[clientId] ?? 0, admitted[clientId] ?? []];
    const fromMs = now();
    const kinds = await send(store, 1 + Math.floor(random() * random() * 12), { clientId });
    const toMs = now();
    for (const kind of kinds) {
      if (kind === "created") {
        // Certainly within the same sixty seconds as this one, however the times lie in their spans.
        expect(spans.filter(([from]) => from + MINUTE_MS > toMs).length).toBeLessThan(limit);
        spans.push([fromMs, toMs]);
      } else {
        expect(kind).toBe("limited");
        refused += 1;
        // A request may be counted for less than a second too long.
        const counted = spans.filter(([, to]) => to + MINUTE_MS + SECOND_MS > fromMs);
        expect(counted.length).toBeGreaterThanOrEqual(limit);
      }
    }
    if (random() < 0.8) await advance(1 + Math.floor(random() ** 3 * 30 * SECOND_MS));
  }
  expect(refused).toBeGreaterThan(50);
}
