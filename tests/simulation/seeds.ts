/** Seeds that once broke a promise, or that come by where few do, kept so that no promise is broken there again. */

export const SEEDS: readonly { readonly seed: number; readonly why: string }[] = [
  { seed: 2, why: "a claim is answered after its leases ran out: deliveries once began all the same" },
  { seed: 7, why: "a task is started over while a purge of its queue is under way" },
  {
    seed: 8,
    why: "a task of an ordering key falls due while nobody claims, and another of its key comes in after it",
  },
  { seed: 31, why: "a task takes five workers down with it" },
  { seed: 42, why: "an exchange with the store fails for good while settlements are on their way" },
  { seed: 50, why: "a worker extends a lease that another has by now" },
  {
    seed: 305_545,
    why: "the clock is set back after a sweep has forgotten a name, which is free from then on",
  },
];
