/** What a failed Redis command means to us, told by the first word of its answer; built afresh, so that no argument leaks out. */

import { messageOf, TaskRunnerError } from "../../core/errors.ts";

/** Soon enough to meet the end of a failover, late enough not to add to it. */
const RETRY_AFTER_SEC = 1;
/** Memory comes free as work drains or retention sweeps. */
const FULL_RETRY_AFTER_SEC = 5;

/** Redis cannot be used right now. */
export class RedisUnavailableError extends TaskRunnerError {
  /**
   * False when the command certainly did nothing. True when its answer was lost: it may have run, so repeat it
   * only where its token makes that harmless.
   */
  readonly mayHaveRun: boolean;

  constructor(message: string, mayHaveRun: boolean) {
    super("store_unavailable", message, { retryAfterSec: RETRY_AFTER_SEC });
    this.name = "RedisUnavailableError";
    this.mayHaveRun = mayHaveRun;
  }
}

/** Redis, or a script of ours through `redis.error_reply`, refused a command: a result to act on, or a bug. */
export class RedisReplyError extends Error {
  /** The first word, in capitals as Redis has it, e.g. `WRONGTYPE`. */
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.name = "RedisReplyError";
    this.code = code;
  }
}

/** The server that answers with one of these is not, or no longer, one that takes our commands. */
const WRONG_SERVER = new Set(["READONLY", "LOADING", "MASTERDOWN", "UNBLOCKED", "NOAUTH"]);
/** The right server, for now unable or unwilling. Like the ones above, the command did nothing. */
const NOT_NOW = new Set(["NOREPLICAS", "MISCONF", "BUSY", "CLUSTERDOWN", "TRYAGAIN"]);

/** Whether Redis itself gave this answer, as opposed to a connection that failed. */
export function isReply(thrown: unknown): thrown is Error {
  return thrown instanceof Error && thrown.name === "ReplyError";
}

/** The first word of an answer, e.g. `NOSCRIPT`. */
export function replyCode(reply: Error): string {
  return /^[A-Z][A-Z0-9_]*(?= |$)/.exec(reply.message)?.[0] ?? "ERR";
}

const UNCALLABLE = /^(?:ERR Function not found$|(?:NOPERM|ERR unknown command) .*'fcall')/i;

/** Whether the server has no such function, or none that we may call: FCALL has not run anything. */
export function isUncallable(reply: Error): boolean {
  return UNCALLABLE.test(reply.message);
}

/** Whether the connection must be given up, because the server behind it is the wrong one. */
export function isWrongServer(reply: Error): boolean {
  return WRONG_SERVER.has(replyCode(reply));
}

/** The error that callers see for an error answer of Redis. */
export function errorOfReply(reply: Error): TaskRunnerError | RedisReplyError {
  const code = replyCode(reply);
  const message = messageOf(reply);
  if (code === "OOM") {
    return new TaskRunnerError("store_full", "the store cannot take more: Redis is at its maxmemory", {
      retryAfterSec: FULL_RETRY_AFTER_SEC,
    });
  }
  if (WRONG_SERVER.has(code) || NOT_NOW.has(code)) {
    return new RedisUnavailableError(`Redis does not take commands now: ${message}`, false);
  }
  return new RedisReplyError(code, message);
}
