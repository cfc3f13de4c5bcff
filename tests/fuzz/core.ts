/** Fuzzes what needs no server: backoffs, times, targets and their guard, and the stores' codecs. */

import fc from "fast-check";
import ipaddr from "ipaddr.js";
import { PRIORITIES } from "../../src/core/priority.ts";
import { backoffMs, decide, jitteredBackoffMs, type RetryPolicy } from "../../src/core/retry.ts";
import type { NewTask } from "../../src/core/task.ts";
import { parseInstantMs } from "../../src/service/instant.ts";
import { encodeTask as encodeForRedis, taskOf as taskOfRedis } from "../../src/store/redis/codec.ts";
import { encodeSpec, STATE, taskOf as taskOfSqlite } from "../../src/store/sqlite/codec.ts";
import { parseTargetUrl } from "../../src/transport/http/check.ts";
import { Guard } from "../../src/transport/http/guard.ts";
import { newTask } from "../support/tasks.ts";
import { Cases, type Job, must, type Report } from "./cases.ts";

export async function fuzzCore(job: Job): Promise<Report> {
  const cases = new Cases(job);
  await cases.run("core: backoffs", 0.2, tried, backsOff);
  await cases.run("core: times", 0.2, instants, isReadAlike);
  await cases.run("core: private addresses in URLs", 0.35, privateUrls, isForbidden);
  await cases.run("core: any URL", 0.1, anyUrl, isJudged);
  await cases.run("core: codecs", 0.15, tasks, comesBack);
  return cases.report();
}

// Backoffs -------------------------------------------------------------------------------------------------

const DAY_MS = 86_400_000;

const policy: fc.Arbitrary<RetryPolicy> = fc.record({
  maxAttempts: fc.oneof(fc.constant(-1), fc.integer({ min: 1, max: 1_000_000 })),
  minBackoffMs: fc.integer({ min: 0, max: 31 * DAY_MS }),
  maxBackoffMs: fc.integer({ min: 0, max: 31 * DAY_MS }),
  maxDoublings: fc.integer({ min: 0, max: 64 }),
  maxDurationMs: fc.option(fc.integer({ min: 0, max: 366 * DAY_MS })),
  jitter: fc.double({ min: 0, max: 1, noNaN: true }),
});

const tried = fc.record({
  retry: policy,
  attempt: fc.integer({ min: 1, max: 1_000_000 }),
  random: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
  sinceMs: fc.integer({ min: -DAY_MS, max: 400 * DAY_MS }),
  retryAfterMs: fc.option(fc.integer({ min: 0, max: 400 * DAY_MS })),
  permanent: fc.boolean(),
});

type Tried = typeof tried extends fc.Arbitrary<infer T> ? T : never;

/** A wait is a whole number within its bounds, waits never get shorter but for the jitter, and giving up keeps its rule. */
function backsOff({ retry, attempt, random, sinceMs, retryAfterMs, permanent }: Tried): void {
  const base = backoffMs(retry, attempt);
  must(base >= 0 && base <= retry.maxBackoffMs, () => `a backoff of ${base}`);
  must(
    retry.minBackoffMs > retry.maxBackoffMs || base >= Math.min(retry.minBackoffMs, retry.maxBackoffMs),
    () => `a backoff of ${base} is less than the least`,
  );
  must(backoffMs(retry, attempt + 1) >= base, () => "the backoff shrinks");
  const varied = jitteredBackoffMs(retry, attempt, random);
  must(
    Number.isSafeInteger(varied) && varied >= 0 && varied <= retry.maxBackoffMs,
    () => `a varied backoff of ${varied}`,
  );
  const nowMs = 1_800_000_000_000;
  const verdict = decide(
    { attempt, firstAttemptAtMs: nowMs - sinceMs, retry, permanentStatuses: [] },
    {
      kind: "failed",
      status: null,
      error: "no",
      responseExcerpt: null,
      permanent,
      retryAfterMs,
      hostAtFault: false,
    },
    nowMs,
    random,
  );
  if (permanent) {
    must(verdict.kind === "dead", () => "a permanent failure is repeated");
    return;
  }
  const attemptsLeft = retry.maxAttempts !== -1 && attempt < retry.maxAttempts;
  const timeLeft = retry.maxDurationMs !== null && sinceMs < retry.maxDurationMs;
  const forEver = retry.maxAttempts === -1 && retry.maxDurationMs === null;
  const goesOn = attemptsLeft || timeLeft || forEver;
  must((verdict.kind === "retry") === goesOn, () => `it is ${verdict.kind}`);
  if (verdict.kind !== "retry") return;
  const { afterMs } = verdict;
  must(
    Number.isSafeInteger(afterMs) && afterMs >= 0 && afterMs <= retry.maxBackoffMs,
    () => `tried again after ${afterMs}`,
  );
}

// Times ----------------------------------------------------------------------------------------------------

const two = (max: number) => fc.integer({ min: 0, max }).map((value) => String(value).padStart(2, "0"));
const written = fc
  .tuple(
    fc.integer({ min: 0, max: 9_999 }).map((year) => String(year).padStart(4, "0")),
    ...([two(13), two(32), two(25), two(61), two(61)] as const),
    fc.constantFrom("", ".1", ".123", ".123456789", ".", ".1234567890", ",5"),
    fc.constantFrom("Z", "z", "+00:00", "-00:00", "+23:59", "-12:34", "+24:00", "", "+0000", " Z"),
    fc.constantFrom("T", "t", " ", "_", ""),
  )
  .map(([y, mo, d, h, mi, s, fraction, zone, t]) => `${y}-${mo}-${d}${t}${h}:${mi}:${s}${fraction}${zone}`);

const instants: fc.Arbitrary<string | number> = fc.oneof(
  { weight: 5, arbitrary: written },
  {
    weight: 2,
    arbitrary: fc
      .date({ noInvalidDate: true, min: new Date(0), max: new Date(253_402_300_799_999) })
      .map((at) => at.toISOString()),
  },
  { weight: 1, arbitrary: fc.string({ unit: "binary", maxLength: 30 }) },
  { weight: 1, arbitrary: fc.double() },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 2_000_000_000 }) },
);

/** What is read as a time is the time that the language's own reader sees in it, and a day that is none is no time. */
function isReadAlike(given: string | number): void {
  const read = parseInstantMs(given);
  if (typeof given === "number") {
    const wanted = Number.isFinite(given) ? Math.round(given * 1_000) : null;
    must(read === wanted, () => `read as ${read}`);
    return;
  }
  if (read === null) {
    const isDate = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/.test(given) && !Number.isNaN(Date.parse(given));
    must(!isDate, () => "a date as JSON writes it is no time");
    return;
  }
  must(Number.isSafeInteger(read), () => `read as ${read}`);
  const day = given.slice(0, 10);
  must(new Date(`${day}T00:00:00Z`).toISOString().startsWith(day), () => `${day} is no day`);
  const [, whole = "", fraction = "", zone = ""] = /^(.{19})(\.\d+)?(.*)$/.exec(given) ?? [];
  const same = `${whole.replace(/[t ]/, "T")}${fraction.slice(0, 4).padEnd(fraction === "" ? 0 : 4, "0")}${zone.toUpperCase()}`;
  must(Date.parse(same) === read, () => `read as ${read}, and ${same} is ${Date.parse(same)}`);
}

// Targets --------------------------------------------------------------------------------------------------

/** Blocks of addresses that no task may reach, in two families. */
const PRIVATE_BLOCKS = [
  "10.0.0.0/8",
  "127.0.0.0/8",
  "169.254.0.0/16",
  "172.16.0.0/12",
  "192.168.0.0/16",
  "100.64.0.0/10",
  "0.0.0.0/8",
  "224.0.0.0/4",
  "240.0.0.0/4",
  "198.18.0.0/15",
  "192.0.2.0/24",
] as const;
const PRIVATE_6 = [
  "::1",
  "::",
  "fe80::1",
  "fd00::1",
  "fc00:1::",
  "ff02::1",
  "fec0::1",
  "100::1",
  "2001:db8::1",
];

const private4 = fc.tuple(fc.constantFrom(...PRIVATE_BLOCKS), fc.nat(2 ** 32 - 1)).map(([block, host]) => {
  const [first, bits] = ipaddr.IPv4.parseCIDR(block);
  const base = numberOf(first.octets);
  const size = 2 ** (32 - bits);
  return base + (host % size);
});

function numberOf(octets: readonly number[]): number {
  return octets.reduce((sum, octet) => sum * 256 + octet, 0);
}

function octetsOf(address: number): readonly number[] {
  return [24, 16, 8, 0].map((shift) => Math.floor(address / 2 ** shift) % 256);
}

const radix = fc.constantFrom(
  (value: number) => String(value),
  (value: number) => `0x${value.toString(16)}`,
  (value: number) => `0X${value.toString(16).toUpperCase()}`,
  (value: number) => `0${value.toString(8)}`,
  (value: number) => `00000${value.toString(8)}`,
  (value: number) => `0x0000${value.toString(16)}`,
);

/** Every way in which a URL may spell an IPv4 address. */
const spelling4 = fc
  .tuple(private4, fc.integer({ min: 1, max: 4 }), radix, radix, radix, radix)
  .map(([address, parts, ...by]) => {
    const octets = octetsOf(address);
    const leading = octets.slice(0, parts - 1);
    const rest = numberOf(octets.slice(parts - 1));
    return [...leading, rest].map((value, at) => by[at]?.(value) ?? String(value)).join(".");
  });

const hex4 = (address: number) => {
  const octets = octetsOf(address).map((octet) => octet.toString(16).padStart(2, "0"));
  return `${octets[0]}${octets[1]}:${octets[2]}${octets[3]}`;
};

/** IPv6 addresses by which an IPv4 address is reached. */
const spelling6 = fc
  .tuple(
    private4,
    fc.constantFrom(
      "mapped",
      "dotted",
      "long",
      "nat64",
      "6to4",
      "compatible",
      "compatible dotted",
      "teredo",
      "isatap",
      "local nat64",
    ),
  )
  .map(([address, how]) => {
    const dotted = octetsOf(address).join(".");
    switch (how) {
      case "mapped":
        return `::ffff:${hex4(address)}`;
      case "dotted":
        return `::FFFF:${dotted}`;
      case "long":
        return `0:0:0:0:0:ffff:${hex4(address)}`;
      case "nat64":
        return `64:ff9b::${hex4(address)}`;
      case "6to4":
        return `2002:${hex4(address)}::1`;
      case "compatible":
        return `::${hex4(address)}`;
      case "compatible dotted":
        return `::${dotted}`;
      case "teredo":
        return `2001:0:808:808:0:0:${hex4(2 ** 32 - 1 - address)}`;
      case "isatap":
        return `2607:f8b0::5efe:${hex4(address)}`;
      default:
        return `64:ff9b:1::${hex4(address)}`;
    }
  });

const WIDE: Readonly<Record<string, string>> = {
  ".": "。",
  "0": "０",
  "1": "①",
  "2": "２",
  x: "ｘ",
  "7": "⑦",
};

/** The same host as a browser may be made to read it: in wide characters, escaped, with a dot at its end. */
const disguise = fc.constantFrom<(host: string) => string>(
  (host) => host,
  (host) => host,
  (host) => `${host}.`,
  (host) => [...host].map((character) => WIDE[character] ?? character).join(""),
  (host) =>
    [...host].map((character) => `%${character.charCodeAt(0).toString(16).padStart(2, "0")}`).join(""),
  (host) => host.replace(/\d/, (digit) => `%${digit.charCodeAt(0).toString(16)}`),
  (host) => host.replace(".", "%2e"),
  (host) => host.replaceAll(".", "｡"),
  (host) => `${host.slice(0, 1)}\u00ad${host.slice(1)}`,
);

const local = fc.constantFrom(
  "localhost",
  "LOCALHOST",
  "localhost.",
  "a.localhost",
  "foo.internal",
  "metadata.google.internal",
  "printer.local",
  "ⓛocalhost",
  "local%68ost",
);

const privateHosts = fc.oneof(
  { weight: 6, arbitrary: fc.tuple(spelling4, disguise).map(([host, hide]) => hide(host)) },
  { weight: 3, arbitrary: spelling6.map((address) => `[${address}]`) },
  { weight: 1, arbitrary: fc.constantFrom(...PRIVATE_6).map((address) => `[${address}]`) },
  { weight: 1, arbitrary: local },
);

const privateUrls = fc
  .tuple(
    fc.constantFrom(
      "http://",
      "https://",
      "HTTP://",
      "http:/",
      "http:",
      "http:\\\\",
      "http:////",
      "https:\\/",
    ),
    fc.constantFrom("", "", "", "user@", "a:b@", "example.com@", "example.com:80@", "%40@"),
    privateHosts,
    fc.constantFrom("", ":80", ":8080", ":", ":65535"),
    fc.constantFrom(
      "/",
      "",
      "/x?y#z",
      "?@example.com/",
      "#@example.com/",
      "\\@example.com/",
      "/@example.com",
    ),
  )
  .map((parts) => parts.join(""));

const guard = new Guard({ allowPrivate: false });
const open = new Guard({ allowPrivate: true, denyCidrs: PRIVATE_BLOCKS });

/** No spelling of a private address gets past: it cannot be parsed, is refused for its form, or is forbidden. */
function isForbidden(text: string): void {
  const parsed = parseTargetUrl(text);
  if (parsed.kind === "problem") return;
  const { hostname } = parsed.url;
  must(guard.forbidsHost(hostname) !== null, () => `${text} is taken for ${hostname}, which is allowed`);
  // A list of what is denied reaches as far.
  const isName = !hostname.startsWith("[") && !/^\d+\.\d+\.\d+\.\d+$/.test(hostname);
  const isOther = PRIVATE_6.some((address) => `[${address}]` === hostname);
  if (isName || isOther) return;
  must(open.forbidsHost(hostname) !== null, () => `${hostname} is not held by what is denied`);
}

const anyUrl = fc.oneof(
  fc.webUrl({ withQueryParameters: true, withFragments: true }),
  fc.string({ unit: "binary", maxLength: 60 }).map((text) => `http://${text}`),
  fc.string({ unit: "grapheme", maxLength: 40 }),
);

/** Whatever is written is judged without a throw, and what is taken for a URL is dialled as it was judged. */
function isJudged(text: string): void {
  const parsed = parseTargetUrl(text);
  if (parsed.kind === "problem") return;
  const { url } = parsed;
  guard.forbidsHost(url.hostname);
  must(
    new URL(url.href).hostname === url.hostname,
    () => `${url.href} names another host when it is read again`,
  );
  must(!/[\r\n\0]/.test(url.href), () => "a line break is in it");
}

// Codecs ---------------------------------------------------------------------------------------------------

const text = (maxLength: number) =>
  fc.string({ unit: "binary", maxLength }).map((value) => value.toWellFormed());
const filled = (maxLength: number) => text(maxLength).map((value) => (value === "" ? "x" : value));
/** `__proto__` is refused where a task is handed in. */
const name = filled(12).filter((value) => value !== "__proto__");
const table = fc.dictionary(name, text(20), { maxKeys: 4, noNullPrototype: true });
const time = fc.integer({ min: 0, max: 4_000_000_000_000 });

const tasks: fc.Arbitrary<NewTask> = fc
  .record({
    queue: fc.stringMatching(/^[A-Za-z0-9_-]{1,20}$/),
    clientId: fc.stringMatching(/^[A-Za-z0-9._:-]{1,20}$/),
    priority: fc.constantFrom(...PRIORITIES),
    target: fc.record({
      url: fc.oneof(fc.webUrl(), filled(60)),
      method: fc.constantFrom("GET", "POST", "PUT", "DELETE"),
      headers: fc.oneof(fc.constant({ "content-type": "application/json" }), table),
      body: fc.oneof(fc.constant(null), text(200), fc.uint8Array({ maxLength: 100 })),
    }),
    timeoutMs: fc.option(fc.integer({ min: 1, max: 1_800_000 })),
    scheduledAtMs: fc.option(time),
    name: fc.option(filled(30)),
    idempotencyKey: fc.option(filled(30)),
    orderingKey: fc.option(filled(30)),
    retry: fc.oneof(fc.constant({}), policy),
    retentionMs: fc.option(fc.integer({ min: 0, max: 31 * DAY_MS })),
    metadata: table,
    traceparent: fc.option(fc.constant(`00-${"a".repeat(32)}-${"b".repeat(16)}-01`)),
    callbackUrl: fc.option(fc.webUrl()),
    failureCallbackUrl: fc.option(fc.webUrl()),
  })
  .map((fields) => newTask(fields as Partial<NewTask>));

/** What a task is comes out of either store's codec as it went in. */
function comesBack(task: NewTask): void {
  const wanted = fixedOf(task);
  const fromRedis = taskOfRedis(redisRow(task));
  must(
    Bun.deepEquals(fixedOf(fromRedis), wanted),
    () => `Redis: ${Bun.inspect(fixedOf(fromRedis))}\nis not ${Bun.inspect(wanted)}`,
  );
  const fromSqlite = taskOfSqlite(sqliteRow(task));
  must(
    Bun.deepEquals(fixedOf(fromSqlite), wanted),
    () => `SQLite: ${Bun.inspect(fixedOf(fromSqlite))}\nis not ${Bun.inspect(wanted)}`,
  );
}

type Fixed = Omit<NewTask, "scheduledAtMs" | "idempotencyKey" | "clientRevision">;

/** What neither store may change. */
function fixedOf(task: Fixed): Fixed {
  const { id, queue, clientId, priority, target, timeoutMs, name, orderingKey, retry, retentionMs } = task;
  const { metadata, traceparent, callbackUrl, failureCallbackUrl } = task;
  const plain = { url: target.url, method: target.method, headers: { ...target.headers }, body: target.body };
  return {
    ...{ id, queue, clientId, priority, target: plain, timeoutMs, name, orderingKey, retry, retentionMs },
    ...{ metadata: { ...metadata }, traceparent, callbackUrl, failureCallbackUrl },
  };
}

/** A row as lua/rows.lua tells it of a task that was just accepted. */
function redisRow(task: NewTask): readonly string[] {
  const [head, what] = encodeForRedis(task);
  const lane = head.slice(26).split(",")[0] ?? "";
  const at = "1767225600000";
  const retention = task.retentionMs === null ? "" : String(task.retentionMs);
  const times = [at, at, at];
  return [
    task.id,
    "r",
    lane,
    ...times,
    retention,
    "0",
    "0",
    "0",
    "0",
    "",
    "",
    "",
    "",
    "",
    "",
    `r1,0\n${what}`,
  ];
}

function sqliteRow(task: NewTask): Parameters<typeof taskOfSqlite>[0] {
  const at = 1_767_225_600_000;
  return {
    ...{
      seq: 1,
      id: task.id,
      lane: 1,
      state: STATE.ready,
      due_ms: at,
      created_ms: at,
      scheduled_ms: at,
      attempts: 0,
    },
    ...{
      crashes: 0,
      releases: 0,
      fence: 0,
      lease_ms: null,
      worker: null,
      first_attempt_ms: null,
      finished_ms: null,
    },
    ...{
      expires_ms: null,
      retention_ms: task.retentionMs,
      ordering: null,
      hold: null,
      named: 0,
      reason: null,
    },
    ...{ attempt_log: null, spec: encodeSpec(task), body: task.target.body, queue: task.queue },
    ...{ rank: PRIORITIES.indexOf(task.priority), client: task.clientId },
  };
}
