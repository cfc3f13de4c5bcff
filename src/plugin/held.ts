/** Holds a plugin's transport to what nobody has checked of it: the form of its outcomes, and its clients' lists of hosts. */

import { Buffer } from "node:buffer";
import { hostMatcher } from "../core/host-list.ts";
import type { Target } from "../core/task.ts";
import {
  type Delivery,
  FAILURE_CAUSES,
  type FailureCause,
  type Outcome,
  type TargetProblem,
  type Transport,
} from "../core/transport.ts";
import { reasonOf } from "./fault.ts";
import { failed, problem } from "./outcomes.ts";

const MAX_EXCERPT_BYTES = 1_024;
const MAX_WORDS = 300;
/** A task cannot be planned further ahead either. */
const MAX_WAIT_MS = 366 * 86_400_000;

/**
 * The same transport, whose outcomes are complete and bounded, and which is not asked to call a host that the task's
 * client may not have called. What is no outcome rejects, for the worker to tell.
 */
export function heldToContract(transport: Transport): Transport {
  return {
    name: transport.name,
    schemes: Object.freeze([...transport.schemes]),
    check: (target) => judged(transport, target),
    deliver: async (delivery, signal) =>
      refusedHost(delivery) ?? completed(await transport.deliver(delivery, signal)),
    close: async () => transport.close(),
  };
}

/** The problems of a target, complete; one of its own where the transport cannot tell: such a task could not be delivered. */
function judged(transport: Transport, target: Target): readonly TargetProblem[] {
  try {
    return [...transport.check(target)].map(({ path, message, forbidden }) =>
      problem(
        typeof path === "string" ? path : "task.url",
        words(message, "is not allowed"),
        forbidden === true,
      ),
    );
  } catch (thrown) {
    return [problem("task.url", `cannot be judged, for its transport is broken: ${reasonOf(thrown)}`)];
  }
}

/** The list may have changed since the task was accepted. Null where nothing stands against the host. */
function refusedHost({ allowedHosts, target }: Delivery): Outcome | null {
  if (allowedHosts === null) return null;
  const host = URL.parse(target.url)?.hostname ?? "";
  if (hostMatcher(allowedHosts)(host)) return null;
  return failed(`host "${host}" is not among the client's allowed_hosts`, {
    permanent: true,
    cause: "forbidden",
  });
}

/** An outcome with every field that belongs to it. Throws for what is none. */
export function completed(outcome: unknown): Outcome {
  const given = (typeof outcome === "object" && outcome !== null ? outcome : {}) as Record<string, unknown>;
  switch (given.kind) {
    case "delivered":
      return {
        kind: "delivered",
        status: wholeOrNull(given.status),
        responseExcerpt: excerptOrNull(given.responseExcerpt),
      };
    case "failed":
      return {
        kind: "failed",
        status: wholeOrNull(given.status),
        error: words(given.error, "the transport gave no reason"),
        ...causeIn(given.cause),
        responseExcerpt: excerptOrNull(given.responseExcerpt),
        permanent: given.permanent === true,
        retryAfterMs: given.retryAfterMs == null ? null : durationMs(given.retryAfterMs),
        hostAtFault: given.hostAtFault === true,
      };
    case "deferred":
      return {
        kind: "deferred",
        afterMs: durationMs(given.afterMs),
        reason: words(given.reason, "the transport gave no reason"),
      };
    default:
      throw new Error("it gave no outcome");
  }
}

/** Nothing for a word that is none of the few. */
function causeIn(value: unknown): { readonly cause?: FailureCause } {
  const cause = FAILURE_CAUSES.find((word) => word === value);
  return cause === undefined ? {} : { cause };
}

function wholeOrNull(value: unknown): number | null {
  return Number.isSafeInteger(value) ? Number(value) : null;
}

/** Zero for what is no duration. */
function durationMs(value: unknown): number {
  return typeof value === "number" && value > 0 ? Math.min(Math.ceil(value), MAX_WAIT_MS) : 0;
}

function words(value: unknown, otherwise: string): string {
  const line = typeof value === "string" ? value.replace(/\s+/g, " ").trim() : "";
  return line === "" ? otherwise : line.slice(0, MAX_WORDS).toWellFormed();
}

function excerptOrNull(value: unknown): string | null {
  if (typeof value !== "string") return null;
  const text = value.slice(0, MAX_EXCERPT_BYTES).toWellFormed();
  const bytes = Buffer.from(text);
  if (bytes.length <= MAX_EXCERPT_BYTES) return text;
  // Characters that the cut went through are left out whole.
  return new TextDecoder().decode(bytes.subarray(0, MAX_EXCERPT_BYTES), { stream: true });
}
