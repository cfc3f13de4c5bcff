/** The queues as plain arrays: what the packed ones in Redis must be equal to, step by step. */

/** As far as order is concerned. `held` is a ready task that waits for its ordering key. */
export type ModelState = "scheduled" | "ready" | "held" | "running" | "retrying";

export interface ModelTask {
  readonly id: string;
  /** `rank/queue/client`. */
  lane: string;
  readonly key: string | null;
  state: ModelState;
  dueMs: number;
  leaseUntilMs: number;
  /** Grows whenever it leaves its place in a lane. */
  turn: number;
}

interface Place {
  readonly id: string;
  /** The task's turn that this place is for: an older one is a place it has left. */
  readonly turn: number;
}

export class QueueModel {
  /** Those that are not over. */
  readonly tasks = new Map<string, ModelTask>();
  /** Places in the order in which they are served. */
  readonly #lanes = new Map<string, Place[]>();
  readonly #keys = new Map<string, { holder: string | null; readonly waiting: string[] }>();

  enqueue(task: Omit<ModelTask, "state" | "leaseUntilMs" | "turn">, nowMs: number): void {
    const added: ModelTask = { ...task, state: "scheduled", leaseUntilMs: 0, turn: 0 };
    this.tasks.set(task.id, added);
    if (task.dueMs <= nowMs) this.#arrive(added);
  }

  /** What has fallen due goes to its lane, by due time, then by id. */
  promote(nowMs: number): number {
    const due = [...this.tasks.values()]
      .filter(({ state, dueMs }) => (state === "scheduled" || state === "retrying") && dueMs <= nowMs)
      .sort((a, b) => a.dueMs - b.dueMs || (a.id < b.id ? -1 : 1));
    for (const task of due) this.#arrive(task);
    return due.length;
  }

  /**
   * The ids of ready tasks that stand before this one in its lane and so should have been handed out first. A task
   * that left its lane and came back may be served at the place it left, if that was not cleared away meanwhile.
   */
  before(id: string): string[] {
    const places = this.#lane(this.#task(id).lane);
    const own = places.findIndex((place) => place.id === id);
    if (own < 0) throw new Error(`task ${id} has no place in its lane`);
    return places.slice(0, own).flatMap((place) => (this.#isCurrent(place) ? [place.id] : []));
  }

  claim(id: string, leaseUntilMs: number): void {
    const task = this.#task(id);
    task.state = "running";
    task.leaseUntilMs = leaseUntilMs;
    task.turn++;
    const places = this.#lane(task.lane);
    while (places[0] !== undefined && !this.tasks.has(places[0].id)) places.shift();
  }

  get ready(): number {
    return this.#count("ready");
  }

  get waiting(): number {
    return this.#count("scheduled") + this.#count("retrying");
  }

  release(id: string): void {
    const task = this.#task(id);
    task.state = "ready";
    this.#lane(task.lane).unshift({ id, turn: task.turn });
  }

  /** Waits until `dueMs`: for a retry, or because it was given back for later. Its ordering key stays with it. */
  wait(id: string, state: "scheduled" | "retrying", dueMs: number): void {
    Object.assign(this.#task(id), { state, dueMs });
  }

  end(id: string): void {
    const task = this.#task(id);
    this.tasks.delete(id);
    this.#yieldKey(task);
  }

  /** A person moves it in time; one that is due at once goes to the end of its lane. */
  move(id: string, dueMs: number, nowMs: number): void {
    const task = this.#task(id);
    const waited = task.state === "scheduled" || task.state === "retrying";
    task.dueMs = Math.max(dueMs, nowMs);
    if (dueMs > nowMs) {
      if (task.state === "retrying") return;
      this.#yieldKey(task);
      task.state = "scheduled";
      task.turn++;
    } else if (waited) this.#arrive(task);
  }

  prioritize(id: string, lane: string): void {
    const task = this.#task(id);
    if (task.lane === lane) return;
    task.lane = lane;
    task.turn++;
    if (task.state === "ready") this.#lane(lane).push({ id, turn: task.turn });
  }

  #arrive(task: ModelTask): void {
    if (task.key !== null) {
      const key = this.#key(task.key);
      key.holder ??= task.id;
      if (key.holder !== task.id) {
        task.state = "held";
        key.waiting.push(task.id);
        return;
      }
    }
    task.state = "ready";
    this.#lane(task.lane).push({ id: task.id, turn: task.turn });
  }

  #yieldKey(task: ModelTask): void {
    if (task.key === null) return;
    const key = this.#key(task.key);
    if (key.holder !== task.id) return;
    key.holder = null;
    for (let id = key.waiting.shift(); id !== undefined; id = key.waiting.shift()) {
      const heir = this.tasks.get(id);
      if (heir?.state !== "held") continue;
      key.holder = id;
      heir.state = "ready";
      this.#lane(heir.lane).push({ id, turn: heir.turn });
      return;
    }
  }

  #count(wanted: ModelState): number {
    let count = 0;
    for (const { state } of this.tasks.values()) if (state === wanted) count++;
    return count;
  }

  #task(id: string): ModelTask {
    const task = this.tasks.get(id);
    if (task === undefined) throw new Error(`the model knows no task ${id}`);
    return task;
  }

  #isCurrent({ id, turn }: Place): boolean {
    const task = this.tasks.get(id);
    return task?.state === "ready" && task.turn === turn;
  }

  #lane(name: string): Place[] {
    const lane = this.#lanes.get(name) ?? [];
    this.#lanes.set(name, lane);
    return lane;
  }

  #key(name: string) {
    const key = this.#keys.get(name) ?? { holder: null, waiting: [] };
    this.#keys.set(name, key);
    return key;
  }
}
