/** The commands in Lua, one a file, each with what all of them share put in front. */

import absent from "./lua/absent.lua" with { type: "text" };
import accept from "./lua/accept.lua" with { type: "text" };
import announce from "./lua/announce.lua" with { type: "text" };
import audit from "./lua/audit.lua" with { type: "text" };
import base from "./lua/base.lua" with { type: "text" };
import begin from "./lua/begin.lua" with { type: "text" };
import change from "./lua/change.lua" with { type: "text" };
import check from "./lua/check.lua" with { type: "text" };
import counts from "./lua/counts.lua" with { type: "text" };
import enqueue from "./lua/enqueue.lua" with { type: "text" };
import entries from "./lua/entries.lua" with { type: "text" };
import exchange from "./lua/exchange.lua" with { type: "text" };
import extend from "./lua/extend.lua" with { type: "text" };
import forget from "./lua/forget.lua" with { type: "text" };
import held from "./lua/held.lua" with { type: "text" };
import hold from "./lua/hold.lua" with { type: "text" };
import holder from "./lua/holder.lua" with { type: "text" };
import hosts from "./lua/hosts.lua" with { type: "text" };
import inspect from "./lua/inspect.lua" with { type: "text" };
import library from "./lua/library.lua" with { type: "text" };
import limits from "./lua/limits.lua" with { type: "text" };
import listed from "./lua/listed.lua" with { type: "text" };
import logged from "./lua/logged.lua" with { type: "text" };
import oldest from "./lua/oldest.lua" with { type: "text" };
import page from "./lua/page.lua" with { type: "text" };
import purge from "./lua/purge.lua" with { type: "text" };
import purgeStep from "./lua/purge_step.lua" with { type: "text" };
import purges from "./lua/purges.lua" with { type: "text" };
import read from "./lua/read.lua" with { type: "text" };
import record from "./lua/record.lua" with { type: "text" };
import replay from "./lua/replay.lua" with { type: "text" };
import replayMany from "./lua/replay_many.lua" with { type: "text" };
import rescue from "./lua/rescue.lua" with { type: "text" };
import restore from "./lua/restore.lua" with { type: "text" };
import rows from "./lua/rows.lua" with { type: "text" };
import script from "./lua/script.lua" with { type: "text" };
import settings from "./lua/settings.lua" with { type: "text" };
import shared from "./lua/shared.lua" with { type: "text" };
import sweep from "./lua/sweep.lua" with { type: "text" };
import use from "./lua/use.lua" with { type: "text" };
import workers from "./lua/workers.lua" with { type: "text" };
import { defineLibrary, defineScript, type Script } from "./script.ts";

/** Refused as a whole where memory has run out, before it has written anything. */
const NEEDS_MEMORY = "needs memory";
/** Runs where memory has run out: it takes work off the store, or must for that. */
const FREES_MEMORY = "frees memory";
type Memory = typeof NEEDS_MEMORY | typeof FREES_MEMORY;
const SCRIPT_HEADS = { [NEEDS_MEMORY]: "#!lua\n", [FREES_MEMORY]: "#!lua flags=allow-oom\n" };
const FUNCTION_FLAGS = { [NEEDS_MEMORY]: "", [FREES_MEMORY]: "'allow-oom'" };

/** What a command takes after the common arguments, and what it answers; both stand in the head of its file. */
export interface Command<Args extends readonly Argument[], Reply> extends Script {
  /** Never there: it ties the types to the script, so that no call can mistake them. */
  readonly signature?: (...args: Args) => Reply;
}
export type Argument = string | number;

const command = <Args extends readonly Argument[], Reply>(
  name: string,
  memory: Memory,
  ...parts: readonly string[]
): Command<Args, Reply> =>
  defineScript(name, `${SCRIPT_HEADS[memory]}${script}\n${nested(base, shared, parts.join("\n"))}`);

/** One whose last part hands over to `run`: called so often that what a call costs beside its work matters. */
const frequent = <Args extends readonly Argument[], Reply>(
  name: string,
  memory: Memory,
  ...parts: readonly string[]
): Command<Args, Reply> => ({
  ...command<Args, Reply>(name, memory, ...parts),
  library: defineLibrary(
    name,
    library.replace("FLAGS", FUNCTION_FLAGS[memory]),
    nested(base, shared, parts.join("\n")),
  ),
});

/**
 * Each part in a function within the one before it. Redis runs a script from its top at every call, and Lua looks
 * through all captured names of the function at hand for each that a new function captures, but takes those of the
 * functions around it as they are: this spares a call about ten microseconds.
 */
function nested(...parts: readonly string[]): string {
  return parts.reduceRight((inner, part) => `${part}\nreturn (function()\n${inner}\nend)()`);
}

/** Milliseconds that names stay taken, that succeeded and cancelled tasks are kept, and that dead ones are. */
export type Ends = readonly [namesMs: number, succeededMs: number, deadMs: number];

/** Letters of the settlements, next, turns, tasks, lanes, time, next end of a lease, ids of probes. */
export type ExchangeReply = [
  settled: string,
  next: string,
  turns: string,
  tasks: Argument[],
  lanes: string[],
  now: string,
  leaseEnd: string,
  probes: string[],
];

/** An entry for the audit, with a token of the call that brings it. */
export type Entry = readonly [token: string, json: string, mostEntries: number];

/** All as text. */
export type PurgeReply = [queue: string, started: string, removed: string, share: string];

/** Part, where to begin, records, whether to mend, retentions, how long names stay taken, what the part asks for. */
export type InspectArguments = readonly [
  part: string,
  begin: string,
  limit: number,
  repair: 0 | 1,
  succeededMs: number,
  deadMs: number,
  namesMs: number,
  ...asked: Argument[],
];

/** Where to go on, records looked at, things left out, four for each violation, what the part answers. */
export type InspectReply = [
  next: string,
  looked: string,
  skipped: string,
  violations: string[],
  answer: string[],
];

export type ChangeReply =
  | ["changed", row: readonly string[]]
  | ["conflict", state: string]
  | ["missing", nothing: undefined];

/** Every command of the store. */
export const SCRIPTS = {
  begin: command<[version: number, defaultTier: string, ...settings: string[]], string[]>(
    "begin",
    FREES_MEMORY,
    begin,
  ),
  check: command<[], number>("check", NEEDS_MEMORY, check),
  enqueue: frequent<[autoCreate: 0 | 1, ...tasks: string[]], string[]>(
    "enqueue",
    NEEDS_MEMORY,
    limits,
    accept,
    enqueue,
  ),
  exchange: frequent<Argument[], ExchangeReply>("exchange", FREES_MEMORY, limits, accept, hosts, exchange),
  extend: frequent<[leaseMs: number, ...idsAndFences: Argument[]], string>(
    "extend",
    FREES_MEMORY,
    limits,
    extend,
  ),
  rescue: command<[cancelledMs: number, limit: number], string[]>("rescue", FREES_MEMORY, limits, rescue),
  sweep: command<[limit: number, pressed: 0 | 1], [tasks: number, names: number]>(
    "sweep",
    FREES_MEMORY,
    limits,
    sweep,
  ),
  change: command<[namesMs: number, cancelledMs: number, id: string, ...what: Argument[]], ChangeReply>(
    "change",
    FREES_MEMORY,
    limits,
    hosts,
    rows,
    replay,
    change,
  ),
  replayMany: command<Argument[], string[]>("replayMany", FREES_MEMORY, limits, replay, replayMany),
  forget: command<string[], number>("forget", FREES_MEMORY, limits, forget),
  holder: command<[id: string], string | null>("holder", FREES_MEMORY, holder),
  read: command<[id: string], readonly string[] | null>("read", FREES_MEMORY, rows, read),
  page: command<
    [
      before: string,
      limit: number,
      queue: string,
      client: string,
      states: string,
      fromMs: number,
      toMs: number,
    ],
    [place: string, ...rows: (readonly string[])[]]
  >("page", FREES_MEMORY, rows, page),
  counts: command<[], [counts: string[], lanes: string[]]>("counts", FREES_MEMORY, counts),
  oldest: command<string[], string[]>("oldest", FREES_MEMORY, oldest),
  announce: command<[worker: string, info: string], number>("announce", FREES_MEMORY, announce),
  workers: command<[withinMs: number], string[]>("workers", FREES_MEMORY, workers),
  settings: command<
    [field: string, from: string, json: string, packed: string, restricted: 0 | 1, ...Entry],
    number
  >("settings", FREES_MEMORY, limits, entries, settings),
  listed: command<[letter: string, after: string, limit: number], string[]>("listed", FREES_MEMORY, listed),
  use: command<string[], string[]>("use", FREES_MEMORY, limits, purges, use),
  purge: command<[queue: string, ...Entry], number>("purge", FREES_MEMORY, entries, purges, purge),
  purgeStep: command<[limit: number], PurgeReply | null>(
    "purgeStep",
    FREES_MEMORY,
    limits,
    hosts,
    purges,
    purgeStep,
  ),
  record: command<Entry, number>("record", FREES_MEMORY, entries, record),
  hold: command<[host: string, forMs: number | "", most: number], number>("hold", FREES_MEMORY, hold),
  held: command<[limit: number], string[]>("held", FREES_MEMORY, held),
  inspect: command<InspectArguments, InspectReply>("inspect", FREES_MEMORY, limits, inspect),
  absent: command<string[], string[]>("absent", FREES_MEMORY, absent),
  logged: command<[before: string, segments: number], [next: string, ...ids: string[]]>(
    "logged",
    FREES_MEMORY,
    logged,
  ),
  restore: command<string[], string[]>("restore", NEEDS_MEMORY, limits, accept, restore),
  audit: command<[before: string, limit: number], string[]>("audit", FREES_MEMORY, audit),
} as const;
