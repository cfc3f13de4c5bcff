/** Knows where the primary is by asking every Sentinel all the time, and tells at once when it has moved. */

import { type Clock, sleep } from "../../core/clock.ts";
import { messageOf } from "../../core/errors.ts";
import { addressText, type HostPort, type SentinelEndpoint } from "./address.ts";
import { type Duty, Link, LinkError } from "./link.ts";
import type { ConnectionLogger } from "./logger.ts";
import { Naps } from "./naps.ts";
import { type PrimaryLocator, sameAddress } from "./primary.ts";

/** Between two questions to one Sentinel while all is well. */
const ASK_EVERY_MS = 1_000;
/** The same while a connection is missing. */
const HURRIED_MS = 100;
/** One that does not answer is tried again after longer and longer, up to this. */
const MAX_PAUSE_MS = 1_000;
/** The same for one that nobody named in the settings. */
const MAX_STRANGER_PAUSE_MS = 30_000;
const OPEN_MS = 1_000;
const ANSWER_MS = 1_000;
/** A bound on `locate`, well above what a round of questions takes. */
const LOCATE_MS = 5_000;
/** A configuration nobody has confirmed for this long no longer outranks another one. */
const STALE_MS = 10_000;
/** Those who have not answered for this long when they are to vouch for the primary are left out. */
const VOUCH_MS = 500;
/**
 * Published by the Sentinel that will replace the primary, two turns of its timer before it does. By then whoever
 * goes on using the old one loses what it writes, even if a replica that does not know yet confirms it.
 */
const ELECTED = "+elected-leader";
/** So many Sentinels that hold a primary for down can be about to replace it. */
const DOUBTERS = 2;
/** Sentinels learnt of from others: at most so many, and forgotten after so many failures in a row. */
const MAX_STRANGERS = 8;
const STRANGER_FAILURES = 20;

/** A Sentinel and how it goes with it. */
interface Peer {
  readonly address: HostPort;
  /** Named in the settings, as opposed to learnt of from another Sentinel. */
  readonly given: boolean;
  link: Link | null;
  /** On which it tells by itself that it replaces the primary. Without it, that is only seen at the next question. */
  events: Link | null;
  failures: number;
  /** Whether it was replacing the primary when last heard of. */
  replacing: boolean;
  /** Why the last question failed; null when it was answered, or none was asked yet. */
  trouble: LinkError | null;
}

/** A primary, and the number of the configuration that made it so: every failover has a higher one. */
interface Primary {
  readonly address: HostPort;
  readonly epoch: number;
  heardAtMonoMs: number;
}

/** What one Sentinel says of the primary. */
interface View {
  readonly address: HostPort;
  readonly epoch: number;
  /** It wants to replace this very primary. */
  readonly failingOver: boolean;
  /** It has been elected to, and may have made another one already. */
  readonly replacing: boolean;
  /** It gets no answer from the primary. */
  readonly down: boolean;
  /** So do enough others for a failover. */
  readonly agreedDown: boolean;
}

export interface SentinelWatchOptions {
  readonly endpoint: SentinelEndpoint;
  readonly clock: Clock;
  readonly logger: ConnectionLogger;
  /** How CLIENT LIST of a Sentinel shows us. */
  readonly name: string;
}

/**
 * Polls instead of subscribing to `+switch-master`: the Sentinel that leads a failover publishes that only when
 * the other replicas have been turned round, a second and more after it names the new primary to who asks.
 * Every Sentinel is asked, over connections that stay open, so that one that stands still or has slept through
 * a failover costs no time and misleads nobody: the highest configuration number wins.
 */
export class SentinelWatch implements PrimaryLocator {
  readonly #options: SentinelWatchOptions;
  readonly #peers: Peer[] = [];
  readonly #closing = new AbortController();
  readonly #movedListeners = new Set<(to: HostPort | null) => void>();
  /** Of those who ask, until their next question. */
  readonly #pauses: Naps;
  /** Of those who wait for an answer or a failure. */
  readonly #news: Naps;
  #primary: Primary | null = null;
  #hurried = 0;
  #announcing = false;

  constructor(options: SentinelWatchOptions) {
    this.#options = options;
    this.#pauses = new Naps(options.clock);
    this.#news = new Naps(options.clock);
    for (const address of options.endpoint.sentinels) this.#follow(address, true);
  }

  async locate(): Promise<HostPort> {
    const { clock } = this.#options;
    const giveUpAtMonoMs = clock.monoMs() + LOCATE_MS;
    const release = this.hurry();
    try {
      for (;;) {
        if (this.#closing.signal.aborted) throw new LinkError("closed", true);
        const replacing = this.#isReplaced();
        if (this.#primary !== null && !this.#isStale(this.#primary) && !replacing)
          return this.#primary.address;
        const given = this.#peers.filter((peer) => peer.given);
        const leftMs = giveUpAtMonoMs - clock.monoMs();
        if (leftMs <= 0 && replacing) throw new LinkError("the primary is being replaced", false);
        if (leftMs <= 0 || given.every((peer) => peer.trouble !== null)) throw noAnswer(given);
        await this.#news.sleep(leftMs);
      }
    } finally {
      release();
    }
  }

  onMoved(listener: (to: HostPort | null) => void): () => void {
    this.#movedListeners.add(listener);
    return () => this.#movedListeners.delete(listener);
  }

  /**
   * Takes more than half of the Sentinels, none of which may know better. Those that are still being connected to
   * are waited for, within {@link VOUCH_MS}.
   */
  async vouch(address: HostPort): Promise<boolean> {
    const { clock } = this.#options;
    const giveUpAtMonoMs = clock.monoMs() + VOUCH_MS;
    const views = new Map<Peer, View>();
    const release = this.hurry();
    try {
      for (;;) {
        const asked = this.#peers.map(async (peer) => {
          if (peer.link?.isOpen === true && !views.has(peer)) views.set(peer, await this.#view(peer.link));
        });
        await Promise.race([Promise.allSettled(asked), sleep(clock, giveUpAtMonoMs - clock.monoMs())]);
        const told = [...views.values()];
        const refuted = told.some(
          (view) => view.failingOver || view.agreedDown || !sameAddress(view.address, address),
        );
        if (refuted || told.filter(({ down }) => down).length >= DOUBTERS) return false;
        if (views.size > this.#peers.length / 2) return true;
        const leftMs = giveUpAtMonoMs - clock.monoMs();
        if (leftMs <= 0 || this.#closing.signal.aborted) return false;
        await this.#news.sleep(leftMs);
      }
    } finally {
      release();
    }
  }

  hurry(): () => void {
    let released = false;
    this.#hurried++;
    if (this.#hurried === 1) this.#pauses.wakeAll();
    return () => {
      if (!released) this.#hurried--;
      released = true;
    };
  }

  announce(): void {
    if (this.#announcing) return;
    this.#announcing = true;
    for (const peer of this.#peers) if (peer.trouble !== null) this.#tellTrouble(peer, peer.trouble);
  }

  close(): void {
    this.#closing.abort();
    for (const peer of this.#peers) forget(peer, "closed");
    this.#pauses.wakeAll();
    this.#news.wakeAll();
  }

  #isStale(primary: Primary): boolean {
    return this.#options.clock.monoMs() - primary.heardAtMonoMs > STALE_MS;
  }

  #isReplaced(): boolean {
    return this.#peers.some((peer) => peer.replacing && peer.trouble === null);
  }

  #follow(address: HostPort, given: boolean): void {
    if (this.#peers.some((peer) => sameAddress(peer.address, address))) return;
    if (!given && this.#peers.filter((peer) => !peer.given).length >= MAX_STRANGERS) return;
    const peer: Peer = {
      address,
      given,
      link: null,
      events: null,
      failures: 0,
      replacing: false,
      trouble: null,
    };
    this.#peers.push(peer);
    // Asks until closed or forgotten, and survives every failure inside.
    void this.#keepAsking(peer);
  }

  async #keepAsking(peer: Peer): Promise<void> {
    const closed = this.#closing.signal;
    while (!closed.aborted) {
      try {
        await this.#ask(peer);
        if (peer.trouble !== null) this.#tellRecovery(peer);
        peer.failures = 0;
        peer.trouble = null;
      } catch (thrown) {
        forget(peer, messageOf(thrown));
        peer.failures++;
        const known = peer.trouble !== null;
        peer.trouble = thrown instanceof LinkError ? thrown : this.#trouble(peer, thrown);
        if (!known && this.#announcing && !closed.aborted) this.#tellTrouble(peer, peer.trouble);
        if (!peer.given && peer.failures >= STRANGER_FAILURES) {
          this.#peers.splice(this.#peers.indexOf(peer), 1);
          return;
        }
      }
      this.#news.wakeAll();
      if (!closed.aborted) await this.#pauses.sleep(this.#pauseMs(peer));
    }
    forget(peer, "closed");
  }

  #trouble(peer: Peer, thrown: unknown): LinkError {
    return new LinkError(`${addressText(peer.address)}: ${peer.link?.endReason ?? messageOf(thrown)}`, false);
  }

  /** One question to one Sentinel; rejects when it does not answer or knows nothing. */
  async #ask(peer: Peer): Promise<void> {
    const { clock } = this.#options;
    const fresh = peer.link === null || !peer.link.isOpen;
    const link = peer.link?.isOpen === true ? peer.link : await this.#dial(peer, "sentinel");
    peer.link = link;
    const view = await this.#view(link);
    this.#consider({ address: view.address, epoch: view.epoch, heardAtMonoMs: clock.monoMs() });
    this.#note(peer, view.replacing);
    if (fresh) await this.#learnOthers(link);
    // One that does not let us listen is asked all the same.
    if (peer.events?.isOpen !== true) await this.#listen(peer).catch(() => {});
  }

  async #listen(peer: Peer): Promise<void> {
    const events = await this.#dial(peer, "server");
    peer.events = events;
    events.onMessage((_channel, message) => {
      // "master NAME HOST PORT"
      if (message.split(" ")[1] === this.#options.endpoint.masterName) this.#note(peer, true);
    });
    await events.send("subscribe", [ELECTED]);
  }

  /** Whoever uses a primary that is being replaced is told at once. */
  #note(peer: Peer, replacing: boolean): void {
    const begins = replacing && !peer.replacing;
    peer.replacing = replacing;
    if (begins) this.#tellMoved(null);
  }

  #dial({ address }: Peer, duty: Duty): Promise<Link> {
    const { clock, endpoint, name } = this.#options;
    const { tls, sentinelPassword: password } = endpoint;
    return Link.open(
      {
        target: { ...address, db: 0, tls, ...(password === undefined ? {} : { password }) },
        duty,
        name,
        clock,
        openTimeoutMs: OPEN_MS,
        commandTimeoutMs: ANSWER_MS,
      },
      this.#closing.signal,
    );
  }

  /** One answer; rejects when there is none, or it knows no primary. */
  async #view(link: Link): Promise<View> {
    const { masterName } = this.#options.endpoint;
    // The address apart from the rest: while a failover ends, it is the new one sooner. In one write, so that
    // number and address belong together.
    const [address, state] = await Promise.all([
      link.send("sentinel", ["get-master-addr-by-name", masterName]),
      link.send("sentinel", ["master", masterName]),
    ]);
    const [host, port] = Array.isArray(address) ? (address as unknown[]) : [];
    const known = fields(state);
    const epoch = Number(known.get("config-epoch"));
    if (typeof host !== "string" || !Number.isInteger(Number(port)) || !Number.isInteger(epoch)) {
      throw new Error(`it knows no primary of ${masterName}`);
    }
    const flags = (known.get("flags") ?? "").split(",");
    const isOld = known.get("ip") === host && known.get("port") === String(port);
    const failingOver = isOld && flags.includes("failover_in_progress");
    return {
      address: { host, port: Number(port) },
      epoch,
      failingOver,
      replacing: failingOver && known.get("failover-state") !== "wait_start",
      down: isOld && flags.includes("s_down"),
      agreedDown: isOld && flags.includes("o_down"),
    };
  }

  /** Those that this one knows are asked too: one address may be all we were given. */
  async #learnOthers(link: Link): Promise<void> {
    const others = await link.send("sentinel", ["sentinels", this.#options.endpoint.masterName]);
    if (!Array.isArray(others)) return;
    for (const other of others.map(fields)) {
      const host = other.get("ip");
      const port = Number(other.get("port"));
      if (host !== undefined && host !== "" && port > 0) this.#follow({ host, port }, false);
    }
  }

  /**
   * A higher number is believed at once. A lower one, from a Sentinel that missed a failover, or another address
   * under the same number, is not, unless nobody has confirmed what we know for a while: then Sentinels were set
   * up anew and count from the start.
   */
  #consider(told: Primary): void {
    const known = this.#primary;
    if (known !== null && known.epoch === told.epoch && sameAddress(known.address, told.address)) {
      known.heardAtMonoMs = told.heardAtMonoMs;
      return;
    }
    if (known !== null && told.epoch <= known.epoch && !this.#isStale(known)) return;
    this.#primary = told;
    if (known === null || sameAddress(known.address, told.address)) return;
    this.#tellMoved(told.address);
  }

  #tellMoved(to: HostPort | null): void {
    for (const listener of [...this.#movedListeners]) listener(to);
  }

  #pauseMs(peer: Peer): number {
    if (peer.failures === 0) return this.#hurried > 0 ? HURRIED_MS : ASK_EVERY_MS;
    const doubledMs = HURRIED_MS * 2 ** Math.min(peer.failures, 10);
    return Math.min(doubledMs, peer.given ? MAX_PAUSE_MS : MAX_STRANGER_PAUSE_MS);
  }

  #tellTrouble(peer: Peer, trouble: LinkError): void {
    if (!peer.given) return;
    this.#options.logger.warn({ reason: trouble.message }, "a Sentinel does not answer");
  }

  #tellRecovery(peer: Peer): void {
    if (!peer.given || !this.#announcing) return;
    this.#options.logger.info({ sentinel: addressText(peer.address) }, "a Sentinel answers again");
  }
}

function forget(peer: Peer, reason: string): void {
  peer.link?.drop(reason);
  peer.events?.drop(reason);
  peer.link = null;
  peer.events = null;
}

/** Final when trying again cannot help: the Sentinels that are there refuse the login. */
function noAnswer(given: readonly Peer[]): LinkError {
  const troubles = given.map(
    (peer) => peer.trouble ?? new LinkError(`${addressText(peer.address)}: no answer`, false),
  );
  const reasons = troubles.map((trouble) => trouble.message).join("; ");
  return new LinkError(
    `no Sentinel can tell where the primary is: ${reasons}`,
    troubles.some((trouble) => trouble.final),
  );
}

/** A flat list of names and values as a map. */
function fields(flat: unknown): ReadonlyMap<string, string> {
  const map = new Map<string, string>();
  if (!Array.isArray(flat)) return map;
  for (let at = 0; at + 1 < flat.length; at += 2) map.set(String(flat[at]), String(flat[at + 1]));
  return map;
}
