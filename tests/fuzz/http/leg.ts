/** One server under fuzz from its first request to its last, and what must hold of it at the end. */

import { type Cases, type Job, must } from "../cases.ts";
import { type ApiDocument, readDocument } from "./document.ts";
import { judge, problemOf, type Sent } from "./judge.ts";
import { Pool } from "./pool.ts";
import { CLIENTS, type Planned } from "./requests.ts";
import { type FuzzedServer, type Held, startServer } from "./server.ts";
import { Wire, type WireAnswer } from "./wire.ts";

/** What a heap's and an allocator's moods, and a store's caches, may add after the warm-up. */
const MAX_GROWTH_BYTES = 128 * 1024 * 1024;
/** Files that a store may open and leave open between two looks. */
const MAX_NEW_FILES = 12;
/** Connections that the server has not noticed to be closed are gone by then. */
const SETTLE_MS = 500;
/** Keys and secrets that were told once and must not be told again; the latest of them are looked for. */
const MOST_SECRETS = 30;

export interface LegOptions {
  readonly name: string;
  readonly env: Readonly<Record<string, string>>;
  /** Whether the server asks for keys. */
  readonly keys: boolean;
}

const ADMIN_KEY = "fuzz-admin-key-3f9a1c7d5e";
const WRONG_KEY = "trk.fuzz-a.wrong-key-9b8c7d6e5f4a";
const SECRETS_KEY = "f0".repeat(32);

/** A server with clients, queues and keys to meet, and everything that was told of it. */
export class Leg {
  readonly options: LegOptions;
  readonly server: FuzzedServer;
  readonly document: ApiDocument;
  readonly pool = new Pool();
  readonly #wire: Wire;
  /** From an address of its own, so that wrong keys make no other request wait. */
  #wrongs = 0;
  #clientKey = "";
  readonly #secrets: string[] = [];
  #warm: Held | null = null;

  static async start(options: LegOptions): Promise<Leg> {
    const server = await startServer({
      DEFAULT_CLIENT_TIER: "enterprise",
      SECRETS_KEY,
      ...options.env,
      ...(options.keys && { ADMIN_API_KEY: ADMIN_KEY }),
    });
    try {
      const wire = new Wire(server.port);
      const answer = await wire.send({ method: "GET", path: "/openapi.json", headers: [], body: null });
      const leg = new Leg(options, server, readDocument(answer?.text ?? ""), wire);
      await leg.#prepare();
      return leg;
    } catch (error) {
      await server.stop();
      throw error;
    }
  }

  private constructor(options: LegOptions, server: FuzzedServer, document: ApiDocument, wire: Wire) {
    this.options = options;
    this.server = server;
    this.document = document;
    this.#wire = wire;
    for (const secret of [SECRETS_KEY, ...(options.keys ? [ADMIN_KEY, WRONG_KEY] : [])])
      this.#keepSecret(secret);
  }

  /** Makes things there to be met. */
  async #prepare(): Promise<void> {
    await this.admin("/admin/tiers/set", {
      tier: "enterprise",
      requests_per_minute: null,
      max_concurrent: null,
    });
    await this.admin("/admin/queues/set", { queue: "fuzz-pull", mode: "pull" });
    await this.admin("/admin/queues/set", { queue: "fuzz-push" });
    for (const client of CLIENTS) await this.admin("/admin/clients/set", { client_id: client });
    await this.#makeClientKey();
  }

  /** A case has revoked the key, or deleted its client: all others that show it would be refused from here on, and late. */
  async #renewClientKey(): Promise<void> {
    // It may have as many keys as it can.
    await this.ask("POST", "/admin/clients/delete", { client_id: CLIENTS[0] });
    await this.admin("/admin/clients/set", { client_id: CLIENTS[0] });
    await this.#makeClientKey();
  }

  async #makeClientKey(): Promise<void> {
    const created = await this.admin("/admin/clients/keys/create", { client_id: CLIENTS[0] });
    this.#clientKey = String(created.key);
    this.#keepSecret(this.#clientKey);
  }

  /** Asks as whoever may do everything; throws unless it was done. */
  async admin(path: string, body: unknown): Promise<Record<string, unknown>> {
    const answer = await this.ask("POST", path, body);
    must(answer.status < 300, () => `${path} answered ${answer.status}: ${answer.text}`);
    return JSON.parse(answer.text);
  }

  /** Sends JSON as whoever may do everything. */
  async ask(method: string, path: string, body?: unknown): Promise<WireAnswer> {
    const answer = await this.#wire.send({
      method,
      path,
      headers: [
        ...(body === undefined ? [] : [["Content-Type", "application/json"] as const]),
        ...this.#keyHeaders("admin"),
      ],
      body: body === undefined ? null : Buffer.from(JSON.stringify(body)),
    });
    must(answer !== null, () => `${method} ${path} got no answer`);
    return answer;
  }

  /** Sends a planned request and judges what comes back. */
  async try(planned: Planned): Promise<void> {
    const { sent, answer } = await this.send(planned);
    if (answer === null) {
      must(planned.odd, () => "the connection was closed without an answer");
      return;
    }
    judge(this.document, sent, answer);
    this.learn(sent.path, answer);
    if (answer.status === 401 && planned.shown === "client" && sent.path.startsWith("/v1/"))
      await this.#renewClientKey();
  }

  async send(
    planned: Planned,
    wire = this.#wire,
  ): Promise<{ readonly sent: Sent; readonly answer: WireAnswer | null }> {
    const path = this.pool.fill(planned.path);
    const body = typeof planned.body === "string" ? Buffer.from(this.pool.fill(planned.body)) : planned.body;
    const headers = [...planned.headers, ...this.#keyHeaders(planned.shown)];
    const type = headers.find(([name]) => name === "Content-Type")?.[1] ?? null;
    const opensAll = planned.shown === "admin" || !this.options.keys;
    const sent: Sent = { planned, path, body, contentType: type, opensAll };
    const request = { method: planned.method, path, headers, body };
    if (planned.shown !== "wrong" || !this.options.keys) return { sent, answer: await wire.send(request) };
    const stranger = new Wire(
      this.server.port,
      `127.0.${1 + (this.#wrongs >> 8)}.${1 + (this.#wrongs++ & 0xfe)}`,
    );
    try {
      return { sent, answer: await stranger.send(request) };
    } finally {
      stranger.close();
    }
  }

  /** No secret that was told before is in an answer; what this one tells is looked for from now on. */
  learn(path: string, answer: WireAnswer): void {
    const whole = `${[...answer.headers.values()].join("\n")}\n${answer.text}`;
    for (const secret of this.#secrets)
      must(!whole.includes(secret), () => `${path} tells a secret: ${whole.slice(0, 300)}`);
    if (answer.status >= 300 || !answer.text.startsWith("{")) return;
    const value = JSON.parse(answer.text);
    this.pool.learn(value);
    const told = path.endsWith("/keys/create")
      ? value.key
      : path.endsWith("/secrets/create")
        ? value.secret
        : null;
    if (typeof told === "string") this.#keepSecret(told);
  }

  /** To be called once the server has seen a part of what it will see. */
  async warm(): Promise<void> {
    await Bun.sleep(SETTLE_MS);
    this.#warm = await this.server.holds();
  }

  /** Stops the server; adds what is wrong with how it ended. */
  async end(cases: Cases, job: Job): Promise<void> {
    const what = `http ${this.options.name}: at the end`;
    const found = (why: string) => cases.found({ what, why, example: "", seed: job.seed });
    this.#wire.close();
    await Bun.sleep(SETTLE_MS);
    const now = await this.server.holds();
    if (this.#warm !== null) {
      const grown = now.rssBytes - this.#warm.rssBytes;
      const files = now.files - this.#warm.files;
      cases.notes.push(
        `http ${this.options.name}: memory ${mib(this.#warm.rssBytes)} -> ${mib(now.rssBytes)} MiB, open files ${this.#warm.files} -> ${now.files}`,
      );
      if (grown > MAX_GROWTH_BYTES) found(`memory grew by ${mib(grown)} MiB`);
      if (files > MAX_NEW_FILES) found(`${files} files more are open`);
    }
    const status = await this.server.stop();
    if (status !== 0) found(`it ended with status ${status}:\n${this.server.lines()}`);
    for (const line of this.server.leaks) found(`a line of the log holds a secret: ${line.slice(0, 300)}`);
    for (const line of this.server.alarms) found(`it logged ${line.slice(0, 1_000)}`);
  }

  /** The problem of an answer that must be one. */
  problem(answer: WireAnswer) {
    return problemOf(this.document, answer);
  }

  #keyHeaders(shown: Planned["shown"]): readonly (readonly [string, string])[] {
    if (!this.options.keys) return [];
    switch (shown) {
      case "admin":
        return [["X-Admin-Key", ADMIN_KEY]];
      case "client":
        return [["Authorization", `Bearer ${this.#clientKey}`]];
      case "wrong":
        return [["X-API-Key", WRONG_KEY]];
      case "none":
        return [];
    }
  }

  #keepSecret(secret: string): void {
    this.#secrets.push(secret);
    this.server.watchFor(secret);
    if (this.#secrets.length > MOST_SECRETS) this.#secrets.splice(4, 1);
  }
}

function mib(bytes: number): string {
  return (bytes / 1_048_576).toFixed(1);
}
