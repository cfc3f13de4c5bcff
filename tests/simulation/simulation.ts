/** One run: serve and work on the real store under virtual time, with everything going wrong that a seed brings, and then with nothing. */

import { idGenerator } from "../../src/core/id.ts";
import { defaultRetryPolicy } from "../../src/core/retry.ts";
import type { TaskStore } from "../../src/core/store.ts";
import { ClientService } from "../../src/service/clients.ts";
import { DeadLetters } from "../../src/service/dead.ts";
import { PullService } from "../../src/service/pull.ts";
import { PurgeRunner } from "../../src/service/purges.ts";
import { QueueService } from "../../src/service/queues.ts";
import { TaskService } from "../../src/service/tasks.ts";
import { TierService } from "../../src/service/tiers.ts";
import { openSqliteStore } from "../../src/store/sqlite/store.ts";
import { createLogger } from "../../src/telemetry/logger.ts";
import { Worker } from "../../src/worker/worker.ts";
import { auditOf } from "./audit.ts";
import { Consumers } from "./consumers.ts";
import { CLIENTS, Customers, PULLED, QUEUES, type Services } from "./customers.ts";
import { Faults } from "./faults.ts";
import { Gateway } from "./gateway.ts";
import { Journal } from "./journal.ts";
import { Machine, SimNode } from "./node.ts";
import { Chance } from "./random.ts";
import { Shadow } from "./shadow.ts";
import { isOver } from "./shadow-task.ts";
import { HOSTS, Targets } from "./targets.ts";
import type { VirtualTime } from "./virtual-time.ts";

/** What a run came to. */
export interface RunResult {
  readonly seed: number;
  /** The first promise that was broken; null when all were kept. */
  readonly broken: string | null;
  /** The same for the same seed, whatever else happens. */
  readonly hash: string;
  readonly events: number;
  readonly lastEvents: readonly string[];
  readonly simulatedMs: number;
  readonly tasks: number;
  readonly deliveries: number;
}

/** All that can finish finishes within this time after the last fault. */
const LIVENESS_MS = 15 * 60_000;
/** More timers than this in a run is going round in circles. */
const MAX_STEPS = 400_000;
const AUDIT_EVERY_MS = 25_000;
const DAMAGED_SHOWN = 5;
/** One seed of so many is a run with pull queues and consumers: the last of them. */
const CONSUMERS_EVERY = 5;
const MAX_CONSUMERS = 3;

const logger = createLogger({ level: "error", role: "simulation", destination: { write: () => {} } });
logger.level = "silent";

/** Runs one seed from its beginning to its end. `tell` is called with every event. */
export async function runSeed(
  seed: number,
  time: VirtualTime,
  tell: ((line: string) => void) | null = null,
): Promise<RunResult> {
  const run = await Run.open(seed, time, tell);
  const onRejection = (reason: unknown) =>
    run.journal.broken(`nobody handled ${reason instanceof Error ? reason.stack : String(reason)}`);
  process.on("unhandledRejection", onRejection);
  try {
    await run.toTheEnd();
  } catch (thrown) {
    run.journal.broken(`the simulation failed: ${thrown instanceof Error ? thrown.stack : String(thrown)}`);
  } finally {
    process.off("unhandledRejection", onRejection);
    await run.store.close();
  }
  const { journal, customers, targets } = run;
  return {
    seed,
    broken: journal.firstBroken?.message ?? null,
    hash: journal.hash,
    events: journal.events,
    lastEvents: journal.last(80),
    simulatedMs: time.nowMs,
    tasks: customers.acknowledged.length,
    deliveries: targets.delivered,
  };
}

/** How a run is laid out. */
interface Plan {
  readonly workers: number;
  readonly lengthMs: number;
  readonly wishes: number;
  readonly leaseMs: number;
  readonly concurrency: number;
  readonly maxRetries: number;
  readonly breaker: { readonly failureThreshold: number; readonly openMs: number };
}

function planOf(chance: Chance): Plan {
  return {
    workers: chance.whole(1, 3),
    lengthMs: chance.whole(6_000, 35_000),
    wishes: chance.whole(15, 80),
    leaseMs: chance.pick([3_000, 6_000, 10_000]),
    concurrency: chance.pick([1, 2, 5, 20]),
    maxRetries: chance.whole(0, 3),
    breaker: { failureThreshold: chance.whole(2, 6), openMs: chance.pick([1_000, 4_000, 10_000]) },
  };
}

class Run {
  readonly journal: Journal;
  readonly store: TaskStore;
  readonly targets: Targets;
  readonly customers: Customers;
  readonly #machine: Machine;
  readonly #chance: Chance;
  readonly #plan: Plan;
  readonly #faults: Faults;
  readonly #shadow: Shadow;
  readonly #gateway: Gateway;
  readonly #newId: (nowMs: number) => string;
  readonly #apis: readonly Services[];
  readonly #queues: readonly string[];
  readonly #consumers: Consumers | null;
  readonly #apiNodes: SimNode[] = [];
  readonly #workers: { readonly node: SimNode; readonly worker: Worker }[] = [];
  #started = 0;
  #auditedMs = 0;
  #ended = false;

  static async open(seed: number, time: VirtualTime, tell: ((line: string) => void) | null): Promise<Run> {
    const machine = new Machine(time);
    const settings = {
      defaultTier: "basic",
      autoCreateQueues: true,
      retentionSucceededMs: 600_000,
      retentionDeadMs: 900_000,
      dedupWindowMs: 30_000,
      maxBytes: 0,
    };
    const store = await openSqliteStore({
      path: ":memory:",
      settings,
      clock: {
        now: () => machine.now(),
        monoMs: () => time.nowMs,
        after: (delayMs, fire) => time.after(delayMs, fire),
      },
    });
    return new Run(seed, machine, store, settings, tell);
  }

  constructor(
    seed: number,
    machine: Machine,
    store: TaskStore,
    settings: ConstructorParameters<typeof Shadow>[0],
    tell: ((line: string) => void) | null,
  ) {
    const chance = new Chance(seed);
    this.#chance = chance;
    this.#machine = machine;
    this.store = store;
    this.#plan = planOf(chance.fork());
    this.journal = new Journal(machine.time, tell);
    const { journal } = this;
    this.#faults = new Faults(chance.fork());
    this.#shadow = new Shadow(settings, (what) => journal.broken(what));
    const onDeath = (node: SimNode) => this.#die(node);
    this.targets = new Targets({
      shadow: this.#shadow,
      journal,
      chance: chance.fork(),
      maxRetries: this.#plan.maxRetries,
      onDeath,
    });
    this.#gateway = new Gateway({
      store,
      machine,
      faults: this.#faults,
      shadow: this.#shadow,
      targets: this.targets,
      journal,
      chance: chance.fork(),
      onDeath,
    });
    this.#newId = idGenerator(chance.fork().fill);
    this.#apis = [this.#api("api-1"), this.#api("api-2")];
    const hasConsumers = seed % CONSUMERS_EVERY === CONSUMERS_EVERY - 1;
    // Twice, so that it gets about as much as all others that have a name.
    this.#queues = hasConsumers ? [...QUEUES, PULLED, PULLED] : QUEUES;
    const sleep = (delayMs: number) => machine.time.sleep(delayMs);
    this.customers = new Customers({
      queues: this.#queues,
      apis: this.#apis,
      shadow: this.#shadow,
      journal,
      chance: chance.fork(),
      sleep,
    });
    this.#consumers = hasConsumers
      ? new Consumers({
          pulls: this.#apiNodes.map((node) => this.#pull(node, chance.fork())),
          queues: [PULLED, PULLED, "slow"],
          targets: this.targets,
          journal,
          chance: chance.fork(),
          sleep,
        })
      : null;
  }

  async toTheEnd(): Promise<void> {
    const { workers, lengthMs } = this.#plan;
    this.journal.write("run", JSON.stringify(this.#plan));
    for (let started = 0; started < workers; started++) this.#after(started * 137, () => this.#startWorker());
    const consumers = this.#consumers;
    if (consumers !== null) this.#after(0, () => void this.#openTo(consumers));
    this.#planTroubles();
    this.#planWishes();
    this.#after(lengthMs, () => void this.#settleDown());
    const { time } = this.#machine;
    for (let steps = 0; !this.#ended && this.journal.firstBroken === null; steps++) {
      await time.drain();
      if (time.nowMs - this.#auditedMs >= AUDIT_EVERY_MS) await this.#audit();
      // What is left may be a timer of the far future, which nobody waits for any more.
      if (this.#ended) break;
      if (!time.step()) this.journal.broken("nothing is left to happen");
      if (steps > MAX_STEPS) this.journal.broken("there is no end to what happens");
    }
    await time.drain();
    if (this.journal.firstBroken === null) await this.#audit();
  }

  /** Makes the queue that consumers take from, whatever that takes, and lets them begin. */
  async #openTo(consumers: Consumers): Promise<void> {
    while (!this.#ended && !(await this.customers.openPulled(this.#firstApi)))
      await this.#machine.time.sleep(100);
    if (!this.#ended) consumers.start(this.#chance.whole(1, MAX_CONSUMERS));
  }

  get #firstApi(): Services {
    const [api] = this.#apis;
    if (api === undefined) throw new Error("there is no API");
    return api;
  }

  #after(delayMs: number, act: () => void): void {
    this.#machine.time.after(delayMs, act);
  }

  #planWishes(): void {
    const { lengthMs, wishes } = this.#plan;
    const chance = this.#chance.fork();
    for (let made = 0; made < wishes; made++) {
      // Many come together, as from a group of callers.
      const atMs = chance.happens(0.5) ? chance.whole(0, lengthMs) : chance.whole(0, 8) * (lengthMs / 8);
      this.#after(atMs, () => this.customers.wish());
    }
  }

  #planTroubles(): void {
    const { lengthMs } = this.#plan;
    const chance = this.#chance.fork();
    const someTimes = (most: number, trouble: () => void) => {
      for (let times = chance.whole(0, most); times > 0; times--)
        this.#after(chance.whole(0, lengthMs), trouble);
    };
    someTimes(2, () => this.#withWorker(chance, ({ node }) => this.#die(node)));
    someTimes(2, () =>
      this.#withWorker(chance, ({ node }) => this.#freeze(node, chance.whole(50, 2 * this.#plan.leaseMs))),
    );
    someTimes(2, () =>
      this.#withWorker(chance, (member) => void this.#stop(member, chance.pick([0, 500, 3_000]))),
    );
    someTimes(1, () => this.#freeze(chance.pick(this.#apiNodes), chance.whole(50, 8_000)));
    if (chance.happens(0.3)) someTimes(2, () => this.#setClock(chance.whole(-20_000, 20_000)));
    someTimes(2, () => this.#killHost(chance.pick(HOSTS), chance.whole(500, 20_000)));
    someTimes(1, () => this.#outage(chance.pick(["api", "worker"] as const), chance.whole(100, 12_000)));
  }

  #withWorker(chance: Chance, act: (member: { node: SimNode; worker: Worker }) => void): void {
    const living = this.#workers.filter(({ node }) => !node.isDead && !node.isFrozen);
    if (!this.#ended && living.length > 0) act(chance.pick(living));
  }

  #die(node: SimNode): void {
    if (node.isDead) return;
    this.journal.write(node.name, "dies");
    node.die();
    this.#after(1_000, () => this.#startWorker());
  }

  #freeze(node: SimNode, forMs: number): void {
    this.journal.write(node.name, `freezes for ${forMs} ms`);
    node.freeze();
    this.#after(forMs, () => {
      this.journal.write(node.name, "thaws");
      node.thaw();
    });
  }

  async #stop({ node, worker }: { node: SimNode; worker: Worker }, graceMs: number): Promise<void> {
    this.journal.write(node.name, `stops within ${graceMs} ms`);
    node.isStopping = true;
    await worker.stop(graceMs);
    this.#die(node);
  }

  #setClock(byMs: number): void {
    this.journal.write("machine", `the clock is set by ${byMs} ms`);
    const beforeMs = this.#machine.now();
    this.#machine.setClock(byMs);
    this.#shadow.clockWasSet(beforeMs);
  }

  #killHost(host: string, forMs: number): void {
    this.journal.write("machine", `${host} is dead for ${forMs} ms`);
    this.targets.dead.add(host);
    this.#after(forMs, () => this.targets.dead.delete(host));
  }

  #outage(kind: "api" | "worker", forMs: number): void {
    this.journal.write("machine", `the store is out of reach of every ${kind} for ${forMs} ms`);
    this.#faults.outage[kind] = true;
    this.#after(forMs, () => {
      this.#faults.outage[kind] = false;
    });
  }

  #startWorker(): void {
    if (this.#ended) return;
    const node = new SimNode(
      `w${++this.#started}`,
      "worker",
      this.#machine,
      this.#chance.whole(-5_000, 5_000),
    );
    const { leaseMs, concurrency, maxRetries, breaker } = this.#plan;
    const transport = this.targets.from(node);
    const worker = new Worker({
      id: node.name,
      version: "0",
      store: this.#gateway.from(node),
      transports: { for: (url) => (url.startsWith("http:") ? transport : undefined) },
      clock: node.clock,
      random: this.#chance.fork().next,
      logger,
      concurrency,
      leaseMs,
      taskTimeoutMs: 5_000,
      maxRetries,
      allowPrivateUrls: true,
      breaker,
      sealer: null,
      newId: this.#newId,
    });
    this.journal.write(node.name, "starts");
    this.#workers.push({ node, worker });
    worker.start();
  }

  #api(name: string): Services {
    const node = new SimNode(name, "api", this.#machine, 0);
    this.#apiNodes.push(node);
    const { clock } = node;
    const store = this.#gateway.from(node);
    const transports = { check: () => [] };
    const purges = new PurgeRunner({ store, clock, logger });
    const shared = {
      store,
      clock,
      transports,
      privateTargets: "check" as const,
      defaultTier: "basic",
      purges,
    };
    return {
      tasks: new TaskService({ ...shared, newId: this.#newId, maxPayloadBytes: 100_000 }),
      clients: new ClientService(shared),
      tiers: new TierService(shared),
      queues: new QueueService(shared),
      dead: new DeadLetters(shared),
    };
  }

  #pull(node: SimNode, chance: Chance): PullService {
    return new PullService({
      store: this.#gateway.from(node),
      clock: node.clock,
      random: chance.next,
      newId: this.#newId,
      retry: defaultRetryPolicy(this.#plan.maxRetries),
    });
  }

  /** All faults stop, and what was forbidden is allowed: from here on everything must come to its end. */
  async #settleDown(): Promise<void> {
    const { time } = this.#machine;
    this.journal.write("run", "all faults stop");
    this.#faults.stop();
    this.targets.behave();
    this.#consumers?.behave();
    for (const node of [...this.#apiNodes, ...this.#workers.map((member) => member.node)]) node.thaw();
    await this.customers.quiet();
    await this.customers.liftAll(this.#firstApi);
    const untilMs = time.nowMs + LIVENESS_MS;
    while (!this.#isAllOver()) {
      if (time.nowMs > untilMs) return this.#tellStuck();
      await time.sleep(500);
    }
    this.journal.write("run", "all is over");
    const living = this.#workers.filter(({ node }) => !node.isDead);
    for (const { node } of living) node.isStopping = true;
    await Promise.all(living.map(({ worker }) => worker.stop(0)));
    for (const { node } of living) node.die();
    await this.#consumers?.stop();
    this.#ended = true;
  }

  #isAllOver(): boolean {
    for (const task of this.#shadow.tasks.values()) if (!isOver(task)) return false;
    return true;
  }

  #tellStuck(): void {
    const stuck = [...this.#shadow.tasks.values()].filter((task) => !isOver(task));
    const shown = stuck
      .slice(0, DAMAGED_SHOWN)
      .map(({ spec, state }) => `${spec.id} ${state} in ${spec.queue} of ${spec.clientId}`);
    this.journal.broken(`${stuck.length} tasks never end: ${shown.join(", ")}`);
  }

  async #audit(): Promise<void> {
    this.#auditedMs = this.#machine.time.nowMs;
    const problems = await auditOf(this.store, this.#shadow, { clients: CLIENTS, queues: this.#queues });
    if (problems.length > 0) this.journal.broken(problems.slice(0, DAMAGED_SHOWN).join("; "));
  }
}
