/** Who gets how many of the tasks of one claim: deficit round robin over lanes, within what each may begin. */

/** What is left to a client or a queue while tasks are dealt. */
export interface Room {
  left: number;
}

/** A lane while tasks are dealt. */
export interface Seat<L> {
  readonly lane: L;
  /** Tasks in a turn, at least 1. */
  readonly weight: number;
  /** What its client and its queue may begin; each shared by all lanes of the same. */
  readonly client: Room;
  readonly queue: Room;
  /** Tasks it has to give. */
  ready: number;
  /** What is left of the turn it is in; 0 between turns. */
  credit: number;
  taken: number;
  /** Whether it has come to the end of a turn. */
  hadTurn: boolean;
}

export interface Deal<L> {
  /** Those that have nothing left to give or may not give more, in the order in which this came out. */
  readonly out: readonly Seat<L>[];
  /** Those that stay, in the order in which they come next. */
  readonly staying: readonly Seat<L>[];
}

/**
 * Deals `count` tasks to seats in turn, each `weight` at a time. A turn that the count cuts short is gone on with by
 * the next deal, so shares come out right over many small ones. Where `whole` is false there are more lanes behind
 * these: then nobody has a second turn before they had theirs.
 *
 * Every step deals at least one task or puts a seat out, so it ends.
 */
export function deal<L>(seats: readonly Seat<L>[], count: number, whole: boolean): Deal<L> {
  const line = [...seats];
  const out: Seat<L>[] = [];
  let left = count;
  let next = 0;
  for (let seat = line[next]; seat !== undefined && left > 0; seat = line[next]) {
    if (seat.hadTurn && !whole) break;
    const { client, queue } = seat;
    const turn = seat.credit || seat.weight;
    const n = Math.min(left, turn, seat.ready, client.left, queue.left);
    if (n <= 0) {
      out.push(seat);
      next += 1;
      continue;
    }
    seat.credit = turn - n;
    seat.ready -= n;
    seat.taken += n;
    client.left -= n;
    queue.left -= n;
    left -= n;
    if (seat.credit > 0) continue;
    seat.hadTurn = true;
    line.push(seat);
    next += 1;
  }
  return { out, staying: line.slice(next) };
}
