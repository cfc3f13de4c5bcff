/** A connection to the primary for commands, which cannot hang and cannot die: while it is away, calls fail at once. */

import type { Clock } from "../../core/clock.ts";
import { messageOf, TaskRunnerError } from "../../core/errors.ts";
import { addressText, endpointText, type HostPort, type RedisEndpoint } from "./address.ts";
import { errorOfReply, isReply, isUncallable, RedisUnavailableError, replyCode } from "./command-error.ts";
import { LinkKeeper } from "./keeper.ts";
import { type Duty, Link, LinkError } from "./link.ts";
import type { ConnectionLogger } from "./logger.ts";
import { patiently } from "./patience.ts";
import { fixedPrimary, type PrimaryLocator } from "./primary.ts";
import type { Library, Script } from "./script.ts";
import { SentinelWatch } from "./sentinel.ts";
import { type MessageListener, Subscriber } from "./subscriber.ts";

export {
  parseAddress,
  parseAddresses,
  parseRedisUrl,
  type RedisEndpoint,
  type SentinelEndpoint,
  type StandaloneEndpoint,
} from "./address.ts";
export { RedisReplyError, RedisUnavailableError } from "./command-error.ts";
export { defineScript, type Script } from "./script.ts";

export type CommandArgument = string | number | Buffer;

export interface RedisConnectionOptions {
  readonly logger: ConnectionLogger;
  readonly clock: Clock;
  /** Tries at the start, at least one. */
  readonly connectRetries: number;
  readonly retryIntervalMs: number;
  /**
   * A command unanswered for this long (and a quarter of a second) fails, with everything else in flight, and
   * the connection is made anew.
   */
  readonly commandTimeoutMs: number;
  /** What it is for; CLIENT LIST and the log show it. No spaces. */
  readonly role: string;
  /** Ends the tries at the start, the one under way too; without effect once the connection is there. */
  readonly signal?: AbortSignal;
  /** Called with the reason, one line without secrets, of each try at the start that failed. */
  readonly onFailedTry?: (reason: string) => void;
}

/** How many replicas are to have a call's writes, and how long to wait for them. */
export interface WaitFor {
  readonly replicas: number;
  /** Less than the connection's commandTimeoutMs. */
  readonly timeoutMs: number;
}

export interface CallResult {
  /** Strings, whole numbers, nulls and lists of them. */
  readonly reply: unknown;
  /** Replicas that have all that was written up to this call; 0 when it was not waited for. */
  readonly acked: number;
  /** Stands for the connection it ran on, for {@link RedisConnection.confirm}. */
  readonly ranOn: object;
}

export interface ConnectionState {
  readonly connected: boolean;
  /** Why not; null when connected. */
  readonly reason: string | null;
}

export class RedisConnection {
  readonly #endpoint: RedisEndpoint;
  readonly #options: RedisConnectionOptions;
  readonly #logger: ConnectionLogger;
  readonly #locator: PrimaryLocator;
  readonly #keeper: LinkKeeper;
  readonly #reconnectListeners = new Set<() => void>();
  /** Standstills of a link after which its server was found to be the primary still. */
  readonly #vouchedFor = new WeakMap<Link, number>();
  #subscriber: Subscriber | null = null;
  #closed = false;

  /**
   * Connects, trying `connectRetries` times with one log line for each that fails. Rejects with a
   * TaskRunnerError (`store_unavailable`) of one line at the end, or at once when the login or the server's
   * certificate is refused, or `signal` aborts. From then on it reconnects by itself for as long as it is open.
   */
  static async open(endpoint: RedisEndpoint, options: RedisConnectionOptions): Promise<RedisConnection> {
    const connection = new RedisConnection(endpoint, options);
    try {
      await connection.#start();
      return connection;
    } catch (thrown) {
      await connection.close();
      const where = endpointText(endpoint);
      // The server's address is said once.
      const reason = messageOf(thrown).replace(
        endpoint.kind === "standalone" ? `${addressText(endpoint)}: ` : "",
        "",
      );
      throw new TaskRunnerError("store_unavailable", `cannot connect to ${where}: ${reason}`);
    }
  }

  private constructor(endpoint: RedisEndpoint, options: RedisConnectionOptions) {
    this.#endpoint = endpoint;
    this.#options = options;
    const { clock } = options;
    this.#logger = labelled(options.logger, options.role);
    this.#locator =
      endpoint.kind === "sentinel"
        ? new SentinelWatch({ endpoint, clock, logger: this.#logger, name: this.#clientName() })
        : fixedPrimary(endpoint);
    this.#keeper = new LinkKeeper({
      locator: this.#locator,
      open: (address, signal) => this.#dial(address, "primary", signal),
      onUp: (again) => {
        if (again) for (const listener of [...this.#reconnectListeners]) listener();
      },
      clock,
      tell: (level, facts, message) => this.#logger[level](facts, message),
    });
  }

  /**
   * Runs a script: as a function where it has a library and the server takes one, else by its digest where the server
   * knows it. With `wait`, a WAIT goes right behind it in the
   * same write, so that `acked` is about this very call; it also covers what others wrote before, which is
   * what a repeated call that finds its work done needs. WAIT holds up everything behind it on this
   * connection for as long as replicas do not answer.
   *
   * Rejects with RedisUnavailableError (`store_unavailable`: `mayHaveRun` tells whether the answer was lost),
   * TaskRunnerError (`store_full`), or RedisReplyError for any other answer, as from `redis.error_reply`.
   */
  async call(
    script: Script,
    keys: readonly string[],
    args: readonly CommandArgument[],
    wait?: WaitFor,
  ): Promise<CallResult> {
    if (wait !== undefined && wait.timeoutMs >= this.#options.commandTimeoutMs) {
      throw new RangeError("a WAIT must end before the command's timeout");
    }
    const link = this.#usable();
    const rest = [keys.length, ...keys, ...args];
    try {
      const called = script.library && (await this.#callFunction(link, script.library, rest, wait));
      return called ?? (await this.#callScript(link, script, rest, wait));
    } catch (thrown) {
      throw this.#errorOf(thrown, link);
    }
  }

  /**
   * Waits until replicas have all that was written on the connection `ranOn` so far; how many have. Rejects with
   * RedisUnavailableError when that connection is gone: another primary's word would mean nothing.
   */
  async confirm(ranOn: object, wait: WaitFor): Promise<number> {
    const link = this.#usable();
    if (link !== ranOn)
      throw new RedisUnavailableError("the connection to Redis was lost and made anew", true);
    try {
      return await this.#wait(link, wait);
    } catch (thrown) {
      throw this.#errorOf(thrown, link);
    }
  }

  /** One command that does not block, e.g. `command("HGETALL", key)`; rejects as `call` does. */
  async command(name: string, ...args: CommandArgument[]): Promise<unknown> {
    const link = this.#usable();
    try {
      return await link.send(name.toLowerCase(), args);
    } catch (thrown) {
      throw this.#errorOf(thrown, link);
    }
  }

  /**
   * Listens to a channel, on a connection that all subscriptions share, until the returned function is called.
   * Messages are hints and can be lost; `listener` is called with null whenever that may have happened: each
   * time the subscription starts, the first time too.
   */
  subscribe(channel: string, listener: MessageListener): () => void {
    if (this.#closed) return () => {};
    const { clock } = this.#options;
    this.#subscriber ??= new Subscriber({
      locator: this.#locator,
      open: (address, signal) => this.#dial(address, "server", signal),
      clock,
      logger: this.#logger,
    });
    return this.#subscriber.add(channel, listener);
  }

  /** Calls `listener` each time the connection is back, until the returned function is called. */
  onReconnect(listener: () => void): () => void {
    this.#reconnectListeners.add(listener);
    return () => this.#reconnectListeners.delete(listener);
  }

  state(): ConnectionState {
    return this.#keeper.link === null
      ? { connected: false, reason: this.#keeper.reason }
      : { connected: true, reason: null };
  }

  /** Lets what is in flight end, which the command's timeout bounds, and lets go. Later calls fail. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#subscriber?.close();
    await this.#keeper.link?.idle();
    await this.#keeper.stop("closed");
    this.#locator.close();
  }

  async #start(): Promise<void> {
    const { connectRetries, retryIntervalMs, signal, onFailedTry } = this.#options;
    const tries = Math.max(connectRetries, 1);
    const giveUp = () => {
      this.#locator.close();
      // Never rejects; what is left of it is awaited when the connection is closed.
      void this.#keeper.stop("broken off");
    };
    signal?.addEventListener("abort", giveUp, { once: true });
    try {
      await patiently(
        {
          tries,
          pauseMs: retryIntervalMs,
          signal,
          isPassing: (thrown) => !(thrown instanceof LinkError && thrown.final),
          onFailedTry: (reason, number) => {
            this.#logger.warn({ try: number, of: tries, reason }, "cannot connect to Redis");
            onFailedTry?.(reason);
          },
        },
        () => this.#keeper.connect(),
      );
      if (signal?.aborted) throw new Error("broken off");
    } finally {
      signal?.removeEventListener("abort", giveUp);
    }
    this.#keeper.keep();
    this.#locator.announce();
  }

  #dial(address: HostPort, duty: Duty, signal: AbortSignal): Promise<Link> {
    const { username, password, db, tls } = this.#endpoint;
    const { clock, commandTimeoutMs } = this.#options;
    const login = {
      ...(username === undefined ? {} : { username }),
      ...(password === undefined ? {} : { password }),
    };
    return Link.open(
      {
        target: { ...address, ...login, db, tls },
        duty,
        name: this.#clientName(),
        clock,
        openTimeoutMs: commandTimeoutMs,
        commandTimeoutMs,
      },
      signal,
    );
  }

  async #callScript(
    link: Link,
    script: Script,
    rest: readonly CommandArgument[],
    wait: WaitFor | undefined,
  ): Promise<CallResult> {
    if (!link.learnScript(script.sha1)) {
      try {
        return await this.#run(link, "evalsha", [script.sha1, ...rest], wait);
      } catch (thrown) {
        if (!isReply(thrown) || replyCode(thrown) !== "NOSCRIPT") throw thrown;
      }
    }
    return await this.#run(link, "eval", [script.lua, ...rest], wait);
  }

  /** Undefined, with nothing done, where the server does not take our functions. */
  async #callFunction(
    link: Link,
    library: Library,
    rest: readonly CommandArgument[],
    wait: WaitFor | undefined,
  ): Promise<CallResult | undefined> {
    if (!link.takesFunctions) return undefined;
    for (const load of [false, true]) {
      try {
        // Replaced where another process was faster: it is the same.
        if (load) await link.send("function", ["load", "replace", library.lua]);
      } catch (thrown) {
        if (!isReply(thrown)) throw thrown;
        return this.#withoutFunctions(link, thrown);
      }
      try {
        return await this.#run(link, "fcall", [library.name, ...rest], wait);
      } catch (thrown) {
        if (!isReply(thrown) || !isUncallable(thrown)) throw thrown;
        if (load) return this.#withoutFunctions(link, thrown);
      }
    }
    return undefined;
  }

  #withoutFunctions(link: Link, reply: Error): undefined {
    if (!link.takesFunctions) return;
    link.takesFunctions = false;
    this.#logger.info(
      { reason: messageOf(reply) },
      "Redis takes no functions of ours: scripts do the same at a greater cost a call",
    );
  }

  async #run(
    link: Link,
    name: "eval" | "evalsha" | "fcall",
    args: readonly CommandArgument[],
    wait: WaitFor | undefined,
  ): Promise<CallResult> {
    if (wait === undefined) return { reply: await link.send(name, args), acked: 0, ranOn: link };
    const [reply, acked] = await Promise.all([link.send(name, args), this.#wait(link, wait)]);
    return { reply, acked, ranOn: link };
  }

  /** Replicas that have all that was written on the link; rejects when their word may be worth nothing. */
  async #wait(link: Link, { replicas, timeoutMs }: WaitFor): Promise<number> {
    const acked = Number(await link.send("wait", [replicas, timeoutMs]));
    const { standstills } = link;
    if (acked === 0 || this.#vouchedFor.get(link) === standstills) return acked;
    if (!(await this.#locator.vouch(link.address))) {
      link.drop("it stood still, and may be replaced");
      throw new Error(link.endReason ?? "");
    }
    this.#vouchedFor.set(link, standstills);
    return acked;
  }

  #clientName(): string {
    return `task-runner:${this.#options.role}`;
  }

  #usable(): Link {
    if (this.#closed) throw new RedisUnavailableError("the connection to Redis is closed", false);
    const { link } = this.#keeper;
    if (link === null)
      throw new RedisUnavailableError(`no connection to Redis: ${this.#keeper.reason}`, false);
    return link;
  }

  #errorOf(thrown: unknown, link: Link): Error {
    if (isReply(thrown)) return errorOfReply(thrown);
    return new RedisUnavailableError(
      `the connection to Redis was lost: ${link.endReason ?? messageOf(thrown)}`,
      true,
    );
  }
}

/** Says in every line which connection it is about. */
function labelled(logger: ConnectionLogger, connection: string): ConnectionLogger {
  return {
    debug: (facts, message) => logger.debug({ connection, ...facts }, message),
    info: (facts, message) => logger.info({ connection, ...facts }, message),
    warn: (facts, message) => logger.warn({ connection, ...facts }, message),
  };
}
