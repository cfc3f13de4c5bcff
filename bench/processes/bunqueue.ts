/** What bunqueue's processes have in common. */

export const BUNQUEUE_QUEUE = "tasks";

export interface BunqueueOptions {
  readonly dataPath: string;
  /** Jobs at once, for the worker. */
  readonly concurrency?: number;
}
