/** The way from each process to the one real store, with what goes wrong on it; every call that arrives is shown to the model. */

import { TaskRunnerError } from "../../src/core/errors.ts";
import type {
  Claim,
  ClaimRequest,
  Settlement,
  SettleResult,
  StoreHint,
  TaskStore,
} from "../../src/core/store.ts";
import type { Faults } from "./faults.ts";
import type { Journal } from "./journal.ts";
import type { Machine, SimNode } from "./node.ts";
import { observe, type StoreMethod } from "./observe.ts";
import type { Chance } from "./random.ts";
import type { Shadow } from "./shadow.ts";
import type { Targets } from "./targets.ts";

export interface GatewayOptions {
  readonly store: TaskStore;
  readonly machine: Machine;
  readonly faults: Faults;
  readonly shadow: Shadow;
  readonly targets: Targets;
  readonly journal: Journal;
  readonly chance: Chance;
  /** A worker that is hit by this dies at once. */
  readonly onDeath: (node: SimNode) => void;
}

/** Hints can be lost. */
const HINTS_LOST = 0.1;

const never = new Promise<never>(() => {});

export class Gateway {
  readonly #options: GatewayOptions;
  /** The store answers one call after the other, so that the model sees them in their order. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: GatewayOptions) {
    this.#options = options;
  }

  /** The store as one process reaches it. */
  from(node: SimNode): TaskStore {
    const own = {
      name: "simulated",
      onHint: (listener: (hint: StoreHint) => void) => this.#hints(node, listener),
    };
    return new Proxy(own, {
      get: (target, name) =>
        Reflect.get(target, name) ?? ((...args: unknown[]) => this.#call(node, name as StoreMethod, args)),
    }) as unknown as TaskStore;
  }

  #hints(node: SimNode, listener: (hint: StoreHint) => void): () => void {
    return this.#options.store.onHint((hint) => {
      if (this.#options.chance.happens(HINTS_LOST)) return;
      node.run(() => listener(hint));
    });
  }

  async #call(node: SimNode, method: StoreMethod, args: readonly unknown[]): Promise<unknown> {
    const { machine, faults, onDeath } = this.#options;
    await node.awake();
    const way = faults.wayOf(node.kind, method);
    if (way.thereMs > 0) await machine.time.sleep(way.thereMs);
    if (way.fate === "refused") {
      await node.awake();
      throw failure("not done");
    }
    const result = await this.#apply(node, method, args);
    if (way.fate === "dies") {
      onDeath(node);
      return never;
    }
    if (way.backMs > 0) await machine.time.sleep(way.backMs);
    await node.awake();
    if (way.fate === "lost") throw failure("done, and the answer was lost");
    return result;
  }

  async #apply(node: SimNode, method: StoreMethod, args: readonly unknown[]): Promise<unknown> {
    const before = this.#last;
    const applied = Promise.withResolvers<void>();
    this.#last = applied.promise;
    await before;
    const { store, machine, shadow, targets, journal } = this.#options;
    try {
      const call = store[method] as (...args: unknown[]) => Promise<unknown>;
      const nowMs = machine.now();
      const result = await call.apply(store, [...args]);
      const settled = settledIn(method, result);
      if (settled !== null) targets.settled(args[0] as Settlement[], settled);
      const claim = claimIn(method, result);
      const request = (method === "claim" ? args[0] : args[1]) as ClaimRequest;
      if (claim !== null) targets.handedOut(claim.tasks, machine.time.nowMs + request.leaseMs);
      const told = observe(shadow, { method, args, result, nowMs });
      if (told !== null) journal.write(node.name, `${method} ${told}`);
      return result;
    } catch (thrown) {
      // The real store has no reason to fail here: it is in memory, and nobody else is at it.
      journal.broken(
        `${method} failed: ${thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown)}`,
      );
      throw thrown;
    } finally {
      applied.resolve();
    }
  }
}

function settledIn(method: StoreMethod, result: unknown): readonly SettleResult[] | null {
  if (method === "settle") return result as SettleResult[];
  return method === "settleAndClaim" ? (result as { settled: SettleResult[] }).settled : null;
}

function claimIn(method: StoreMethod, result: unknown): Claim | null {
  if (method === "claim") return result as Claim;
  return method === "settleAndClaim" ? (result as { claim: Claim }).claim : null;
}

const failure = (why: string) =>
  new TaskRunnerError("store_unavailable", `the simulated way to the store failed: ${why}`, {
    retryAfterSec: 1,
  });
