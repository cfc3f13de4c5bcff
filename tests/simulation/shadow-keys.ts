/** What the store must know of ordering keys and of names: who holds a key, who comes next, which names are taken. */

import type { NewTask } from "../../src/core/task.ts";
import { isBefore, type ShadowTask } from "./shadow-task.ts";

/** The ordering keys of all queues. */
export class ShadowKeys {
  readonly #holders = new Map<string, ShadowTask>();
  readonly #tasks: ReadonlyMap<string, ShadowTask>;

  constructor(tasks: ReadonlyMap<string, ShadowTask>) {
    this.#tasks = tasks;
  }

  holder(task: ShadowTask): ShadowTask | null {
    return this.#holders.get(keyOf(task) ?? "") ?? null;
  }

  /** The state a due task takes. */
  arrive(task: ShadowTask): "ready" | "held" {
    const key = keyOf(task);
    if (key === null) return "ready";
    const holder = this.#holders.get(key);
    if (holder !== undefined && holder !== task) return "held";
    this.#holders.set(key, task);
    return "ready";
  }

  /** A task gives its key up, if it has it; the next one due is ready. */
  leave(task: ShadowTask): void {
    const key = keyOf(task);
    if (key === null || this.#holders.get(key) !== task) return;
    this.#holders.delete(key);
    let heir: ShadowTask | null = null;
    for (const other of this.#tasks.values()) {
      if (other.state !== "held" || other === task || keyOf(other) !== key) continue;
      if (heir === null || isBefore(other, heir)) heir = other;
    }
    if (heir === null) return;
    heir.state = "ready";
    this.#holders.set(key, heir);
  }
}

function keyOf({ spec }: ShadowTask): string | null {
  return spec.orderingKey === null ? null : `${spec.queue}\n${spec.orderingKey}`;
}

interface Taken {
  readonly id: string;
  untilMs: number | null;
  /** Its time was over before the clock went back: whether it is still known is up to the sweeps. */
  mayBeForgotten: boolean;
}

/** Names and idempotency keys. */
export class ShadowNames {
  readonly #taken = new Map<string, Taken>();
  readonly #windowMs: number;

  constructor(windowMs: number) {
    this.#windowMs = windowMs;
  }

  /** The tasks that have one of its names now. */
  holders(spec: NewTask, nowMs: number): readonly string[] {
    return scopesOf(spec).flatMap((scope) => {
      const taken = this.#taken.get(scope);
      return taken !== undefined && (taken.untilMs === null || taken.untilMs > nowMs) ? [taken.id] : [];
    });
  }

  /** Those of {@link holders} that cannot have been forgotten. */
  certainHolders(spec: NewTask, nowMs: number): readonly string[] {
    const uncertain = scopesOf(spec).filter((scope) => this.#taken.get(scope)?.mayBeForgotten === true);
    return uncertain.length > 0 ? [] : this.holders(spec, nowMs);
  }

  clockWasSet(beforeMs: number): void {
    for (const taken of this.#taken.values()) {
      if (taken.untilMs !== null && taken.untilMs <= beforeMs) taken.mayBeForgotten = true;
    }
  }

  take(spec: NewTask): void {
    for (const scope of scopesOf(spec))
      this.#taken.set(scope, { id: spec.id, untilMs: null, mayBeForgotten: false });
  }

  release(spec: NewTask, nowMs: number): void {
    for (const taken of this.#own(spec)) taken.untilMs = nowMs + this.#windowMs;
  }

  /** As if it had never been. */
  drop(spec: NewTask): void {
    for (const scope of scopesOf(spec)) if (this.#taken.get(scope)?.id === spec.id) this.#taken.delete(scope);
  }

  /** Its names are its own again, where nobody else has them. */
  retake(spec: NewTask, nowMs: number): void {
    for (const scope of scopesOf(spec)) {
      const taken = this.#taken.get(scope);
      const isFree = taken === undefined || (taken.untilMs !== null && taken.untilMs <= nowMs);
      if (isFree || taken.id === spec.id)
        this.#taken.set(scope, { id: spec.id, untilMs: null, mayBeForgotten: false });
    }
  }

  #own(spec: NewTask): Taken[] {
    return scopesOf(spec).flatMap((scope) => {
      const taken = this.#taken.get(scope);
      return taken?.id === spec.id ? [taken] : [];
    });
  }
}

function scopesOf({ name, queue, idempotencyKey, clientId }: NewTask): string[] {
  return [
    ...(name === null ? [] : [`name\n${queue}\n${name}`]),
    ...(idempotencyKey === null ? [] : [`key\n${clientId}\n${idempotencyKey}`]),
  ];
}
