/** The commands in Lua, one a file, each with what all of them share put in front. */

import announce from "./lua/announce.lua" with { type: "text" };
import begin from "./lua/begin.lua" with { type: "text" };
import change from "./lua/change.lua" with { type: "text" };
import check from "./lua/check.lua" with { type: "text" };
import counts from "./lua/counts.lua" with { type: "text" };
import enqueue from "./lua/enqueue.lua" with { type: "text" };
import exchange from "./lua/exchange.lua" with { type: "text" };
import extend from "./lua/extend.lua" with { type: "text" };
import page from "./lua/page.lua" with { type: "text" };
import read from "./lua/read.lua" with { type: "text" };
import rescue from "./lua/rescue.lua" with { type: "text" };
import rows from "./lua/rows.lua" with { type: "text" };
import shared from "./lua/shared.lua" with { type: "text" };
import sweep from "./lua/sweep.lua" with { type: "text" };
import workers from "./lua/workers.lua" with { type: "text" };
import { defineScript, type Script } from "./script.ts";

/** Refused as a whole where memory has run out, before it has written anything. */
const NEEDS_MEMORY = "#!lua\n";
/** Runs where memory has run out: it takes work off the store, or must for that. */
const FREES_MEMORY = "#!lua flags=allow-oom\n";

const command = (name: string, flags: string, ...parts: readonly string[]): Script =>
  defineScript(name, `${flags}${[shared, ...parts].join("\n")}`);

/** Every command of the store. Arguments and results stand in the head of each one's file. */
export const SCRIPTS = {
  begin: command("begin", FREES_MEMORY, begin),
  check: command("check", NEEDS_MEMORY, check),
  enqueue: command("enqueue", NEEDS_MEMORY, enqueue),
  exchange: command("exchange", FREES_MEMORY, exchange),
  extend: command("extend", FREES_MEMORY, extend),
  rescue: command("rescue", FREES_MEMORY, rescue),
  sweep: command("sweep", FREES_MEMORY, sweep),
  change: command("change", FREES_MEMORY, rows, change),
  read: command("read", FREES_MEMORY, rows, read),
  page: command("page", FREES_MEMORY, rows, page),
  counts: command("counts", FREES_MEMORY, counts),
  announce: command("announce", FREES_MEMORY, announce),
  workers: command("workers", FREES_MEMORY, workers),
} as const;
