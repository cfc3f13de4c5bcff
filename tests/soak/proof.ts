/** What a proof is to the program that runs them: something that says in one line how it went. */

/** One line on a round, and whether it went as promised. */
export interface Result {
  readonly good: boolean;
  readonly line: string;
}

/** Runs one round; rejects only when the round itself could not be run. */
export type Proof = (round: number, seed: number) => Promise<Result>;
