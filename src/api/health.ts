/** The health routes, for both roles: what probes ask, and what a person wants to know when one fails. */

import { Type } from "@sinclair/typebox";
import { messageOf } from "../core/errors.ts";
import { type Answer, json, type Route } from "./route.ts";

/** Whether something is well, and why not. */
export interface HealthReport {
  readonly ok: boolean;
  /** One line, without secrets; null when it is well. */
  readonly reason: string | null;
}

/** Everything worth telling a person of this process. Never holds a secret. */
export interface DetailedHealth extends HealthReport {
  /** Plain facts by name in snake_case, e.g. `role`, `store`, `uptime_sec`. */
  readonly facts: Readonly<Record<string, unknown>>;
  /** What works but should not stay so, one line each. */
  readonly warnings: readonly string[];
}

/** What the health routes ask of the process; made by the composition root. */
export interface HealthSource {
  /** Whether this process works, whatever it depends on. */
  live(): HealthReport;
  /** Whether it can do its work now, what it depends on included. */
  ready(): Promise<HealthReport>;
  detailed(): Promise<DetailedHealth>;
}

const HealthSchema = Type.Object({
  status: Type.Union([Type.Literal("ok"), Type.Literal("unavailable")]),
  reason: Type.Optional(Type.String()),
});

const DetailedSchema = Type.Object(
  {
    status: Type.Union([Type.Literal("ok"), Type.Literal("unavailable")]),
    reason: Type.Optional(Type.String()),
    version: Type.String(),
    warnings: Type.Array(Type.String()),
  },
  { additionalProperties: true },
);

/** `warnings` are added to those of the source: what the API itself knows to be worth a warning. */
export function healthRoutes(
  health: HealthSource,
  version: string,
  warnings: readonly string[],
): readonly Route[] {
  const ready = async () => reportAnswer(await orReason(() => health.ready()));
  return [
    route("/health", "Whether it can do its work now; the same as /health/ready", ready),
    route("/health/live", "Whether the process works, never mind the store", () =>
      reportAnswer(health.live()),
    ),
    route("/health/ready", "Whether it can do its work now", ready),
    {
      ...route("/health/detailed", "What a person wants to know of this process", async () =>
        detailedAnswer(await orReason(() => health.detailed()), version, warnings),
      ),
      answers: answers(DetailedSchema),
    },
  ];
}

function route(path: string, summary: string, handle: Route["handle"]): Route {
  return {
    method: "GET",
    path,
    summary,
    access: "open",
    answers: answers(HealthSchema),
    problems: [],
    handle,
  };
}

function answers(schema: typeof HealthSchema | typeof DetailedSchema): Route["answers"] {
  return {
    200: { description: "It is well.", schema },
    503: { description: "It is not; the reason says why.", schema },
  };
}

/** A health question that fails is an answer too. */
async function orReason<T extends HealthReport>(ask: () => Promise<T>): Promise<T | HealthReport> {
  try {
    return await ask();
  } catch (thrown) {
    return { ok: false, reason: messageOf(thrown) };
  }
}

function reportAnswer(report: HealthReport): Answer {
  return json(report.ok ? 200 : 503, statusOf(report));
}

function detailedAnswer(
  report: DetailedHealth | HealthReport,
  version: string,
  warnings: readonly string[],
): Answer {
  const detailed = "facts" in report ? report : { ...report, facts: {}, warnings: [] };
  return json(report.ok ? 200 : 503, {
    ...statusOf(report),
    version,
    warnings: [...warnings, ...detailed.warnings],
    ...detailed.facts,
  });
}

function statusOf({ ok, reason }: HealthReport) {
  return { status: ok ? "ok" : "unavailable", ...(reason !== null && { reason }) };
}
