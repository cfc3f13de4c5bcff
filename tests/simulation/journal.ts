/** What happened in a run: folded into one hash, the latest kept for whoever has to understand a violation. */

/** Broken promises of the program under test. */
export class Broken extends Error {
  override readonly name = "Broken";
}

const KEPT = 400;

export class Journal {
  readonly #time: { readonly nowMs: number };
  readonly #tell: ((line: string) => void) | null;
  readonly #kept: string[] = [];
  #hash = 0;
  #events = 0;
  #broken: Broken | null = null;

  /** `tell` is called with every line; null keeps only the latest. */
  constructor(time: { readonly nowMs: number }, tell: ((line: string) => void) | null = null) {
    this.#time = time;
    this.#tell = tell;
  }

  write(who: string, what: string): void {
    const line = `${this.#time.nowMs.toFixed(0).padStart(8)} ${who.padEnd(8)} ${what}`;
    this.#hash = Bun.hash.xxHash32(line, this.#hash);
    this.#events++;
    this.#kept.push(line);
    if (this.#kept.length > KEPT * 2) this.#kept.splice(0, KEPT);
    this.#tell?.(line);
  }

  /** Notes the first promise that was broken; the run ends at its next step. */
  broken(what: string): void {
    if (this.#broken !== null) return;
    this.write("BROKEN", what);
    this.#broken = new Broken(what);
  }

  get firstBroken(): Broken | null {
    return this.#broken;
  }

  get hash(): string {
    return this.#hash.toString(16).padStart(8, "0");
  }

  get events(): number {
    return this.#events;
  }

  last(count: number): readonly string[] {
    return this.#kept.slice(-count);
  }
}
