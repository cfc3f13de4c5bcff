/** One process of the simulated installation: it can freeze, thaw and die, and its clock can be wrong. */

import type { Clock } from "../../src/core/clock.ts";
import { EPOCH_MS } from "./virtual-globals.ts";
import type { VirtualTime } from "./virtual-time.ts";

/** The wall clock that all processes of the machine read. */
export class Machine {
  readonly time: VirtualTime;
  /** How far the clock was set forward, or back, in all. */
  steppedMs = 0;
  steps = 0;

  constructor(time: VirtualTime) {
    this.time = time;
  }

  now(): number {
    return EPOCH_MS + Math.floor(this.time.nowMs) + this.steppedMs;
  }

  setClock(byMs: number): void {
    this.steppedMs += byMs;
    this.steps += 1;
  }
}

const never = new Promise<never>(() => {});

export class SimNode {
  readonly name: string;
  readonly kind: "api" | "worker";
  readonly clock: Clock;
  /** Whether its worker has been told to stop. */
  isStopping = false;
  #isDead = false;
  #frozen: (() => void)[] | null = null;

  constructor(name: string, kind: "api" | "worker", machine: Machine, skewMs: number) {
    this.name = name;
    this.kind = kind;
    this.clock = {
      now: () => machine.now() + skewMs,
      monoMs: () => machine.time.nowMs,
      after: (delayMs, fire) => {
        let cancelled = false;
        const cancel = machine.time.after(delayMs, () => this.run(() => cancelled || fire()));
        return () => {
          cancelled = true;
          cancel();
        };
      },
    };
  }

  get isDead(): boolean {
    return this.#isDead;
  }

  get isFrozen(): boolean {
    return this.#frozen !== null;
  }

  /** Runs what belongs to this process: now, once it is thawed, or never. */
  run(act: () => void): void {
    if (this.#isDead) return;
    if (this.#frozen === null) act();
    else this.#frozen.push(act);
  }

  /** Resolves when this process runs, which for a dead one is never. */
  awake(): Promise<void> {
    if (this.#isDead) return never;
    return this.#frozen === null ? Promise.resolve() : new Promise((resolve) => this.run(resolve));
  }

  /** Stops for ever, wherever it is. */
  die(): void {
    this.#isDead = true;
    this.#frozen = null;
  }

  freeze(): void {
    if (!this.#isDead) this.#frozen ??= [];
  }

  thaw(): void {
    const missed = this.#frozen ?? [];
    this.#frozen = null;
    for (const act of missed) this.run(act);
  }
}
