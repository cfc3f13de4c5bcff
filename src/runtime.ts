/** The one place that knows whether Bun or Deno runs us: serving HTTP, the system's clock, and which runtime it is. */

import process from "node:process";
import { pathToFileURL } from "node:url";
import { hostInUrl, reachableHost } from "./core/address.ts";
import type { CancelTimer, Clock } from "./core/clock.ts";
import { messageOf, TaskRunnerError } from "./core/errors.ts";

/** What Deno tells of a request's connection; asked for the address only when it is wanted, for reading it costs. */
interface DenoConnection {
  readonly remoteAddr: { readonly hostname?: string };
}

/** The part of Deno's API that is used here; its own types clash with Bun's. */
interface DenoApi {
  readonly version: { readonly deno: string };
  serve(
    options: { hostname: string; port: number; onListen: () => void },
    handler: (request: Request, info: DenoConnection) => Response | Promise<Response>,
  ): {
    readonly addr: { readonly port: number };
    readonly finished: Promise<void>;
    shutdown(): Promise<void>;
  };
}

function denoApi(): DenoApi | undefined {
  return (globalThis as { Deno?: DenoApi }).Deno;
}

/** The runtime's name and version, e.g. `bun 1.4.5`. */
export function runtimeName(): string {
  const deno = denoApi();
  return deno === undefined ? `bun ${Bun.version}` : `deno ${deno.version.deno}`;
}

/** Bun sends this many requests at once and lets the others wait, unless told otherwise when the process begins. */
const BUN_FETCH_LIMIT = 256;
const BUN_FETCH_LIMIT_NAME = "BUN_CONFIG_MAX_HTTP_REQUESTS";
/** Bun keeps the limit in 16 bits. */
const BUN_FETCH_LIMIT_MAX = 65_000;

/**
 * Makes sure that `count` requests can be under way at once. Where the runtime's limit is lower and can only be
 * raised at the beginning, the program is begun anew in this process (execve), with the same arguments and
 * id, and this does not return; so call it before anything is opened. `env` is the environment in force.
 */
export function allowRequestsAtOnce(count: number, env: Readonly<Record<string, string | undefined>>): void {
  if (denoApi() !== undefined || count <= Number(env[BUN_FETCH_LIMIT_NAME] || BUN_FETCH_LIMIT)) return;
  const limit = String(Math.min(count * 2, BUN_FETCH_LIMIT_MAX));
  const args = isCompiled() ? process.argv.slice(2) : [...process.execArgv, ...process.argv.slice(1)];
  process.execve?.(process.execPath, [process.execPath, ...args], { ...env, [BUN_FETCH_LIMIT_NAME]: limit });
}

/** Whether the program is one compiled file. */
export function isCompiled(): boolean {
  return denoApi() === undefined && /^(?:\/\$bunfs\/|[A-Z]:[\\/]~BUN[\\/])/.test(Bun.main);
}

/**
 * Modules from outside of the program. `provide` gives a module a name that they can import, which Deno has no way
 * for; `load` rejects as the runtime does.
 */
export const outsideModules = {
  get isCompiled(): boolean {
    return isCompiled();
  },
  provide(name: string, exports: object): void {
    if (denoApi() !== undefined) return;
    // A copy, for Bun wants a plain object.
    const module = { exports: { ...exports }, loader: "object" as const };
    Bun.plugin({ name, setup: (build) => void build.module(name, () => module) });
  },
  load(path: string): Promise<unknown> {
    return import(pathToFileURL(path).href);
  },
};

export interface ServeOptions {
  readonly hostname: string;
  /** 0 takes a free one. */
  readonly port: number;
  readonly fetch: (request: Request) => Response | Promise<Response>;
  /** How long a connection may stay silent, at most 255; Deno has no such setting and ignores it. */
  readonly idleTimeoutSec: number;
}

export interface HttpServer {
  /** The port that is really listened on. */
  readonly port: number;
  readonly hostname: string;
  /** Where a client on this machine reaches it, without a slash at the end. */
  readonly url: string;
  /** The address that a request under way comes from, which may be a proxy's; null where it is not known. */
  addressOf(request: Request): string | null;
  /**
   * From now on each answer is the last of its connection, as it says: so that clients who keep theirs come back to
   * another server, and none is closed under a request that is on its way.
   */
  endConnections(): void;
  /**
   * Stops accepting, lets requests in flight finish for at most `graceMs`, then closes what is left.
   * Never rejects.
   */
  stop(graceMs: number): Promise<void>;
}

/**
 * Listens on HTTP. Throws a TaskRunnerError with one clear line when the address cannot be listened on.
 */
export function serveHttp(options: ServeOptions): HttpServer {
  try {
    const deno = denoApi();
    return deno === undefined ? serveOnBun(options) : serveOnDeno(deno, options);
  } catch (error) {
    const code = (error as { code?: unknown }).code;
    const why =
      code === "EADDRINUSE"
        ? "the port is in use"
        : code === "EADDRNOTAVAIL"
          ? "the address is not one of this machine"
          : code === "EACCES"
            ? "not permitted"
            : messageOf(error);
    throw new TaskRunnerError(
      "internal_error",
      `cannot listen on ${hostInUrl(options.hostname)}:${options.port}: ${why}`,
      { cause: error },
    );
  }
}

/** Requests go to the handler as they are, until each answer is to be the last of its connection. */
function endable(fetch: ServeOptions["fetch"]) {
  let ending = false;
  return {
    fetch: (request: Request) => (ending ? lastAnswer(fetch(request)) : fetch(request)),
    endConnections: () => {
      ending = true;
    },
  };
}

async function lastAnswer(answer: Response | Promise<Response>): Promise<Response> {
  const last = await answer;
  last.headers.set("connection", "close");
  return last;
}

function serveOnBun({ hostname, port, fetch, idleTimeoutSec }: ServeOptions): HttpServer {
  const answers = endable(fetch);
  const server = Bun.serve({
    hostname,
    port,
    idleTimeout: idleTimeoutSec,
    // The API bounds bodies itself, with an answer that says so; Bun's own would be a bare 413.
    maxRequestBodySize: Number.MAX_SAFE_INTEGER,
    fetch: (request) => answers.fetch(request),
  });
  return {
    endConnections: answers.endConnections,
    ...httpServer(hostname, server.port ?? port, {
      drained: () => server.stop(),
      close: () => server.stop(true),
    }),
    addressOf: (request) => server.requestIP(request)?.address ?? null,
  };
}

function serveOnDeno(deno: DenoApi, { hostname, port, fetch }: ServeOptions): HttpServer {
  // Deno 2.9 closes a server gently or by force, but fails when force follows: so what is still in flight
  // then is answered, which ends the gentle close.
  const giveUps = new Set<() => void>();
  const infos = new WeakMap<Request, DenoConnection>();
  const answers = endable(fetch);
  const answer = (request: Request, info: DenoConnection) =>
    new Promise<Response>((resolve, reject) => {
      infos.set(request, info);
      const giveUp = () => resolve(new Response(null, { status: 503 }));
      giveUps.add(giveUp);
      new Promise<Response>((resolved) => resolved(answers.fetch(request)))
        .then(resolve, reject)
        .finally(() => giveUps.delete(giveUp));
    });
  const server = deno.serve({ hostname, port, onListen: () => {} }, answer);
  return {
    endConnections: answers.endConnections,
    ...httpServer(hostname, server.addr.port, {
      drained: () => server.shutdown(),
      close: async () => {
        for (const giveUp of giveUps) giveUp();
        await server.finished;
      },
    }),
    addressOf: (request) => infos.get(request)?.remoteAddr.hostname ?? null,
  };
}

/** How a server is stopped: gently, which may take for ever, and at once. */
interface Stoppable {
  drained(): Promise<void>;
  close(): Promise<void>;
}

/** What closing by force may take at most; a connection that will not go is left to the end of the process. */
const CLOSE_MS = 1_000;

function httpServer(
  hostname: string,
  port: number,
  stoppable: Stoppable,
): Omit<HttpServer, "addressOf" | "endConnections"> {
  return {
    hostname,
    port,
    url: `http://${hostInUrl(reachableHost(hostname))}:${port}`,
    stop: async (graceMs) => {
      if (await within(graceMs, stoppable.drained())) return;
      await within(CLOSE_MS, stoppable.close());
    },
  };
}

/** Whether `work` ended, well or not, within the time. */
function within(timeMs: number, work: Promise<void>): Promise<boolean> {
  return new Promise((resolve) => {
    const cancel = systemClock.after(timeMs, () => resolve(false));
    const ended = () => {
      cancel();
      resolve(true);
    };
    work.then(ended, ended);
  });
}

/** The longest time a timer takes; past it, `setTimeout` fires at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** The system's time and timers, for any length of wait. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monoMs: () => performance.now(),
  after: (delayMs, fire): CancelTimer => {
    let leftMs = delayMs;
    let timer: ReturnType<typeof setTimeout>;
    const arm = () => {
      const stepMs = Math.min(Math.max(leftMs, 0), LONGEST_TIMER_MS);
      leftMs -= stepMs;
      timer = setTimeout(() => (leftMs > 0 ? arm() : fire()), stepMs);
    };
    arm();
    return () => clearTimeout(timer);
  },
};
