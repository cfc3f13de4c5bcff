/** Deficit round robin: who gets how many, in which order they come next, and that nobody passes what they may. */

import { expect, test } from "bun:test";
import { deal, type Seat } from "../../src/store/sqlite/deal.ts";
import { randomOf } from "../conformance/store/harness.ts";

const noLimit = () => ({ left: Number.POSITIVE_INFINITY });

function seat(lane: string, over: Partial<Seat<string>> = {}): Seat<string> {
  return {
    lane,
    weight: 1,
    client: noLimit(),
    queue: noLimit(),
    ready: 1_000,
    credit: 0,
    taken: 0,
    hadTurn: false,
    ...over,
  };
}

const taken = (seats: readonly Seat<string>[]) => seats.map((one) => one.taken);
const names = (seats: readonly Seat<string>[]) => seats.map((one) => one.lane);

test("turns go round, and the one after the last is first the next time", () => {
  const seats = [seat("a"), seat("b"), seat("c")];
  const { staying } = deal(seats, 7, true);
  expect(taken(seats)).toEqual([3, 2, 2]);
  expect(names(staying)).toEqual(["b", "c", "a"]);
});

test("a turn is as long as its weight, and one that was cut short is gone on with", () => {
  const seats = [seat("a", { weight: 3 }), seat("b")];
  expect(names(deal(seats, 2, true).staying)).toEqual(["a", "b"]);
  expect(seats[0]).toMatchObject({ taken: 2, credit: 1, hadTurn: false });
  expect(names(deal(seats, 2, true).staying)).toEqual(["a", "b"]);
  expect(taken(seats)).toEqual([3, 1]);
});

test("those with nothing left are out, and their turns go to the others", () => {
  const seats = [seat("a", { ready: 1 }), seat("b"), seat("c", { ready: 2 })];
  const { out, staying } = deal(seats, 10, true);
  expect(taken(seats)).toEqual([1, 7, 2]);
  expect([names(out), names(staying)]).toEqual([["a", "c"], ["b"]]);
});

test("lanes share what their client or queue may begin", () => {
  const queue = { left: 3 };
  const seats = [seat("a", { queue }), seat("b", { queue }), seat("c")];
  const { out } = deal(seats, 10, true);
  expect(taken(seats)).toEqual([2, 1, 7]);
  expect(names(out)).toEqual(["b", "a"]);
  expect(queue.left).toBe(0);
});

test("with more lanes behind them nobody has a second turn", () => {
  const seats = [seat("a"), seat("b", { queue: { left: 0 } }), seat("c")];
  const { out, staying } = deal(seats, 3, false);
  expect(taken(seats)).toEqual([1, 0, 1]);
  expect([names(out), names(staying)]).toEqual([["b"], ["a", "c"]]);
});

test("it gives out all it can and never more, whatever the lanes are like", () => {
  const random = randomOf(5);
  const below = (n: number) => Math.floor(random() * n);
  for (let round = 0; round < 500; round++) {
    const rooms = Array.from({ length: 4 }, () => ({
      left: below(3) === 0 ? Number.POSITIVE_INFINITY : below(9),
    }));
    const before = rooms.map(({ left }) => left);
    const seats = Array.from({ length: below(8) }, (_, i) => {
      const weight = 1 + below(4);
      const [client = noLimit(), queue = noLimit()] = [rooms[below(2)], rooms[2 + below(2)]];
      return seat(`${i}`, { weight, client, queue, ready: below(12), credit: below(weight) });
    });
    const ready = seats.map((one) => one.ready);
    const count = 1 + below(30);
    const { out, staying } = deal(seats, count, true);
    const sum = taken(seats).reduce((total, n) => total + n, 0);
    expect(names([...out, ...staying]).sort()).toEqual(names(seats).sort());
    expect(sum).toBeLessThanOrEqual(count);
    for (const [i, one] of seats.entries()) expect(one.taken + one.ready).toBe(ready[i] ?? -1);
    for (const [i, room] of rooms.entries()) {
      expect(room.left).toBeGreaterThanOrEqual(0);
      if (Number.isFinite(before[i])) expect(room.left).toBeLessThanOrEqual(before[i] ?? 0);
    }
    // Where fewer were dealt than asked for, none is left that may give one.
    if (sum < count)
      for (const one of seats) expect(Math.min(one.ready, one.client.left, one.queue.left)).toBe(0);
  }
});
