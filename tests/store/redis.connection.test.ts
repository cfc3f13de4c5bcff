/** The connection to Redis under every fault that happens to it, each of them a real one. */

import { afterAll, beforeAll, describe, expect, type Mock, spyOn, test } from "bun:test";
import { inspect } from "node:util";
import { TaskRunnerError } from "../../src/core/errors.ts";
import { systemClock } from "../../src/runtime.ts";
import {
  type CommandArgument,
  defineScript,
  parseRedisUrl,
  RedisConnection,
  type RedisConnectionOptions,
  type RedisEndpoint,
  RedisReplyError,
  RedisUnavailableError,
  type SentinelEndpoint,
} from "../../src/store/redis/connection.ts";
import {
  type RedisProcess,
  type SentinelCluster,
  type StandaloneRedis,
  startBalancer,
  startRedis,
  startSentinelCluster,
  until,
} from "../support/redis.ts";

const PASSWORD = "first-secret";
const SENTINEL_PASSWORD = "second-secret";
const WRONG_PASSWORD = "third-secret";
/** What no answer of ours may take, whatever Redis does. */
const LONGEST_CALL_MS = 3_000;
/** From Sentinel's switch until calls work again. */
const BACK_MS = 2_000;

const add = defineScript("add", "return redis.call('INCRBY', KEYS[1], ARGV[1])");
const KEY = "{t}n";

/** Everything that was logged or thrown at us; searched for passwords at the end. */
const said: unknown[] = [];
const logged: { readonly level: string; readonly facts: object; readonly message: string }[] = [];
const logger: RedisConnectionOptions["logger"] = {
  debug: (facts, message) => logged.push({ level: "debug", facts, message }),
  info: (facts, message) => logged.push({ level: "info", facts, message }),
  warn: (facts, message) => logged.push({ level: "warn", facts, message }),
};
let printed: Mock<typeof console.error>[];

beforeAll(() => {
  // ioredis prints what nobody listens to.
  printed = [spyOn(console, "error"), spyOn(console, "warn")];
});

afterAll(() => {
  for (const spy of printed) {
    expect(spy).not.toHaveBeenCalled();
    spy.mockRestore();
  }
  expect(said.length).toBeGreaterThan(0);
  const everything = inspect([...said, ...logged], { depth: 10, showHidden: true });
  for (const secret of [PASSWORD, SENTINEL_PASSWORD, WRONG_PASSWORD])
    expect(everything).not.toContain(secret);
});

function open(
  endpoint: RedisEndpoint,
  overrides: Partial<RedisConnectionOptions> = {},
): Promise<RedisConnection> {
  return RedisConnection.open(endpoint, {
    logger,
    clock: systemClock,
    connectRetries: 5,
    retryIntervalMs: 200,
    commandTimeoutMs: 2_000,
    role: "test",
    ...overrides,
  });
}

function endpointOf(cluster: SentinelCluster): SentinelEndpoint {
  const endpoint = parseRedisUrl(cluster.url);
  if (endpoint.kind !== "sentinel" || cluster.sentinelPassword === null)
    throw new Error("not what was started");
  return { ...endpoint, sentinelPassword: cluster.sentinelPassword };
}

/** What a promise rejects with. */
async function failure(promise: Promise<unknown>): Promise<Error> {
  try {
    await promise;
  } catch (thrown) {
    said.push(thrown);
    if (thrown instanceof Error) return thrown;
  }
  throw new Error("it did not fail");
}

async function unavailable(promise: Promise<unknown>): Promise<RedisUnavailableError> {
  const error = await failure(promise);
  expect(error).toBeInstanceOf(RedisUnavailableError);
  expect(error).toMatchObject({ code: "store_unavailable", retryAfterSec: 1 });
  return error as RedisUnavailableError;
}

async function timedMs(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return performance.now() - began;
}

/** Callers that go on calling whatever happens, and keep book. */
class Callers {
  slowestMs = 0;
  done = 0;
  failed = 0;
  /** Failures that are not store_unavailable with a time to retry after. */
  readonly odd: unknown[] = [];
  readonly #runs: Promise<void>[];
  #stopping = false;

  constructor(connection: RedisConnection, count: number) {
    this.#runs = Array.from({ length: count }, () => this.#run(connection));
  }

  /** Resolves at the next call that works. */
  async nextSuccess(withinMs: number): Promise<void> {
    const { done } = this;
    await until("a call works", withinMs, () => this.done > done);
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await Promise.all(this.#runs);
  }

  async #run(connection: RedisConnection): Promise<void> {
    while (!this.#stopping) {
      const began = performance.now();
      try {
        await connection.call(add, [KEY], [1], { replicas: 0, timeoutMs: 500 });
        this.done++;
      } catch (thrown) {
        this.failed++;
        if (said.length < 1_000) said.push(thrown);
        const expected = thrown instanceof TaskRunnerError && thrown.code === "store_unavailable";
        if (!expected || thrown.retryAfterSec !== 1) this.odd.push(thrown);
      }
      this.slowestMs = Math.max(this.slowestMs, performance.now() - began);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
}

describe("a single Redis", () => {
  let redis: StandaloneRedis;
  let connection: RedisConnection;

  beforeAll(async () => {
    redis = await startRedis({ password: PASSWORD });
    connection = await open(parseRedisUrl(redis.url), { commandTimeoutMs: 1_000 });
  });

  afterAll(async () => {
    await connection.close();
    await redis.stop();
  });

  /** Waits until calls work again after a fault. */
  const recovered = () => until("a call works", 5_000, () => connection.call(add, [KEY], [0]));

  test("runs scripts with keys and arguments, text and bytes, and gives their reply", async () => {
    const echo = defineScript("echo", "return {KEYS[1], ARGV[1], ARGV[2], #ARGV[2], false}");
    const bytes = Buffer.from([0xc3, 0xa9, 0x0d, 0x0a]);
    const { reply, acked } = await connection.call(echo, ["{t}ключ"], [7, bytes]);
    expect(reply).toEqual(["{t}ключ", "7", "é\r\n", 4, null]);
    expect(acked).toBe(0);
  });

  test("sends calls of one turn in their order, whatever they carry", async () => {
    const append = defineScript("append", "redis.call('RPUSH', KEYS[1], ARGV[1]) return ARGV[1]");
    const sent: CommandArgument[] = Array.from({ length: 200 }, (_, at) =>
      at % 3 === 0 ? Buffer.from(`b${at}`) : at % 3 === 1 ? `s${at}` : "x".repeat(20_000) + at,
    );
    const replies = await Promise.all(sent.map((each) => connection.call(append, ["{t}order"], [each])));
    const expected = sent.map(String);
    expect(replies.map(({ reply }) => reply)).toEqual(expected);
    expect(await connection.command("LRANGE", "{t}order", 0, -1)).toEqual(expected);
  });

  test("runs a script that the server has forgotten", async () => {
    const { reply: before } = await connection.call(add, ["{t}flush"], [1]);
    await redis.process.command("SCRIPT", "FLUSH");
    const { reply } = await connection.call(add, ["{t}flush"], [1], { replicas: 0, timeoutMs: 100 });
    expect([before, reply]).toEqual([1, 2]);
  });

  test("passes on what a script refuses, with the first word as code", async () => {
    const refuse = defineScript("refuse", "return redis.error_reply('STALE_LEASE of task 7')");
    const error = await failure(connection.call(refuse, [], []));
    expect(error).toBeInstanceOf(RedisReplyError);
    expect(error).toMatchObject({ code: "STALE_LEASE", message: "STALE_LEASE of task 7" });
  });

  test("tells that Redis is full, while scripts that free memory go on", async () => {
    await connection.command("SET", "{t}ballast", "x");
    await redis.process.command("CONFIG", "SET", "maxmemory", 1);
    try {
      const error = await failure(connection.call(add, [KEY], [1]));
      expect(error).toMatchObject({ code: "store_full", retryAfterSec: 5 });
      const free = defineScript("free", "return redis.call('DEL', KEYS[1])");
      expect((await connection.call(free, ["{t}ballast"], [])).reply).toBe(1);
    } finally {
      await redis.process.command("CONFIG", "SET", "maxmemory", 0);
    }
  });

  test("selects the database of its URL, and does not settle for another", async () => {
    const third = await open(parseRedisUrl(redis.url.replace(/\/0$/, "/3")));
    await third.command("SET", "{t}where", "third");
    await third.close();
    expect(await connection.command("GET", "{t}where")).toBeNull();
    const error = await failure(open(parseRedisUrl(redis.url.replace(/\/0$/, "/99"))));
    expect(error.message).toContain("it has no database of that number");
  });

  test("gives up at once on a wrong or a missing password, and says so", async () => {
    const endpoint = parseRedisUrl(redis.url);
    for (const [wrong, reason] of [
      [{ ...endpoint, password: WRONG_PASSWORD }, "the password, or the user, is wrong"],
      [parseRedisUrl(`redis://${redis.host}:${redis.port}`), "it wants a password, and none is set"],
    ] as const) {
      const tookMs = await timedMs(async () => {
        const error = await failure(open(wrong, { connectRetries: 30, retryIntervalMs: 2_000 }));
        expect(error).toMatchObject({ code: "store_unavailable" });
        expect(error.message).toBe(`cannot connect to Redis at ${redis.host}:${redis.port}: ${reason}`);
      });
      expect(tookMs).toBeLessThan(1_000);
    }
  });

  test("logs in as an ACL user, even one that may not ask a server for its role", async () => {
    await redis.process.command(
      "ACL",
      "SETUSER",
      "app",
      "on",
      `>${PASSWORD}`,
      "~{t}*",
      "&*",
      "+@all",
      "-role",
    );
    const app = await open(parseRedisUrl(`redis://app:${PASSWORD}@${redis.host}:${redis.port}`));
    expect((await app.call(add, ["{t}app"], [3])).reply).toBe(3);
    expect(await failure(app.command("GET", "elsewhere"))).toMatchObject({ code: "NOPERM" });
    expect(app.state().connected).toBe(true);
    await app.close();
  });

  test("logs and tells of each try at the start that fails, and then fails", async () => {
    const nobody = await startBalancer([]);
    await nobody.stop();
    const from = logged.length;
    const reasons: string[] = [];
    const error = await failure(
      open(parseRedisUrl(`redis://127.0.0.1:${nobody.port}`), {
        connectRetries: 3,
        retryIntervalMs: 50,
        onFailedTry: (reason) => reasons.push(reason),
      }),
    );
    expect(error.message).toMatch(/^cannot connect to Redis at 127\.0\.0\.1:\d+: .*ECONNREFUSED/);
    const lines = logged.slice(from);
    expect(lines.map(({ facts }) => (facts as { try?: number }).try)).toEqual([1, 2, 3]);
    expect(lines[0]).toMatchObject({ level: "warn", message: "cannot connect to Redis", facts: { of: 3 } });
    expect(reasons).toEqual(lines.map(({ facts }) => (facts as { reason: string }).reason));
  });

  test("gives up at once when told to, be it between two tries or during one, and says no more", async () => {
    const nobody = await startBalancer([]);
    await nobody.stop();
    const endless = { connectRetries: 1_000, retryIntervalMs: 60_000, commandTimeoutMs: 60_000 };
    const failed = Promise.withResolvers<string>();
    const stop = new AbortController();
    const pausing = open(parseRedisUrl(`redis://127.0.0.1:${nobody.port}`), {
      ...endless,
      signal: stop.signal,
      onFailedTry: failed.resolve,
    });
    await failed.promise;
    await redis.process.freeze();
    const trying = ["redis", "redis+sentinel"].map((scheme) =>
      open(parseRedisUrl(`${scheme}://${redis.host}:${redis.port}${scheme === "redis" ? "" : "/m"}`), {
        ...endless,
        signal: stop.signal,
      }),
    );
    // So that it has begun to dial.
    await new Promise((resolve) => setTimeout(resolve, 50));
    const from = logged.length;
    const tookMs = await timedMs(async () => {
      stop.abort();
      const late = open(parseRedisUrl(redis.url), { signal: stop.signal });
      for (const error of await Promise.all([pausing, ...trying, late].map(failure))) {
        expect(error).toBeInstanceOf(TaskRunnerError);
        expect(error.message).toMatch(/^cannot connect to Redis .*: (?:broken off|closed)$/);
      }
    });
    redis.process.thaw();
    // By themselves they would go on for minutes.
    expect(tookMs).toBeLessThan(5_000);
    expect(logged.slice(from).filter(({ message }) => message === "cannot connect to Redis")).toEqual([]);
    await recovered();
  });

  test("is not disturbed by a signal once it is there", async () => {
    const stop = new AbortController();
    const other = await open(parseRedisUrl(redis.url), { signal: stop.signal });
    stop.abort();
    expect((await other.call(add, [KEY], [0])).reply).toBeNumber();
    await other.close();
  });

  test("connects at the start as soon as Redis is there", async () => {
    const late = await startRedis();
    await late.process.kill();
    const opening = open(parseRedisUrl(late.url), { connectRetries: 50, retryIntervalMs: 50 });
    await until("it tried", 2_000, () => logged.at(-1)?.message === "cannot connect to Redis");
    await late.process.start();
    const connected = await opening;
    expect(connected.state()).toEqual({ connected: true, reason: null });
    await connected.close();
    await late.stop();
  });

  test("kill -9 fails what is in flight and what comes, at once, until Redis is back", async () => {
    let reconnects = 0;
    const forget = connection.onReconnect(() => reconnects++);
    await redis.process.freeze();
    const inFlight = connection.call(add, [KEY], [1]);
    await redis.process.kill();
    const tookMs = await timedMs(async () => expect((await unavailable(inFlight)).mayHaveRun).toBe(true));
    // Sooner than the timeout of a call.
    expect(tookMs).toBeLessThan(450);
    expect((await unavailable(connection.call(add, [KEY], [1]))).mayHaveRun).toBe(false);
    expect(connection.state()).toMatchObject({
      connected: false,
      reason: expect.stringContaining(String(redis.port)),
    });
    await redis.process.start();
    expect(await timedMs(recovered)).toBeLessThan(1_000);
    expect(connection.state()).toEqual({ connected: true, reason: null });
    expect(reconnects).toBe(1);
    forget();
  });

  test("a Redis that stands still fails calls within the timeout, and is used again when it moves", async () => {
    await redis.process.freeze();
    const tookMs = await timedMs(() => unavailable(connection.call(add, [KEY], [1])));
    expect(tookMs).toBeGreaterThan(500);
    expect(tookMs).toBeLessThan(1_600);
    expect(await timedMs(() => unavailable(connection.call(add, [KEY], [1])))).toBeLessThan(450);
    redis.process.thaw();
    expect(await timedMs(recovered)).toBeLessThan(1_500);
  });

  test("an idle connection to a Redis that stands still does not call itself connected", async () => {
    await redis.process.freeze();
    await until("it is noticed", 3_000, () => !connection.state().connected);
    redis.process.thaw();
    await recovered();
  });

  test("DEBUG SLEEP fails calls within the timeout, and they work again afterwards", async () => {
    // It sleeps longer than our way of sending it waits.
    const asleep = redis.process.command("DEBUG", "SLEEP", 1.8).catch(() => {});
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(await timedMs(() => unavailable(connection.call(add, [KEY], [1])))).toBeLessThan(1_600);
    await asleep;
    expect(await timedMs(recovered)).toBeLessThan(1_500);
  });

  test("a Redis that loads its data is waited for, and said to load", async () => {
    await redis.process.command("DEBUG", "POPULATE", 2_000);
    await redis.process.command("SAVE");
    await redis.process.kill();
    // Half a millisecond a key.
    await redis.process.start(["--key-load-delay", "500", "--loading-process-events-interval-bytes", "1024"]);
    expect((await redis.process.info("persistence")).get("loading")).toBe("1");
    await until("it says why", 2_000, () => connection.state().reason?.includes("LOADING"));
    expect((await unavailable(connection.call(add, [KEY], [1]))).message).toContain("LOADING");
    await recovered();
    expect((await redis.process.info("persistence")).get("loading")).toBe("0");
    await redis.process.command("FLUSHALL");
  });

  test("READONLY ends the connection, and a replica is not accepted for a new one", async () => {
    await redis.process.command("REPLICAOF", "127.0.0.1", 1);
    const error = await unavailable(connection.call(add, [KEY], [1]));
    expect(error.message).toContain("READONLY");
    expect(error.mayHaveRun).toBe(false);
    expect(connection.state().connected).toBe(false);
    await until("it says why", 2_000, () => connection.state().reason?.includes("it is a replica"));
    await redis.process.command("REPLICAOF", "NO", "ONE");
    expect(await timedMs(recovered)).toBeLessThan(1_000);
  });

  test("MASTERDOWN ends the connection too", async () => {
    await redis.process.command("CONFIG", "SET", "replica-serve-stale-data", "no");
    await redis.process.command("REPLICAOF", "127.0.0.1", 1);
    expect((await unavailable(connection.call(add, [KEY], [1]))).message).toContain("MASTERDOWN");
    expect(connection.state().connected).toBe(false);
    await redis.process.command("REPLICAOF", "NO", "ONE");
    await recovered();
  });

  test("a primary that becomes a replica is noticed without a single call", async () => {
    await redis.process.command("REPLICAOF", "127.0.0.1", 1);
    await until("it is noticed", 2_500, () => !connection.state().connected);
    await redis.process.command("REPLICAOF", "NO", "ONE");
    await recovered();
  });

  test("too few replicas fail the call and keep the connection", async () => {
    await redis.process.command("CONFIG", "SET", "min-replicas-to-write", 1);
    expect((await unavailable(connection.call(add, [KEY], [1]))).message).toContain("NOREPLICAS");
    expect(connection.state().connected).toBe(true);
    await redis.process.command("CONFIG", "SET", "min-replicas-to-write", 0);
    expect((await connection.call(add, [KEY], [1])).reply).toBeNumber();
  });

  test("subscriptions hear messages, and are told when they may have missed some", async () => {
    const heard: (string | null)[] = [];
    const forget = connection.subscribe("{t}hints", (message) => heard.push(message));
    await until("it is subscribed", 2_000, () => heard.length === 1);
    await connection.command("PUBLISH", "{t}hints", "one");
    await until("it is heard", 2_000, () => heard.length === 2);
    await redis.process.kill();
    await redis.process.start();
    await until("it is subscribed again", 2_000, () => heard.length === 3);
    await recovered();
    expect(await connection.command("PUBLISH", "{t}hints", "two")).toBe(1);
    await until("it is heard", 2_000, () => heard.length === 4);
    expect(heard).toEqual([null, "one", null, "two"]);
    forget();
    await until(
      "nobody listens",
      2_000,
      async () => (await connection.command("PUBLISH", "{t}hints", "three")) === 0,
    );
    expect(heard).toHaveLength(4);
  });

  test("an idle connection with a subscription costs less than three commands a second", async () => {
    await redis.process.command("CONFIG", "RESETSTAT");
    const overMs = 2_000;
    await new Promise((resolve) => setTimeout(resolve, overMs));
    const stats = await redis.process.info("stats");
    // Our own question comes with three commands that introduce it.
    const commands = Number(stats.get("total_commands_processed")) - 3;
    expect(commands).toBeGreaterThan(0);
    expect(commands / (overMs / 1_000)).toBeLessThan(3);
  });

  test("closing lets what is in flight end, and refuses what comes after", async () => {
    const other = await open(parseRedisUrl(redis.url));
    const inFlight = other.call(add, ["{t}closing"], [1]);
    const closing = other.close();
    await unavailable(other.call(add, ["{t}closing"], [1]));
    expect((await inFlight).reply).toBe(1);
    await closing;
    expect(other.state()).toEqual({ connected: false, reason: "closed" });
    const clients = String(await connection.command("CLIENT", "LIST"));
    expect(clients.match(/name=task-runner:test /g)).toHaveLength(2);
  });
});

describe("Redis under Sentinel", () => {
  let cluster: SentinelCluster;
  let connection: RedisConnection;

  beforeAll(async () => {
    cluster = await startSentinelCluster({ password: PASSWORD, sentinelPassword: SENTINEL_PASSWORD });
    connection = await open(endpointOf(cluster), { role: "lasting" });
  }, 20_000);

  afterAll(async () => {
    await connection.close();
    await cluster.stop();
  });

  /** How many Sentinels the lasting connection has found to be silent, going by what it logged. */
  function silentSentinels(): number {
    const lines = logged.filter(({ facts }) => (facts as { connection?: string }).connection === "lasting");
    const count = (text: string) => lines.filter(({ message }) => message === text).length;
    return count("a Sentinel does not answer") - count("a Sentinel answers again");
  }

  /** Runs a fault that ends in a failover under callers, and checks what they saw; gives the new primary. */
  async function failover(from: RedisProcess, fault: () => Promise<void>): Promise<RedisProcess> {
    const callers = new Callers(connection, 32);
    await callers.nextSuccess(1_000);
    await fault();
    const primary = await cluster.waitForFailover(from);
    const backMs = await timedMs(() => callers.nextSuccess(10_000));
    await callers.stop();
    expect(backMs).toBeLessThan(BACK_MS);
    expect(callers.slowestMs).toBeLessThan(LONGEST_CALL_MS);
    expect(callers.odd).toEqual([]);
    return primary;
  }

  test("acked tells how many replicas have this very call, and what was written before it", async () => {
    const wait = { replicas: 2, timeoutMs: 300 };
    expect((await connection.call(add, [KEY], [1], { ...wait, timeoutMs: 1_000 })).acked).toBe(2);
    const [one, other] = await cluster.replicas();
    if (one === undefined || other === undefined) throw new Error("two replicas were started");
    await one.freeze();
    expect((await connection.call(add, [KEY], [1], wait)).acked).toBe(1);
    await other.freeze();
    expect((await connection.call(add, [KEY], [1], wait)).acked).toBe(0);
    const look = defineScript("look", "return redis.call('GET', KEYS[1])");
    const later = await open(endpointOf(cluster));
    expect((await later.call(look, [KEY], [], wait)).acked).toBe(0);
    one.thaw();
    other.thaw();
    expect((await later.call(look, [KEY], [], { ...wait, timeoutMs: 1_500 })).acked).toBe(2);
    await later.close();
    await expect(connection.call(add, [KEY], [1], { replicas: 1, timeoutMs: 2_000 })).rejects.toThrow(
      RangeError,
    );
    await cluster.waitUntilHealthy();
  });

  test("one address in front of three Sentinels is enough, even when the first one behind it hangs", async () => {
    const balancer = await startBalancer(cluster.sentinels);
    const [first] = cluster.sentinels;
    await first?.freeze();
    const endpoint = { ...endpointOf(cluster), sentinels: [balancer] };
    const behind = await open(endpoint);
    expect(behind.state().connected).toBe(true);
    expect(balancer.served.filter((count) => count > 0).length).toBeGreaterThan(1);
    first?.thaw();
    await behind.close();
    await balancer.stop();
  });

  test("a Sentinel that is down at the start is told of and does not matter", async () => {
    const [first] = cluster.sentinels;
    await first?.kill();
    const tookMs = await timedMs(async () => (await open(endpointOf(cluster), { role: "late" })).close());
    expect(tookMs).toBeLessThan(500);
    const lines = logged.filter(({ facts }) => (facts as { connection?: string }).connection === "late");
    expect(lines).toEqual([
      {
        level: "warn",
        message: "a Sentinel does not answer",
        facts: { connection: "late", reason: expect.stringMatching(/^127\.0\.0\.1:\d+: .*ECONNREFUSED/) },
      },
    ]);
    await first?.start();
  });

  test("a wrong password for Sentinel is told at once, and so is a master that no Sentinel knows", async () => {
    const endpoint = endpointOf(cluster);
    const refused = await failure(
      open({ ...endpoint, sentinelPassword: WRONG_PASSWORD }, { retryIntervalMs: 60_000 }),
    );
    const sentinels = cluster.sentinels.map((each) => `${each.address}: the password, or the user, is wrong`);
    expect(refused.message).toEndWith(`no Sentinel can tell where the primary is: ${sentinels.join("; ")}`);
    const wrong = await failure(open({ ...endpoint, password: WRONG_PASSWORD }, { retryIntervalMs: 60_000 }));
    expect(wrong.message).toEndWith(": the password, or the user, is wrong");
    const unknown = await failure(open({ ...endpoint, masterName: "other" }, { connectRetries: 1 }));
    expect(unknown.message).toContain("No such master with that name");
  });

  test("Sentinels that stand still do not disturb a connection, and one that moves is enough for a new one", async () => {
    await until("all Sentinels answer it", 3_000, () => silentSentinels() === 0);
    const callers = new Callers(connection, 4);
    for (const sentinel of cluster.sentinels) await sentinel.freeze();
    await until("it is noticed", 5_000, () => silentSentinels() === 3);
    await callers.stop();
    expect(callers.failed).toBe(0);
    cluster.sentinels[2]?.thaw();
    let reconnects = 0;
    const forget = connection.onReconnect(() => reconnects++);
    const [primary] = cluster.nodes;
    await primary?.command("CLIENT", "KILL", "TYPE", "normal");
    await until("it is back", BACK_MS, () => reconnects === 1);
    expect((await connection.call(add, [KEY], [1])).reply).toBeNumber();
    forget();
    for (const sentinel of cluster.sentinels.slice(0, 2)) sentinel.thaw();
    await cluster.waitUntilHealthy();
  }, 20_000);

  test("kill -9 of the primary: calls fail fast, and work within 2 s of the switch", async () => {
    const old = await cluster.primary();
    const heard: (string | null)[] = [];
    const forget = connection.subscribe("{t}hints", (message) => heard.push(message));
    await until("it is subscribed", 2_000, () => heard.length === 1);
    await failover(old, () => old.kill());
    await until("it is subscribed again", 2_000, () => heard.length === 2);
    await connection.command("PUBLISH", "{t}hints", "one");
    await until("it is heard", 2_000, () => heard.length === 3);
    expect(heard).toEqual([null, null, "one"]);
    forget();
    await old.start();
    await cluster.waitUntilHealthy();
  }, 30_000);

  test("a primary that stands still, its failover, and its return as a stale primary", async () => {
    const stale = await cluster.primary();
    const [novice, ...others] = cluster.sentinels;
    if (novice === undefined) throw new Error("three Sentinels were started");
    let opening: Promise<RedisConnection> | undefined;
    const primary = await failover(stale, async () => {
      await stale.freeze();
      // One that is dialling the frozen primary must not wait for its patience to end.
      opening = open(endpointOf(cluster), { commandTimeoutMs: 20_000, connectRetries: 100 });
    });
    const late = await until("a connection begun meanwhile", BACK_MS, () => opening);
    await late.close();

    // One that stood still before it heard of the failover would make a replica of the new primary later on.
    await cluster.waitUntilKnown(primary);

    // Now the only Sentinel to speak is one set up anew that knows of no failover, and what it names for the
    // primary calls itself one.
    for (const other of others) await other.freeze();
    stale.thaw();
    const name = cluster.masterName;
    await novice.command("SENTINEL", "REMOVE", name);
    await novice.command("SENTINEL", "MONITOR", name, stale.host, stale.port, 2);
    await novice.command("SENTINEL", "SET", name, "auth-pass", PASSWORD, "down-after-milliseconds", 1_000);
    const callers = new Callers(connection, 4);
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    expect(await novice.command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", name)).toContain(String(stale.port));
    expect(await stale.command("ROLE")).toContain("master");
    for (const other of others) other.thaw();
    await cluster.waitUntilHealthy();
    await callers.stop();
    expect(callers.failed).toBe(0);
    expect(await cluster.primary()).toBe(primary);
  }, 30_000);

  test("a failover by an operator is followed, and the old primary not clung to", async () => {
    const old = await cluster.primary();
    await failover(old, async () => {
      await cluster.sentinels[0]?.command("SENTINEL", "FAILOVER", cluster.masterName);
    });
    await cluster.waitUntilHealthy();
  }, 30_000);

  test("a rolling restart of all six processes", async () => {
    const callers = new Callers(connection, 8);
    for (const sentinel of cluster.sentinels) {
      await sentinel.restart();
      await cluster.waitUntilHealthy();
    }
    expect(callers.failed).toBe(0);
    const primary = await cluster.primary();
    for (const node of await cluster.replicas()) {
      await node.restart();
      await cluster.waitUntilHealthy();
    }
    expect(callers.failed).toBe(0);
    await primary.terminate();
    await cluster.waitForFailover(primary);
    expect(await timedMs(() => callers.nextSuccess(10_000))).toBeLessThan(BACK_MS);
    await primary.start();
    await cluster.waitUntilHealthy();
    await callers.stop();
    expect(callers.slowestMs).toBeLessThan(LONGEST_CALL_MS);
    expect(callers.odd).toEqual([]);
  }, 40_000);
});

test("host names that Sentinels announce are followed, from one address that is gone by then", async () => {
  const cluster = await startSentinelCluster({
    password: PASSWORD,
    sentinelPassword: SENTINEL_PASSWORD,
    announceHost: "localhost",
  });
  const balancer = await startBalancer(cluster.sentinels);
  const endpoint = { ...endpointOf(cluster), sentinels: [balancer] };
  const connection = await open(endpoint);
  try {
    await connection.call(add, [KEY], [1]);
    // From here on only what was learnt from the Sentinels can help, and that is names.
    await balancer.stop();
    const primary = await cluster.primary();
    await primary.kill();
    await cluster.waitForFailover(primary);
    const work = () => until("a call works", 10_000, () => connection.call(add, [KEY], [1]));
    expect(await timedMs(work)).toBeLessThan(BACK_MS);
    const primaryNow = await cluster.primary();
    expect(await primaryNow.command("GET", KEY)).toBe("2");
  } finally {
    await connection.close();
    await balancer.stop().catch(() => {});
    await cluster.stop();
  }
}, 30_000);
