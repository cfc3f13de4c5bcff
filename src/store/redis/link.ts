/** One TCP connection to one server, from login to its end: never reconnected, never silent for long, replaced when it is gone. */

import Redis, { type RedisOptions } from "ioredis";
import type { Clock } from "../../core/clock.ts";
import { messageOf } from "../../core/errors.ts";
import { addressText, type HostPort } from "./address.ts";
import { isReply, isWrongServer, replyCode } from "./command-error.ts";
import { WriteBatch } from "./write-batch.ts";

/** A server and how to log in to it. */
export interface LinkTarget extends HostPort {
  readonly username?: string;
  readonly password?: string;
  readonly db: number;
  readonly tls: boolean;
}

/**
 * What a server must be, both when the connection opens and later, once a second: a `primary` that takes
 * writes, a `server` that answers, or a `sentinel`, which is asked often enough by itself.
 */
export type Duty = "primary" | "server" | "sentinel";

export interface LinkOptions {
  readonly target: LinkTarget;
  readonly duty: Duty;
  /** How CLIENT LIST shows it. */
  readonly name: string;
  readonly clock: Clock;
  /** From dialling until the server has shown that it is the right one. */
  readonly openTimeoutMs: number;
  /** A command unanswered for this long ends the connection; noticed at most {@link TICK_MS} later. */
  readonly commandTimeoutMs: number;
}

/** Why a connection could not be opened. */
export class LinkError extends Error {
  /** Trying again with the same settings is of no use: the login, the database or the certificate is refused. */
  readonly final: boolean;

  constructor(message: string, final: boolean) {
    super(message);
    this.name = "LinkError";
    this.final = final;
  }
}

/** The grain of the watch kept on a connection while something is unanswered. */
export const TICK_MS = 250;
/** So long after the server last showed what it is, it is asked. */
const HEARTBEAT_MS = 1_000;
/**
 * What only a primary answers: a replica refuses a function that may write before it runs. A script's answer proves
 * nothing, as one without a write runs anywhere.
 */
const PROOF_OF_PRIMARY = "fcall";
const KEEP_ALIVE_MS = 10_000;
/** An answer that took longer, or silence that lasted longer in spite of the heartbeats, is a standstill. */
const SLOW_MS = 500;
const SILENT_MS = 1_500;
/** Answers to a login that stay the same however often it is tried. */
const REFUSALS: readonly { readonly answer: RegExp; readonly meaning: string }[] = [
  { answer: /^(?:WRONGPASS|ERR invalid password)/, meaning: "the password, or the user, is wrong" },
  { answer: /^NOAUTH/, meaning: "it wants a password, and none is set" },
  { answer: /^NOPERM/, meaning: "the user may not do what is needed" },
  { answer: /DB index is out of range/i, meaning: "it has no database of that number" },
];
/** What TLS says of a certificate that does not prove who the server is. */
const UNPROVEN = /certificate/i;

/**
 * A logged-in connection to a server that has shown what it is. It is used once: ioredis' own reconnecting is
 * off, because with it commands in flight either run twice or, with resending off, are never settled. When it
 * ends, for whatever reason, everything in flight is rejected at once and `closed` resolves.
 */
export class Link {
  readonly address: HostPort;
  /** Resolves with the reason when the connection has ended; never rejects. */
  readonly closed: Promise<string>;
  readonly #client: Redis;
  readonly #options: LinkOptions;
  readonly #batch: WriteBatch;
  readonly #resolveClosed: (reason: string) => void;
  readonly #knownScripts = new Set<string>();
  /** Set to false once the server was found not to take functions of ours. */
  takesFunctions = true;
  #endReason: string | null = null;
  #lastError: string | null = null;
  #cancelTick: (() => void) | null = null;
  /** Nothing was unanswered at the last tick, and the next one is as far away as the heartbeat allows. */
  #resting = false;
  /** How many commands were sent at each of the last ticks; empty after a rest. */
  #sentAtTicks: number[] = [];
  /** When the server was last asked what it is, or showed it unasked. */
  #assuredAtMs = performance.now();
  #sent = 0;
  #settled = 0;
  #tellIdle: () => void = () => {};
  #standstills = 1;
  #heardAtMs = performance.now();

  /**
   * Connects, logs in and checks the server. Rejects with a {@link LinkError} whose message is one line without
   * a secret; `signal` breaks it off.
   */
  static async open(options: LinkOptions, signal?: AbortSignal): Promise<Link> {
    const link = new Link(options);
    const giveUp = () => link.drop("broken off");
    const cancelDeadline = options.clock.after(options.openTimeoutMs, () =>
      link.drop(`no answer within ${options.openTimeoutMs} ms`),
    );
    signal?.addEventListener("abort", giveUp, { once: true });
    try {
      if (signal?.aborted) giveUp();
      // Raced, so that nothing ioredis may wait for can hold us longer than the deadline.
      await Promise.race([link.#prepare(), link.closed.then((reason) => Promise.reject(new Error(reason)))]);
      link.#armTick();
      return link;
    } catch (thrown) {
      const error = link.#openError(thrown);
      link.drop(error.message);
      throw error;
    } finally {
      cancelDeadline();
      signal?.removeEventListener("abort", giveUp);
    }
  }

  private constructor(options: LinkOptions) {
    const { promise, resolve } = Promise.withResolvers<string>();
    this.closed = promise;
    this.#resolveClosed = resolve;
    this.#options = options;
    this.address = { host: options.target.host, port: options.target.port };
    this.#client = new Redis(clientOptions(options));
    this.#batch = new WriteBatch(this.#client);
    this.#client.on("error", (error: Error) => {
      this.#lastError ??= describe(error);
    });
    this.#client.on("close", () => this.drop(this.#lastError ?? "the server closed the connection"));
  }

  get isOpen(): boolean {
    return this.#endReason === null;
  }

  /** Why it ended; null while it is open. */
  get endReason(): string | null {
    return this.#endReason;
  }

  /** Calls `listener` with every message of the channels subscribed to. */
  onMessage(listener: (channel: string, message: string) => void): void {
    this.#client.on("message", listener);
  }

  /**
   * Sends one command, together with all others of this turn of the event loop, in order. Rejects with what
   * Redis answered, or with any other error when the connection ended first.
   */
  async send(name: string, args: readonly (string | number | Buffer)[]): Promise<unknown> {
    const command = new Redis.Command(name, args as (string | number | Buffer)[], { replyEncoding: "utf8" });
    const sentAtMs = performance.now();
    this.#sent++;
    if (this.#resting) this.#armTick();
    this.#client.sendCommand(command, this.#batch.stream);
    try {
      const reply = await command.promise;
      this.#heard(sentAtMs);
      if (name === PROOF_OF_PRIMARY) this.#assuredAtMs = this.#heardAtMs;
      return reply;
    } catch (thrown) {
      if (isReply(thrown) && isWrongServer(thrown)) this.drop(messageOf(thrown));
      throw thrown;
    } finally {
      // Answers come in the order of the commands, so a count tells how old the oldest unanswered one is.
      this.#settled++;
      if (this.#settled === this.#sent) this.#tellIdle();
    }
  }

  /**
   * How often the server stood still so far, its opening counted as once: each time it may have been replaced
   * meanwhile without knowing it.
   */
  get standstills(): number {
    return this.#standstills;
  }

  #heard(sentAtMs: number): void {
    const now = performance.now();
    if (now - sentAtMs > SLOW_MS || now - this.#heardAtMs > SILENT_MS) this.#standstills++;
    this.#heardAtMs = now;
  }

  /** Resolves when nothing is in flight. */
  async idle(): Promise<void> {
    if (this.#settled === this.#sent) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#tellIdle = resolve;
    await promise;
  }

  /** True the first time it is asked about a script: the server behind this connection may not have it yet. */
  learnScript(sha1: string): boolean {
    if (this.#knownScripts.has(sha1)) return false;
    this.#knownScripts.add(sha1);
    return true;
  }

  /** Ends the connection at once and rejects what is in flight. Later calls do nothing. */
  drop(reason: string): void {
    if (this.#endReason !== null) return;
    this.#endReason = reason;
    this.#cancelTick?.();
    // Not `disconnect()` alone: that says goodbye first, and a server that stands still would be waited for.
    this.#socket?.destroy();
    if (this.#client.status !== "end") this.#client.disconnect();
    this.#resolveClosed(reason);
  }

  /** Missing until ioredis has begun to dial. */
  get #socket(): { destroy(): void } | undefined {
    return this.#client.stream;
  }

  async #prepare(): Promise<void> {
    await this.#client.connect();
    // ioredis goes on after a SELECT that was refused, in database 0.
    if (this.#lastError !== null) throw new Error(this.#lastError);
    if (this.#options.duty === "sentinel") return;
    const [role] = await Promise.all([this.#role(), this.send("ping", [])]);
    if (this.#options.duty === "primary" && role !== "master")
      throw new Error("it is a replica, not the primary");
  }

  /** `master` or `slave`; what a user without the permission to ask cannot know is taken to be right. */
  async #role(): Promise<string> {
    try {
      return String(((await this.send("role", [])) as unknown[])[0]);
    } catch (thrown) {
      if (isReply(thrown) && replyCode(thrown) === "NOPERM") return "master";
      throw thrown;
    }
  }

  /** Ends the connection when the oldest unanswered command is too old, and sends the heartbeats. */
  #tick(): void {
    const overdueTicks = Math.ceil(this.#options.commandTimeoutMs / TICK_MS);
    this.#sentAtTicks.push(this.#sent);
    const longAgo = this.#sentAtTicks.length > overdueTicks ? this.#sentAtTicks.shift() : undefined;
    if (longAgo !== undefined && this.#settled < longAgo) {
      this.drop(`no answer within ${this.#options.commandTimeoutMs} ms`);
      return;
    }
    if (performance.now() - this.#assuredAtMs >= HEARTBEAT_MS) this.#beat();
    this.#armTick();
  }

  /** The next tick: soon while something is unanswered, else when a heartbeat is due. A process that idles wakes up less often. */
  #armTick(): void {
    if (!this.isOpen) return;
    this.#cancelTick?.();
    this.#resting = this.#settled === this.#sent;
    if (this.#resting) this.#sentAtTicks = [];
    const dueMs = this.#assuredAtMs + HEARTBEAT_MS - performance.now();
    const delayMs = this.#resting ? Math.max(Math.ceil(dueMs), TICK_MS) : TICK_MS;
    this.#cancelTick = this.#options.clock.after(delayMs, () => this.#tick());
  }

  #beat(): void {
    this.#assuredAtMs = performance.now();
    const { duty } = this.#options;
    if (duty === "sentinel") return;
    const asked =
      duty === "server"
        ? this.send("ping", [])
        : this.#role().then((role) => {
            if (role !== "master") this.drop("it has become a replica");
          });
    // Whatever else is answered, the server lives; and one that is gone ends the connection by itself.
    asked.catch(() => {});
  }

  #openError(thrown: unknown): LinkError {
    const reason = this.#lastError ?? this.#endReason ?? describe(thrown);
    if (this.#options.target.tls && UNPROVEN.test(reason)) {
      return new LinkError(`${addressText(this.address)}: its TLS certificate is refused: ${reason}`, true);
    }
    const refusal = REFUSALS.find(({ answer }) => answer.test(reason));
    return new LinkError(
      `${addressText(this.address)}: ${refusal?.meaning ?? reason}`,
      refusal !== undefined,
    );
  }
}

function clientOptions({ target, name, openTimeoutMs }: LinkOptions) {
  return {
    host: target.host,
    port: target.port,
    db: target.db,
    ...(target.username === undefined ? {} : { username: target.username }),
    ...(target.password === undefined ? {} : { password: target.password }),
    ...(target.tls ? { tls: {} } : {}),
    connectionName: name,
    lazyConnect: true,
    connectTimeout: openTimeoutMs,
    disconnectTimeout: 0,
    keepAlive: KEEP_ALIVE_MS,
    // A number here would make ioredis reconnect by itself.
    retryStrategy: () => null,
    autoResendUnfulfilledCommands: false,
    autoResubscribe: false,
    enableOfflineQueue: false,
    // Ours asks for the role too, and does not wait in silence for a server that loads.
    enableReadyCheck: false,
    maxRetriesPerRequest: null,
  } satisfies RedisOptions;
}

/** One line on what went wrong: the message, or the system's code where there is none. */
function describe(thrown: unknown): string {
  const message = messageOf(thrown);
  if (message !== "") return message;
  const code = (thrown as { code?: unknown } | null)?.code;
  return typeof code === "string" ? code : "the connection failed";
}
