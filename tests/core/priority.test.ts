/** Holds that priorities are served by weight and that none of them starves. */

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { PRIORITIES, PRIORITY_WEIGHTS, PriorityTurns, priorityOf, rankOf } from "../../src/core/priority.ts";

const ALL = [0, 1, 2, 3];
const actives = fc.subarray(ALL, { minLength: 1 });

describe("priorities", () => {
  test("have a rank each, most urgent first, and a weight each", () => {
    expect(PRIORITIES.map(rankOf)).toEqual(ALL);
    expect(ALL.map(priorityOf)).toEqual([...PRIORITIES]);
    expect([...PRIORITY_WEIGHTS]).toEqual([8, 4, 2, 1]);
    for (const rank of [-1, 4, 0.5]) expect(() => priorityOf(rank)).toThrow(RangeError);
  });
});

describe("turns", () => {
  test("are dealt in full, whole and not below zero, to active ranks only", () => {
    const deals = fc.array(fc.tuple(fc.integer({ min: 0, max: 100 }), fc.subarray(ALL)), {
      minLength: 1,
      maxLength: 30,
    });
    fc.assert(
      fc.property(deals, (calls) => {
        const turns = new PriorityTurns();
        for (const [count, active] of calls) {
          const dealt = turns.deal(count, active);
          expect(dealt.length).toBe(4);
          expect(dealt.reduce((sum, share) => sum + share, 0)).toBe(active.length === 0 ? 0 : count);
          for (const [rank, share] of dealt.entries()) {
            expect(Number.isInteger(share) && share >= 0).toBe(true);
            if (!active.includes(rank)) expect(share).toBe(0);
          }
        }
      }),
    );
  });

  for (const size of [1, 2, 7, 15, 100, 15_000]) {
    test(`of 15,000, dealt ${size} at a time, go 8:4:2:1`, () => {
      const turns = new PriorityTurns();
      const shares = [0, 0, 0, 0];
      for (let left = 15_000; left > 0; left -= size) {
        for (const [rank, share] of turns.deal(Math.min(size, left), ALL).entries()) {
          shares[rank] = (shares[rank] ?? 0) + share;
        }
      }
      for (const [rank, weight] of PRIORITY_WEIGHTS.entries()) {
        expect(Math.abs((shares[rank] ?? 0) - weight * 1_000)).toBeLessThanOrEqual(1);
      }
    });
  }

  test("of some ranks go by the weights of those ranks", () => {
    fc.assert(
      fc.property(actives, (active) => {
        const total = active.reduce((sum, rank) => sum + (PRIORITY_WEIGHTS[rank] ?? 0), 0);
        const dealt = new PriorityTurns().deal(total * 100, active);
        for (const rank of active) expect(dealt[rank]).toBe((PRIORITY_WEIGHTS[rank] ?? 0) * 100);
      }),
    );
  });

  test("come to the least urgent once in every 15 while all have work", () => {
    const turns = new PriorityTurns();
    const lowAt: number[] = [];
    for (let turn = 0; turn < 150; turn++) if (turns.deal(1, ALL)[3] === 1) lowAt.push(turn);
    expect(lowAt.length).toBe(10);
    for (const [i, turn] of lowAt.entries()) expect(turn - (lowAt[i - 1] ?? -1)).toBeLessThanOrEqual(15);
  });

  test("never leave a rank that has work out for long, however the others come and go", () => {
    const others = fc.array(fc.subarray(ALL), { minLength: 200, maxLength: 400 });
    fc.assert(
      fc.property(others, fc.constantFrom(...ALL), (sets, rank) => {
        const turns = new PriorityTurns();
        let waited = 0;
        for (const set of sets) {
          const active = [...new Set([...set, rank])].sort();
          waited = turns.deal(1, active)[rank] === 1 ? 0 : waited + 1;
          expect(waited).toBeLessThan(60);
        }
      }),
    );
  });

  test("are not saved up by a rank that had no work", () => {
    const turns = new PriorityTurns();
    turns.deal(1_000, [2, 3]);
    expect(turns.deal(15, ALL)[0]).toBeLessThanOrEqual(9);
  });
});
