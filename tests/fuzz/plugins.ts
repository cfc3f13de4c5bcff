/** Fuzzes plugins: modules of broken shapes, and transports that break their contract under a worker that must live on. */

import fc from "fast-check";
import { readOptions } from "../../src/config/plugin-options.ts";
import { TaskRunnerError } from "../../src/core/errors.ts";
import type { Task } from "../../src/core/task.ts";
import type { Transport } from "../../src/core/transport.ts";
import { lookingAt } from "../../src/plugin/fault.ts";
import { heldToContract } from "../../src/plugin/held.ts";
import { loadPlugins } from "../../src/plugin/load.ts";
import { openPlugins } from "../../src/plugin/open.ts";
import { systemClock } from "../../src/runtime.ts";
import { createHttpTransport } from "../../src/transport/http/http.ts";
import { TransportRegistry } from "../../src/transport/registry.ts";
import { newTarget, newTask } from "../support/tasks.ts";
import { Bench } from "../worker/harness.ts";
import { Cases, type Job, must, type Report } from "./cases.ts";

/** Deliveries of one case, at once. */
const AT_ONCE = 16;
/** A transport that hangs costs the worker's patience with it. */
const MAX_HANGING = 2;
/** A worker gives up a transport that does not end when told to within this. */
const PATIENCE_MS = 60_000;
const LOOK_MS = 5;
const LEASE_MS = 3_000;
/** Longer than any line of ours should be. */
const LONGEST_LINE = 2_000;

/** Without `hanging` no transport is waited for that never ends, which takes a worker twenty seconds to be sure of. */
export async function fuzzPlugins(job: Job, { hanging: hangs = true } = {}): Promise<Report> {
  const cases = new Cases(job);
  await cases.run("plugins: modules", 0.7, modules, isPluginOrRefused, (made) => made.source);
  await cases.run(
    "plugins: checks",
    0.1,
    evil,
    (thing) => checksOrRefuses(thing),
    (thing) => thing.source,
  );
  const bench = await Bench.open();
  try {
    const played = new Map<string, Evil>();
    const transport = heldToContract(misbehaving(played));
    // Short leases, for whoever hangs is given up with the beat that renews them.
    const transports = new TransportRegistry([transport]);
    bench.start({ transports, maxRetries: 0, concurrency: AT_ONCE, leaseMs: LEASE_MS });
    const many = fc.array(behaviours, { minLength: 1, maxLength: AT_ONCE });
    const show = (all: readonly Evil[]) => all.map(({ source }) => source).join("\n");
    await cases.run(
      "plugins: deliveries",
      0.2 / AT_ONCE,
      many,
      (all) => eachComesToAnEnd(cases, bench, played, all),
      show,
    );
    if (hangs)
      await cases.run(
        "plugins: hanging deliveries",
        Math.min(1, MAX_HANGING / job.cases),
        fc.array(hanging, { minLength: 1, maxLength: 4 }),
        (all) => eachComesToAnEnd(cases, bench, played, all),
        show,
      );
  } finally {
    await bench.close();
  }
  return cases.report();
}

/** By a name of its own, for whoever writes it out means a promise. */
const THEN = "then";

/** Something that a plugin's author got wrong, with the words for it. */
interface Evil {
  readonly source: string;
  readonly make: () => unknown;
}

const said = (source: string, make: () => unknown): Evil => ({ source, make });

class Hostile extends Error {
  override get message(): string {
    throw new TypeError("no message");
  }
}

/** Values that nothing should be read from without care. */
const EVIL: readonly Evil[] = [
  said("undefined", () => undefined),
  said("null", () => null),
  said("0", () => 0),
  said("NaN", () => Number.NaN),
  said("1n", () => 1n),
  said("Symbol()", () => Symbol("s")),
  said('""', () => ""),
  said("a huge text", () => "x\n\u001b[31m".repeat(100_000)),
  said("half a surrogate", () => "\ud800"),
  said("[]", () => []),
  said("{}", () => ({})),
  said("an object without a prototype", () => Object.create(null)),
  said("a function", () => () => {}),
  said("a date", () => new Date(Number.NaN)),
  said("a list that holds itself", () => {
    const list: unknown[] = [];
    list.push(list);
    return list;
  }),
  said(
    "an object whose every getter throws",
    () =>
      new Proxy(
        {},
        {
          get: () => {
            throw new Error("no");
          },
        },
      ),
  ),
  said("an object whose every trap throws", () => {
    const no = () => {
      throw new Error("no");
    };
    return new Proxy({}, { get: no, has: no, ownKeys: no, getPrototypeOf: no, getOwnPropertyDescriptor: no });
  }),
  said("a revoked proxy", () => {
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    return proxy;
  }),
  said("an object with a toString that throws", () => ({
    toString: () => {
      throw new Error("no");
    },
    toJSON: () => {
      throw new Error("no");
    },
  })),
  said("an error", () => new Error("went\nwrong")),
  said("an error whose message throws", () => new Hostile()),
  said("an error whose message is a number", () => Object.assign(new Error(), { message: 5 })),
  said("an error with itself as its cause", () => {
    const error = new Error("x");
    error.cause = error;
    return error;
  }),
  said("a thenable that throws", () => ({
    get [THEN]() {
      throw new Error("no");
    },
  })),
];

const evil = fc.constantFrom(...EVIL);

// Modules --------------------------------------------------------------------------------------------------

const goodTransport = (): Record<string, unknown> => ({
  name: "x",
  schemes: ["x:"],
  check: () => [],
  deliver: async () => ({ kind: "delivered" }),
  close: async () => {},
});

const goodPlugin = (): Record<string, unknown> => ({
  name: "mine",
  apiVersion: 1,
  envPrefix: "MINE_",
  options: { type: "object", properties: { MINE_SIZE: { type: "integer", default: 1, minimum: 1 } } },
  transports: [goodTransport()],
});

/** What is done to a part of a good plugin. */
const change = fc.tuple(
  fc.constantFrom("module", "plugin", "options", "properties", "option", "transport"),
  fc.constantFrom("replace", "remove", "throw", "add"),
  fc.nat(10),
  evil,
);

/** How the transports are given. */
const givenAs = fc.constantFrom("list", "function", "promise", "throws", "rejects", "evil", "twice");

interface Made {
  readonly source: string;
  readonly module: () => unknown;
}

const modules: fc.Arbitrary<Made> = fc
  .tuple(fc.array(change, { maxLength: 3 }), givenAs, evil)
  .map(([changes, how, thing]) => ({
    source: `${how} (${thing.source}) ${changes.map(([where, what, at, by]) => `${where} ${at} ${what} ${by.source}`).join("; ")}`,
    module: () => {
      const plugin = goodPlugin();
      const module: Record<string, unknown> = { default: plugin };
      const [transport] = plugin.transports as Record<string, unknown>[];
      const options = plugin.options as Record<string, unknown>;
      const properties = options.properties as Record<string, unknown>;
      const parts = {
        module,
        plugin,
        options,
        properties,
        option: properties.MINE_SIZE,
        transport,
      } as Record<string, Record<string, unknown>>;
      for (const [where, what, at, by] of changes) alter(parts[where] ?? {}, what, at, by);
      plugin.transports = transportsAs(how, plugin.transports, thing);
      return module;
    },
  }));

function alter(part: Record<string, unknown>, what: string, at: number, by: Evil): void {
  const names = Object.keys(part);
  const name = names[at % Math.max(1, names.length)] ?? "x";
  if (what === "remove") delete part[name];
  else if (what === "add") part[`added${at}`] = by.make();
  else if (what === "replace") part[name] = by.make();
  else {
    Object.defineProperty(part, name, {
      enumerable: true,
      configurable: true,
      get: () => {
        throw by.make();
      },
      set: () => {},
    });
  }
}

function transportsAs(how: string, list: unknown, thing: Evil): unknown {
  switch (how) {
    case "function":
      return () => list;
    case "promise":
      return async () => list;
    case "throws":
      return () => {
        throw thing.make();
      };
    case "rejects":
      return () => Promise.reject(thing.make());
    case "evil":
      return () => [thing.make()];
    case "twice":
      return () => (Array.isArray(list) ? [...list, ...list] : list);
    default:
      return list;
  }
}

/** It becomes transports that deliver, or the start ends with one clear line. */
async function isPluginOrRefused({ module }: Made): Promise<void> {
  const builtIn = [createHttpTransport({ allowPrivate: true, version: "fuzz", clock: systemClock })];
  try {
    const loaded = await loadPlugins(["./mine.ts"], {
      modules: { isCompiled: false, provide: () => {}, load: async () => module() },
      clock: systemClock,
      folder: import.meta.dir.replace(/fuzz$/, "fuzz/plugins-stand-in"),
    });
    const plugins = loaded.map(({ given, plugin }) => {
      const { envPrefix: prefix, options: schema } = plugin;
      if (prefix === undefined || schema === undefined) return { given, plugin, options: {} };
      const found = lookingAt(given, () => readOptions({ owner: "plugin", prefix, schema }, [], () => null));
      for (const { line } of found.problems) isOneLine(line);
      return { given, plugin, options: found.values };
    });
    const logger = { debug() {}, info() {}, warn() {}, error() {} };
    const contextFor = () => ({ version: "fuzz", allowPrivateUrls: true, logger });
    const transports = await openPlugins(plugins, { clock: systemClock, builtIn, contextFor });
    new TransportRegistry([...builtIn, ...transports]);
  } catch (error) {
    must(
      error instanceof TaskRunnerError && error.code === "validation_failed",
      () => `it is refused by ${describe(error)}`,
    );
    isOneLine(error.message);
    must(error.message.startsWith("plugin "), () => `it is refused without its name: ${error.message}`);
  }
}

function isOneLine(line: string): void {
  must(
    line.length < LONGEST_LINE && !/\p{Cc}/u.test(line),
    () => `this is no one line: ${JSON.stringify(line.slice(0, 300))}`,
  );
}

function describe(error: unknown): string {
  try {
    return error instanceof Error ? (error.stack ?? error.message) : String(error);
  } catch {
    return "something that cannot be told";
  }
}

// Checks ---------------------------------------------------------------------------------------------------

/** A target is judged, or refused, whatever a transport's check does. */
function checksOrRefuses(thing: Evil): void {
  for (const check of [
    () => thing.make(),
    () => [thing.make()],
    () => {
      throw thing.make();
    },
  ]) {
    const broken = { ...goodTransport(), check } as unknown as Transport;
    const registry = new TransportRegistry([heldToContract(broken)]);
    const problems = registry.check(newTarget({ url: "x:y" }));
    must(Array.isArray(problems), () => "it gave no list");
    for (const { path, message, forbidden } of problems) {
      const isOne = typeof path === "string" && typeof message === "string" && typeof forbidden === "boolean";
      must(isOne, () => `it gave ${Bun.inspect(problems)}`);
    }
  }
}

// Deliveries -----------------------------------------------------------------------------------------------

const OUTCOMES = ["delivered", "failed", "deferred", "other"] as const;

const behaviours: fc.Arbitrary<Evil> = fc.oneof(
  {
    weight: 3,
    arbitrary: evil.map((thing) =>
      said(`throws ${thing.source}`, () => {
        throw thing.make();
      }),
    ),
  },
  {
    weight: 3,
    arbitrary: evil.map((thing) => said(`rejects with ${thing.source}`, () => Promise.reject(thing.make()))),
  },
  { weight: 2, arbitrary: evil.map((thing) => said(`gives ${thing.source}`, () => thing.make())) },
  {
    weight: 2,
    arbitrary: evil.map((thing) => said(`resolves with ${thing.source}`, async () => thing.make())),
  },
  {
    weight: 6,
    arbitrary: fc.tuple(fc.constantFrom(...OUTCOMES), evil, evil, evil).map(([kind, a, b, c]) =>
      said(`${kind} with ${a.source}, ${b.source}, ${c.source}`, async () => ({
        ...{ kind, status: a.make(), error: b.make(), reason: b.make(), responseExcerpt: c.make() },
        ...{ permanent: a.make(), retryAfterMs: b.make(), afterMs: 0, hostAtFault: c.make() },
      })),
    ),
  },
);

const hanging: fc.Arbitrary<Evil> = fc.constantFrom(
  said("never settles", () => new Promise(() => {})),
  said("is a thenable that never settles", () => ({ [THEN]: () => {} })),
);

function misbehaving(played: ReadonlyMap<string, Evil>): Transport {
  const deliver = ({ taskId }: { readonly taskId: string }) => played.get(taskId)?.make();
  return { ...goodTransport(), name: "bad", schemes: ["bad:"], deliver } as unknown as Transport;
}

const ENDED = new Set(["succeeded", "dead"]);

/** Each delivery comes to an outcome that can be read, and the next one is made. */
async function eachComesToAnEnd(
  cases: Cases,
  bench: Bench,
  played: Map<string, Evil>,
  all: readonly Evil[],
): Promise<void> {
  cases.count("plugins: single deliveries", all.length);
  const tasks = all.map(() => newTask({ target: newTarget({ url: "bad:x" }), timeoutMs: 200 }));
  for (const [at, task] of tasks.entries()) played.set(task.id, all[at] ?? said("", () => undefined));
  await bench.store.enqueue(tasks);
  const read = () => Promise.all(tasks.map(({ id }) => bench.get(id)));
  const isOver = (task: Task) => ENDED.has(task.state) || task.releases > 0;
  const untilMs = performance.now() + PATIENCE_MS;
  while (!(await read()).every(isOver)) {
    must(performance.now() < untilMs, () => `a delivery is not over after ${PATIENCE_MS} ms`);
    await Bun.sleep(LOOK_MS);
  }
  for (const [at, task] of (await read()).entries()) {
    const gives = all[at]?.source ?? "";
    const failed = task.state === "dead" || task.releases > 0;
    must(gives.startsWith("delivered") || failed, () => `${gives}: the task is ${task.state}`);
    const { error = null } = task.attemptLog.at(-1) ?? {};
    must(
      error === null || (error.length < LONGEST_LINE && error !== ""),
      () => `${gives}: told as ${JSON.stringify(error)}`,
    );
    if (task.releases > 0) await bench.store.cancel(task.id);
    played.delete(task.id);
  }
}
