/** Writes what was counted as Prometheus reads it. Imported at the first scrape: a process that nobody scrapes loads none of it. */

import process from "node:process";
import { Counter, Gauge, Registry } from "prom-client";
import { VIOLATIONS, type ViolationKind } from "../core/inspection.ts";
import { TASK_STATES } from "../core/task.ts";
import type { ClientTally, Metrics, QueueTally } from "./metrics.ts";
import { SpreadHistogram, type SpreadHistogramOptions } from "./spread-histogram.ts";
import type { StateReader, StoreState } from "./state.ts";
import { OTHER } from "./tallies.ts";
import type { SpanCounts } from "./tracing.ts";

/** What is told of a process besides what it counts. */
export interface ProcessFacts {
  readonly role: string;
  readonly version: string;
  readonly runtime: string;
  readonly store: string;
  readonly startedAtMs: number;
  /** Null where there is no worker. */
  readonly slots: () => { readonly total: number; readonly used: number } | null;
  /** Null where nothing is traced. */
  readonly spans: () => SpanCounts | null;
}

export interface ExpositionOptions {
  readonly metrics: Metrics;
  readonly state: Pick<StateReader, "read">;
  readonly facts: ProcessFacts;
}

type Labels = Record<string, string>;
type Row = readonly [Labels, number];

export class Exposition {
  readonly #options: ExpositionOptions;
  readonly #registry = new Registry();
  /** Read once a scrape, before the metrics that tell of it are asked. */
  #state: StoreState | null = null;

  constructor(options: ExpositionOptions) {
    this.#options = options;
    this.#addCounts();
    this.#addSpreads();
    this.#addState();
    this.#addProcess();
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  async text(): Promise<string> {
    this.#state = await this.#options.state.read();
    return this.#registry.metrics();
  }

  #addCounts(): void {
    const { metrics } = this.#options;
    this.#counter("enqueues_total", "Tasks handed in, by what became of them.", ["queue", "result"], () =>
      queueRows(metrics, ({ created, refused }) => [
        [{ result: "created" }, created],
        ...[...refused.entries()].map(([result, times]): Row => [{ result }, times]),
      ]),
    );
    this.#counter(
      "rate_limited_total",
      "Tasks refused because their client had used up its requests a minute, by its tier.",
      ["tier"],
      () => [...metrics.tiersLimited.entries()].map(([tier, { times }]) => [{ tier }, times]),
    );
    this.#counter("follow_ups_total", "Tasks accepted in the step that ended another.", ["queue"], () =>
      queueRows(metrics, ({ followUps }) => [[{}, followUps]]),
    );
    this.#counter("leases_total", "Tasks leased, to this worker or to consumers of it.", ["queue"], () =>
      queueRows(metrics, ({ leases }) => [[{}, leases]]),
    );
    this.#counter(
      "outcomes_total",
      "Leases that were settled, by what became of the task and why.",
      ["queue", "outcome", "reason"],
      () =>
        queueRows(metrics, ({ succeeded, outcomes }) => [
          [{ outcome: "succeeded", reason: "ok" }, succeeded],
          ...[...outcomes.entries()].map(([key, times]): Row => {
            const [outcome = OTHER, reason = OTHER] = key.split(" ");
            return [{ outcome, reason }, times];
          }),
        ]),
    );
    this.#counter(
      "stale_settles_total",
      "Settlements that changed nothing because the lease was no longer the task's.",
      [],
      () => [[{}, metrics.staleSettles]],
    );
    this.#counter("rescues_total", "Tasks taken back from workers that let their leases run out.", [], () => [
      [{}, metrics.rescues],
    ]);
    this.#counter(
      "failover_tasks_total",
      "Acknowledged tasks that a new primary never had, handed in again here or lost.",
      ["result"],
      () => [
        [{ result: "replayed" }, metrics.failoverReplayed],
        [{ result: "lost" }, metrics.failoverLost],
      ],
    );
    this.#counter("leases_lost_total", "Leases that ended under a delivery, and how.", ["why"], () =>
      (["stale", "expired"] as const).map((why) => [{ why }, metrics.leasesLostBy.of(why)]),
    );
    this.#counter("breaker_changes_total", "Circuit breakers that opened or closed here.", ["to"], () =>
      (["open", "closed"] as const).map((to) => [{ to }, metrics.breakersTo.of(to)]),
    );
    this.#counter("store_errors_total", "Calls of the store that failed, by method.", ["method"], () =>
      [...metrics.storeCalls].map(([method, { failed }]) => [{ method }, failed]),
    );
    if (metrics.clients !== null) this.#addClients(metrics.clients);
  }

  #addClients(clients: NonNullable<Metrics["clients"]>): void {
    const rows = (pick: (tally: ClientTally) => readonly Row[]): Row[] =>
      [...clients.entries()].flatMap(([client, tally]) =>
        pick(tally).map(([labels, value]): Row => [{ client, ...labels }, value]),
      );
    this.#counter("client_enqueues_total", "Tasks handed in, by client.", ["client", "result"], () =>
      rows(({ enqueues }) => [...enqueues.entries()].map(([result, times]) => [{ result }, times])),
    );
    this.#counter(
      "client_outcomes_total",
      "Leases that were settled, by client.",
      ["client", "outcome"],
      () => rows(({ outcomes }) => [...outcomes.entries()].map(([outcome, times]) => [{ outcome }, times])),
    );
  }

  #addSpreads(): void {
    const { metrics } = this.#options;
    this.#histogram(
      "enqueue_to_start_seconds",
      "From when a run of a task fell due to its first lease.",
      ["queue"],
      () => [...metrics.queues.entries()].map(([queue, { startSec }]) => [{ queue }, startSec]),
    );
    this.#histogram("attempt_duration_seconds", "How long attempts took.", ["queue", "outcome"], () =>
      [...metrics.queues.entries()].flatMap(([queue, { succeededSec, failedSec }]) => [
        [{ queue, outcome: "succeeded" }, succeededSec] as const,
        [{ queue, outcome: "failed" }, failedSec] as const,
      ]),
    );
    this.#histogram("store_call_duration_seconds", "How long calls of the store took.", ["method"], () =>
      [...metrics.storeCalls].map(([method, { sec }]) => [{ method }, sec]),
    );
    this.#histogram("event_loop_lag_seconds", "How late timers fire here.", [], () => [
      [{}, metrics.loopLagSec],
    ]);
  }

  /** Of the whole store, so that every process tells the same: a query takes the largest, never the sum. */
  #addState(): void {
    this.#gauge("store_up", "Whether the store answered this scrape, or one a moment ago.", [], () => [
      [{}, this.#state === null ? 0 : 1],
    ]);
    this.#gauge("tasks", "Tasks in the store.", ["queue", "priority", "state"], () => this.#taskRows());
    this.#gauge(
      "oldest_ready_seconds",
      "How long the oldest task that could be claimed has waited for that.",
      ["queue", "priority"],
      () => this.#oldestRows(),
    );
    this.#gauge("hosts_held", "Hosts whose tasks are held back after failures, 1000 at most.", [], () =>
      this.#state === null ? [] : [[{}, this.#state.hostsHeld]],
    );
    this.#gauge(
      "invariant_violations",
      "What is broken in the store, by kind, as the worker found it that last looked all of it through.",
      ["kind"],
      () => {
        const { violations } = this.#options.metrics;
        return violations === null
          ? []
          : Object.keys(VIOLATIONS).map((kind) => [{ kind }, violations.get(kind as ViolationKind) ?? 0]);
      },
    );
    this.#gauge("workers", "Workers that were heard of lately.", [], () =>
      this.#state === null ? [] : [[{}, this.#state.workers]],
    );
  }

  /** The queues that the counters tell apart are told apart here. */
  #taskRows(): readonly Row[] {
    const { metrics } = this.#options;
    const totals = new Map<string, { labels: Labels; tasks: number }>();
    for (const { queue: name, priority, states } of this.#state?.counts ?? []) {
      const queue = metrics.queues.labelOf(name);
      for (const state of TASK_STATES) {
        const key = `${queue} ${priority} ${state}`;
        const total = totals.get(key) ?? { labels: { queue, priority, state }, tasks: 0 };
        total.tasks += states[state];
        totals.set(key, total);
      }
    }
    return [...totals.values()].map(({ labels, tasks }): Row => [labels, tasks]);
  }

  /** Nothing where tasks are ready and the oldest of them is not known. */
  #oldestRows(): readonly Row[] {
    const { metrics } = this.#options;
    const oldest = new Map<string, { labels: Labels; sec: number }>();
    for (const { queue: name, priority, states, oldestReadyMs } of this.#state?.counts ?? []) {
      if (oldestReadyMs === undefined && states.ready > 0) continue;
      const queue = metrics.queues.labelOf(name);
      const key = `${queue} ${priority}`;
      const sec = Math.max((oldestReadyMs ?? 0) / 1_000, oldest.get(key)?.sec ?? 0);
      oldest.set(key, { labels: { queue, priority }, sec });
    }
    return [...oldest.values()].map(({ labels, sec }): Row => [labels, sec]);
  }

  #addProcess(): void {
    const { facts } = this.#options;
    const { role, version, runtime, store } = facts;
    this.#gauge("info", "What this process is.", ["role", "version", "runtime", "store"], () => [
      [{ role, version, runtime, store }, 1],
    ]);
    this.#gauge("worker_slots", "Tasks that this worker can run at once.", [], () => {
      const slots = facts.slots();
      return slots === null ? [] : [[{}, slots.total]];
    });
    this.#gauge("worker_slots_used", "Tasks that this worker holds now.", [], () => {
      const slots = facts.slots();
      return slots === null ? [] : [[{}, slots.used]];
    });
    this.#counter(
      "spans_total",
      "Spans recorded, and those that the trace collector took or refused.",
      ["stage"],
      () => Object.entries(facts.spans() ?? {}).map(([stage, spans]) => [{ stage }, spans]),
    );
    this.#plain(Counter, "process_cpu_seconds_total", "Processor time used.", () => {
      const { user, system } = process.cpuUsage();
      return (user + system) / 1_000_000;
    });
    this.#plain(Gauge, "process_resident_memory_bytes", "Resident memory.", () => process.memoryUsage().rss);
    this.#plain(
      Gauge,
      "process_start_time_seconds",
      "When it started, in seconds since the epoch.",
      () => facts.startedAtMs / 1_000,
    );
  }

  #counter(name: string, help: string, labelNames: readonly string[], rows: () => readonly Row[]): void {
    const options = {
      name: `task_runner_${name}`,
      help,
      labelNames: [...labelNames],
      registers: [this.#registry],
    };
    new Counter({
      ...options,
      collect() {
        this.reset();
        for (const [labels, value] of rows()) this.inc(labels, value);
      },
    });
  }

  #gauge(name: string, help: string, labelNames: readonly string[], rows: () => readonly Row[]): void {
    const options = {
      name: `task_runner_${name}`,
      help,
      labelNames: [...labelNames],
      registers: [this.#registry],
    };
    new Gauge({
      ...options,
      collect() {
        this.reset();
        // One without labels would tell of a zero where nothing is known.
        if (labelNames.length === 0) this.remove();
        for (const [labels, value] of rows()) this.set(labels, value);
      },
    });
  }

  #histogram(
    name: string,
    help: string,
    labelNames: readonly string[],
    spreads: SpreadHistogramOptions["spreads"],
  ): void {
    this.#registry.registerMetric(
      new SpreadHistogram({ name: `task_runner_${name}`, help, labelNames, spreads }),
    );
  }

  /** One of the names that every Prometheus exporter uses. */
  #plain(kind: typeof Counter | typeof Gauge, name: string, help: string, read: () => number): void {
    new kind({
      name,
      help,
      registers: [this.#registry],
      collect() {
        this.reset();
        this.inc(read());
      },
    });
  }
}

function queueRows(metrics: Metrics, pick: (tally: QueueTally) => readonly Row[]): Row[] {
  return [...metrics.queues.entries()].flatMap(([queue, tally]) =>
    pick(tally).map(([labels, value]): Row => [{ queue, ...labels }, value]),
  );
}
