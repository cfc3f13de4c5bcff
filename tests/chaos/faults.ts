/** The faults that the nemesis does: what each needs, what it harms, and how it is begun and taken away. */

import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { Harm } from "./history.ts";
import type { Program } from "./program.ts";
import { ask, diskOf, insist } from "./redis-part.ts";
import { run, wait } from "./shell.ts";
import type { World } from "./world.ts";

/** A fault that is under way. */
export interface Begun {
  /** What it is done to, for people. */
  readonly subject: string;
  /** Takes it away; resolves when it is. */
  heal(): Promise<void>;
}

export interface FaultKind {
  readonly harms: readonly Harm[];
  /** Whether it needs places that can be cut off, disks of their own, or clocks that move. */
  readonly needs?: "isolation" | "clocks";
  begin(world: World, random: () => number): Promise<Begun>;
}

const SLEEP_MIN_SEC = 1;
const SLEEP_SPREAD_SEC = 3;
/** What Redis is left when its memory runs out. */
const SPARE_BYTES = 64 * 1_024;
const JUMP_SEC = 3_600;
/** API clocks are moved less: by how much they are wrong a task with a delay is. */
const API_JUMP_SEC = 2;

type Choose = (world: World, random: () => number) => Program | Promise<Program>;

const anApi: Choose = ({ apis }, random) => one(apis, random);
const aWorker: Choose = ({ workers }, random) => one(workers, random);
const aSentinel: Choose = ({ redis }, random) => one(redis.sentinels, random);
const thePrimary: Choose = ({ redis }) => redis.primary();
const aReplica: Choose = async ({ redis }, random) => {
  const primary = await redis.primary();
  return one(
    redis.servers.filter((server) => server !== primary),
    random,
  );
};

/** By name, as reports and seeds know them: an order of its own, which a seed's choices go by. */
export const FAULTS: Readonly<Record<string, FaultKind>> = {
  "kill api": killed("api", anApi),
  "kill worker": killed("worker", aWorker),
  "kill primary": killed("primary", thePrimary),
  "kill replica": killed("replica", aReplica),
  "kill sentinel": killed("sentinel", aSentinel),
  "freeze api": frozen("api", anApi),
  "freeze worker": frozen("worker", aWorker),
  "freeze primary": frozen("primary", thePrimary),
  "freeze replica": frozen("replica", aReplica),
  "freeze sentinel": frozen("sentinel", aSentinel),
  "cut api from redis": cutOff(["api"], async (world, random) => {
    const api = one(world.apis, random);
    return { subject: api.name, here: [api.name], there: names(world.redis.servers) };
  }),
  "cut worker from redis": cutOff(["worker"], async (world, random) => {
    const worker = one(world.workers, random);
    return { subject: worker.name, here: [worker.name], there: names(world.redis.servers) };
  }),
  "cut primary from replicas": cutOff(["primary", "replica"], async ({ redis }) => {
    const primary = await redis.primary();
    return {
      subject: primary.name,
      here: [primary.name],
      there: names(redis.servers.filter((each) => each !== primary)),
    };
  }),
  "cut primary from all": cutOff(["primary"], async ({ redis, network }) => {
    const { name } = await redis.primary();
    return { subject: name, here: [name], there: [...network.places.keys()].filter((each) => each !== name) };
  }),
  // Its own API and worker go on with it for a while, on the smaller side.
  "split with primary": cutOff(
    ["primary", "api", "worker"],
    async ({ redis, network, apis, workers }, random) => {
      const primary = await redis.primary();
      const here = names([primary, one(apis, random), one(workers, random)]);
      return {
        subject: here.join("+"),
        here,
        there: [...network.places.keys()].filter((each) => !here.includes(each)),
      };
    },
  ),
  "cut sentinels": cutOff(["sentinel"], async ({ redis, network }, random) => {
    const here = names(redis.sentinels.slice(0, 1 + Math.floor(random() * 2)));
    return {
      subject: here.join("+"),
      here,
      there: [...network.places.keys()].filter((each) => !here.includes(each)),
    };
  }),
  "debug sleep": {
    harms: ["primary"],
    async begin({ redis }, random) {
      const primary = await redis.primary();
      const sec = SLEEP_MIN_SEC + random() * SLEEP_SPREAD_SEC;
      // It answers when it has slept, which is longer than a command is waited for.
      const asleep = ask(primary, "DEBUG", "SLEEP", sec.toFixed(2)).catch(() => {});
      const over = Promise.all([asleep, wait(sec * 1_000)]);
      return { subject: `${primary.name} ${sec.toFixed(1)} s`, heal: async () => void (await over) };
    },
  },
  "disk full": {
    harms: ["primary"],
    needs: "isolation",
    async begin({ redis }) {
      const primary = await redis.primary();
      const file = join(diskOf(primary.dir), "ballast");
      // Takes what there is, for it is asked for more.
      await run("/bin/sh", "-c", `cat /dev/zero > '${file}' 2>/dev/null; true`);
      return { subject: primary.name, heal: () => rm(file, { force: true }) };
    },
  },
  "memory full": {
    harms: ["primary", "memory"],
    async begin({ redis }) {
      const primary = await redis.primary();
      const used = /used_memory:(\d+)/.exec(await insist(primary, "INFO", "memory"))?.[1];
      await insist(primary, "CONFIG", "SET", "maxmemory", Number(used) + SPARE_BYTES);
      return {
        subject: primary.name,
        heal: async () => void (await insist(primary, "CONFIG", "SET", "maxmemory", 0)),
      };
    },
  },
  "move worker clock": moved("worker", JUMP_SEC, ({ workers }) => workers),
  "move api clock": moved("api", API_JUMP_SEC, ({ apis }) => apis),
  "slow target": weather({ slowMs: 1_500, dropShare: 0 }),
  "dropping target": weather({ slowMs: 0, dropShare: 0.5 }),
  "roll apis": rolled("api", ({ apis }) => apis),
  "roll workers": rolled("worker", ({ workers }) => workers),
};

function killed(harm: Harm, choose: Choose): FaultKind {
  return {
    harms: [harm],
    async begin(world, random) {
      const program = await choose(world, random);
      await program.kill();
      return { subject: program.name, heal: () => program.start() };
    },
  };
}

function frozen(harm: Harm, choose: Choose): FaultKind {
  return {
    harms: [harm],
    async begin(world, random) {
      const program = await choose(world, random);
      await program.freeze();
      return { subject: program.name, heal: async () => program.thaw() };
    },
  };
}

interface Sides {
  readonly subject: string;
  readonly here: readonly string[];
  readonly there: readonly string[];
}

function cutOff(
  harms: readonly Harm[],
  sides: (world: World, random: () => number) => Promise<Sides>,
): FaultKind {
  return {
    harms,
    needs: "isolation",
    async begin(world, random) {
      const { subject, here, there } = await sides(world, random);
      return { subject, heal: await world.network.cut(here, there) };
    },
  };
}

function moved(harm: Harm, sec: number, among: (world: World) => readonly Program[]): FaultKind {
  return {
    harms: [harm],
    needs: "clocks",
    async begin(world, random) {
      const program = among(world).find((each) => world.movable(each));
      if (program === undefined) throw new Error("there is no process whose clock can be moved");
      const aheadSec = random() < 0.5 ? sec : -sec;
      await world.moveClock(program, aheadSec);
      return { subject: `${program.name} by ${aheadSec} s`, heal: () => world.moveClock(program, 0) };
    },
  };
}

function weather(bad: { readonly slowMs: number; readonly dropShare: number }): FaultKind {
  return {
    harms: ["target"],
    async begin({ target }) {
      target.setWeather(bad);
      return { subject: "target", heal: async () => target.setWeather({ slowMs: 0, dropShare: 0 }) };
    },
  };
}

function rolled(harm: Harm, among: (world: World) => readonly Program[]): FaultKind {
  return {
    harms: [harm],
    async begin(world) {
      const rolling = (async () => {
        for (const program of among(world)) {
          await program.terminate();
          await program.start();
        }
      })();
      // Whoever heals hears of a failure.
      rolling.catch(() => {});
      return { subject: "all", heal: () => rolling };
    },
  };
}

function names(programs: readonly Program[]): string[] {
  return programs.map(({ name }) => name);
}

function one(programs: readonly Program[], random: () => number): Program {
  const chosen = programs[Math.floor(random() * programs.length)];
  if (chosen === undefined) throw new Error("there is nothing to choose from");
  return chosen;
}
