/** Where the processes of a chaos run live: each in a network namespace of its own behind one bridge, or all on loopback. */

import { existsSync } from "node:fs";
import { run } from "./shell.ts";

/** Where one process runs. */
export interface Place {
  readonly name: string;
  /** The address that the others reach it by. */
  readonly host: string;
  /** What is put before a command so that it runs there. */
  readonly through: readonly string[];
}

export interface Network {
  /** Whether places can be cut off from each other. */
  readonly isolated: boolean;
  /** The address of this process, as the places reach it. */
  readonly hub: string;
  readonly places: ReadonlyMap<string, Place>;
  /** From now on nothing passes between the places of `here` and those of `there`; the returned function ends it. */
  cut(here: readonly string[], there: readonly string[]): Promise<() => Promise<void>>;
}

const LOOPBACK = "127.0.0.1";
/** Benchmarking addresses (RFC 2544): no network routes them, so that none of the machine's own is hidden. */
const BLOCK = "198.18";

/** What namespaces and links of this process are named with; whoever clears up goes by it. */
export function networkNames(pid: number): {
  readonly prefix: string;
  readonly bridge: string;
  link(index: number): string;
} {
  const tag = pid.toString(36);
  return { prefix: `chaos-${pid}-`, bridge: `chb${tag}`, link: (index) => `chv${tag}-${index}` };
}

/** Why this machine gives no namespaces; null when it does. */
export async function whyNotIsolated(): Promise<string | null> {
  if (process.getuid?.() !== 0) return "not root";
  for (const program of ["ip", "nft", "nsenter"]) {
    if (Bun.which(program) === null) return `${program} is not installed`;
  }
  const probe = `chaos-${process.pid}-probe`;
  try {
    await run("ip", "netns", "add", probe);
    await run("ip", "netns", "exec", probe, "nft", "list", "ruleset");
    return null;
  } catch (thrown) {
    return `namespaces cannot be made here (${thrown instanceof Error ? thrown.message : thrown})`;
  } finally {
    await run("ip", "netns", "del", probe).catch(() => {});
  }
}

/** All places on loopback: nothing can be cut. */
export function openLoopback(names: readonly string[]): Network {
  return {
    isolated: false,
    hub: LOOPBACK,
    places: new Map(names.map((name) => [name, { name, host: LOOPBACK, through: [] }])),
    cut: () => Promise.reject(new Error("nothing can be cut on loopback")),
  };
}

/** A namespace for each name, joined by a bridge on which this process is too. The guard takes it all down. */
export async function openNamespaces(names: readonly string[]): Promise<Network> {
  const { prefix, bridge, link } = networkNames(process.pid);
  const block = await freeBlock();
  const hub = `${block}.1`;
  await run("ip", "link", "add", bridge, "type", "bridge");
  await run("ip", "addr", "add", `${hub}/24`, "dev", bridge);
  await run("ip", "link", "set", bridge, "up");
  const places = new Map<string, Place>();
  for (const [index, name] of names.entries()) {
    const space = prefix + name;
    const host = `${block}.${index + 10}`;
    await run("ip", "netns", "add", space);
    await run("ip", "link", "add", link(index), "type", "veth", "peer", "name", "eth0", "netns", space);
    await run("ip", "link", "set", link(index), "master", bridge, "up");
    await run("ip", "-n", space, "link", "set", "lo", "up");
    await run("ip", "-n", space, "addr", "add", `${host}/24`, "dev", "eth0");
    await run("ip", "-n", space, "link", "set", "eth0", "up");
    await run("nsenter", `--net=/run/netns/${space}`, "nft", RULES);
    places.set(name, { name, host, through: ["nsenter", `--net=/run/netns/${space}`] });
  }
  return new Namespaces(hub, places);
}

/** What comes from an address that is cut off is dropped without a word, as a torn cable does it. */
const RULES =
  "add table inet chaos; add set inet chaos cut { type ipv4_addr; }; " +
  "add chain inet chaos arriving { type filter hook input priority 0; }; " +
  "add rule inet chaos arriving ip saddr @cut drop";

class Namespaces implements Network {
  readonly isolated = true;
  readonly hub: string;
  readonly places: ReadonlyMap<string, Place>;
  /** By place, how many cuts keep each address away. */
  readonly #cuts = new Map<string, Map<string, number>>();
  /** By place, what sets its rules last: two cuts that change at once must not overtake each other. */
  readonly #applied = new Map<string, Promise<void>>();

  constructor(hub: string, places: ReadonlyMap<string, Place>) {
    this.hub = hub;
    this.places = places;
  }

  async cut(here: readonly string[], there: readonly string[]): Promise<() => Promise<void>> {
    await this.#change(here, there, 1);
    return () => this.#change(here, there, -1);
  }

  async #change(here: readonly string[], there: readonly string[], by: number): Promise<void> {
    for (const [to, from] of [
      [here, there],
      [there, here],
    ] as const) {
      for (const name of to) {
        const cuts = this.#cuts.get(name) ?? new Map<string, number>();
        this.#cuts.set(name, cuts);
        for (const other of from) {
          const host = this.#place(other).host;
          cuts.set(host, (cuts.get(host) ?? 0) + by);
        }
      }
    }
    await Promise.all([...new Set([...here, ...there])].map((name) => this.#apply(name)));
  }

  #apply(name: string): Promise<void> {
    const before = this.#applied.get(name) ?? Promise.resolve();
    const applied = before.catch(() => {}).then(() => this.#set(name));
    this.#applied.set(name, applied);
    return applied;
  }

  async #set(name: string): Promise<void> {
    const gone = [...(this.#cuts.get(name) ?? [])].flatMap(([host, count]) => (count > 0 ? [host] : []));
    const add = gone.length === 0 ? "" : `; add element inet chaos cut { ${gone.join(", ")} }`;
    await run(...this.#place(name).through, "nft", `flush set inet chaos cut${add}`);
  }

  #place(name: string): Place {
    const place = this.places.get(name);
    if (place === undefined) throw new Error(`there is no place ${name}`);
    return place;
  }
}

/** A block of 256 addresses that no interface has, e.g. `198.18.7`. */
async function freeBlock(): Promise<string> {
  const taken = await run("ip", "-o", "-4", "addr");
  for (let tries = 0; tries < 256; tries++) {
    const block = `${BLOCK}.${(process.pid + tries) % 256}`;
    if (!taken.includes(` ${block}.`)) return block;
  }
  throw new Error(`every block of ${BLOCK}.0.0/16 is in use`);
}

/** The library that moves a process' clock; null where it is not installed. */
export function fakeTimeLibrary(): string | null {
  const folders = ["/usr/lib/x86_64-linux-gnu/faketime", "/usr/lib/aarch64-linux-gnu/faketime"];
  return folders.map((folder) => `${folder}/libfaketimeMT.so.1`).find((path) => existsSync(path)) ?? null;
}
