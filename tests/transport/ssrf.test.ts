/** More than a hundred ways to make the guard look at one host and dial another: none connects, unless it is allowed. */

import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { createServer, type Server } from "node:net";
import { createDialler, type Dialler } from "../../src/transport/http/dial.ts";
import type { HttpTransportOptions } from "../../src/transport/http/http.ts";
import { deliveryTo, unaborted } from "../conformance/transport.ts";
import { startTarget } from "../support/target.ts";
import { type DnsServer, startDns } from "./dns-server.ts";
import { httpTransport, realClock } from "./fixtures.ts";
import { probe, RUNTIMES } from "./runtimes.ts";
import { BAD_NAMES, CHANGING_NAMES, PUBLIC, URL_ATTEMPTS } from "./ssrf-attempts.ts";

const TEST_TIMEOUT_MS = 40_000;
const REDIRECTS = [300, 301, 302, 303, 307, 308];

/** What must not be reached: it counts every connection, whatever is said over it. */
class Canary {
  connections = 0;
  #servers: Server[] = [];
  port = 0;

  async start(): Promise<void> {
    this.port = await this.#listen("127.0.0.1", 0);
    await this.#listen("::1", this.port);
  }

  async stop(): Promise<void> {
    await Promise.all(this.#servers.map((server) => new Promise((closed) => server.close(closed))));
  }

  async #listen(host: string, port: number): Promise<number> {
    const server = createServer((socket) => {
      this.connections++;
      socket.on("error", () => socket.destroy());
      socket.on("data", () =>
        socket.end("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\ngold"),
      );
    });
    this.#servers.push(server);
    await new Promise<void>((listening) => server.listen(port, host, listening));
    const address = server.address();
    return address !== null && typeof address === "object" ? address.port : 0;
  }
}

const canary = new Canary();
let dns: DnsServer;
/** Every address that a dialler was told to dial, or the host where it was left the choice. */
let dialled: string[] = [];

/** The runtime's own dialler, kept from sending anything to a public address. */
function watchedDialler(): Dialler {
  const real = createDialler(realClock, null);
  return {
    dial: async (call) => {
      const { addresses } = call;
      dialled.push(...(addresses ?? [call.url.hostname]));
      if (addresses?.some((address) => (PUBLIC as readonly string[]).includes(address))) {
        throw Object.assign(new Error("not in a test"), { code: "ECONNREFUSED" });
      }
      return await real.dial(call);
    },
    close: () => real.close(),
  };
}

function transport(rules: Partial<HttpTransportOptions>) {
  return httpTransport({ allowPrivate: false, resolve: dns.resolve, dialler: watchedDialler(), ...rules });
}

const withPort = (url: string) => url.replaceAll("{port}", String(canary.port));
const nameUrl = (name: string) => `http://${name}:${canary.port}/`;

beforeAll(async () => {
  await canary.start();
  const bad = Object.entries(BAD_NAMES).map(([name, { answers }]) => [name, answers] as const);
  dns = await startDns({ ...Object.fromEntries(bad), ...CHANGING_NAMES });
});
afterAll(async () => {
  await Promise.all([canary.stop(), dns.stop()]);
});
beforeEach(() => {
  canary.connections = 0;
  dialled = [];
});

test("there are a hundred of them and more, no two alike", () => {
  const urls = URL_ATTEMPTS.map(({ url }) => url);
  expect(new Set(urls).size).toBe(urls.length);
  const names = Object.keys(BAD_NAMES).length + Object.keys(CHANGING_NAMES).length;
  expect(urls.length + names + REDIRECTS.length).toBeGreaterThan(120);
});

describe("where private addresses are not allowed", () => {
  test("no spelling, embedding or trick of the parser connects", async () => {
    const guarded = transport({});
    for (const { url } of URL_ATTEMPTS) {
      expect(guarded.check(deliveryTo(withPort(url)).target), url).not.toEqual([]);
      const outcome = await guarded.deliver(deliveryTo(withPort(url)), unaborted());
      expect(outcome, url).toMatchObject({
        kind: "failed",
        permanent: true,
        hostAtFault: false,
        status: null,
      });
    }
    expect({ dialled, connections: canary.connections }).toEqual({ dialled: [], connections: 0 });
  });

  for (const runtime of RUNTIMES) {
    test(
      `nor does one on ${runtime.name} with the system's resolver`,
      async () => {
        const deliver = URL_ATTEMPTS.map(({ url }) => ({ url: withPort(url), allowPrivate: false }));
        const { outcomes } = await probe(runtime, { deliver });
        expect(outcomes.length).toBe(URL_ATTEMPTS.length);
        for (const outcome of outcomes) expect(outcome).toMatchObject({ kind: "failed", permanent: true });
        expect(canary.connections).toBe(0);
      },
      TEST_TIMEOUT_MS,
    );
  }

  test("no name connects that has a bad address, alone or among good ones", async () => {
    const guarded = transport({});
    for (const name of Object.keys(BAD_NAMES)) {
      expect(guarded.check(deliveryTo(nameUrl(name)).target), name).toEqual([]);
      const outcome = await guarded.deliver(deliveryTo(nameUrl(name)), unaborted());
      expect(outcome, name).toMatchObject({
        kind: "failed",
        permanent: true,
        error: expect.stringMatching(
          new RegExp(`^${name} resolves to an? .* address, which is not allowed$`),
        ),
      });
    }
    expect({ dialled, connections: canary.connections }).toEqual({ dialled: [], connections: 0 });
  });

  test("a name that changes is asked for once an attempt, and what is dialled is what was looked at", async () => {
    const guarded = transport({});
    for (const name of Object.keys(CHANGING_NAMES)) {
      const askedBefore = dns.asked.length;
      dialled = [];
      const first = await guarded.deliver(deliveryTo(nameUrl(name)), unaborted());
      expect(first, name).toMatchObject({ kind: "failed", permanent: false, error: "connection refused" });
      expect(dns.asked.slice(askedBefore), name).toEqual([name]);
      expect(dialled.length, name).toBeGreaterThan(0);
      for (const address of dialled) expect(PUBLIC as readonly string[]).toContain(address);

      dialled = [];
      for (const attempt of [2, 3]) {
        const later = await guarded.deliver(deliveryTo(nameUrl(name), { attempt }), unaborted());
        expect(later, name).toMatchObject({ kind: "failed", permanent: true });
      }
      expect(dialled, name).toEqual([]);
    }
    expect(canary.connections).toBe(0);
  });

  for (const status of REDIRECTS) {
    test(`an allowed host that answers ${status} leads nowhere`, async () => {
      await using redirecting = await startTarget(({ path }) => ({
        status,
        headers: { location: `http://${path.slice(1)}/`, refresh: `0; url=http://${path.slice(1)}/` },
      }));
      const guarded = transport({ allowCidrs: ["127.0.0.1/32"] });
      for (const host of ["127.0.0.1", "[::1]", "localhost"]) {
        const url = `${redirecting.url}/${host}:${canary.port}`;
        const outcome = await guarded.deliver(deliveryTo(url), unaborted());
        expect(outcome).toMatchObject({ kind: "failed", status });
      }
      expect(redirecting.requests.length).toBe(3);
      expect(canary.connections).toBe(0);
    });
  }
});

describe("where private addresses are allowed", () => {
  test("every spelling, embedding and trick that leads here connects", async () => {
    const open = transport({ allowPrivate: true });
    const reaching = URL_ATTEMPTS.filter(({ reaches }) => reaches);
    expect(reaching.length).toBeGreaterThan(40);
    for (const { url } of reaching) {
      const before = canary.connections;
      expect(open.check(deliveryTo(withPort(url)).target), url).toEqual([]);
      const outcome = await open.deliver(deliveryTo(withPort(url)), unaborted());
      expect(outcome, url).toMatchObject({ kind: "delivered", responseExcerpt: "gold" });
      // A runtime may try both addresses of `localhost` at once.
      expect(canary.connections - before, url).toBeGreaterThan(0);
    }
  });

  for (const runtime of RUNTIMES) {
    test(
      `so do they on ${runtime.name} with the system's resolver`,
      async () => {
        const reaching = URL_ATTEMPTS.filter(({ reaches }) => reaches);
        const { outcomes } = await probe(runtime, {
          deliver: reaching.map(({ url }) => ({ url: withPort(url) })),
        });
        const failed = reaching.filter((_, index) => outcomes[index]?.kind !== "delivered");
        expect(failed).toEqual([]);
      },
      TEST_TIMEOUT_MS,
    );
  }

  test("every name connects that has an address of this machine, and none that a denied block holds", async () => {
    // Something is denied, so names are resolved here.
    const open = transport({ allowPrivate: true, denyCidrs: ["203.0.113.0/24"] });
    const denying = transport({ allowPrivate: true, denyCidrs: ["127.0.0.0/8", "0.0.0.0/8", "::1/128"] });
    const reaching = Object.entries(BAD_NAMES).filter(([, { reaches }]) => reaches);
    for (const [name] of reaching) {
      const before = canary.connections;
      expect((await open.deliver(deliveryTo(nameUrl(name)), unaborted())).kind, name).toBe("delivered");
      // One that carries nothing may come before it, to find out whether the host is there.
      expect(canary.connections - before, name).toBeGreaterThanOrEqual(1);
      expect(await denying.deliver(deliveryTo(nameUrl(name)), unaborted()), name).toMatchObject({
        kind: "failed",
        permanent: true,
        error: expect.stringContaining("an address that EGRESS_DENY_CIDRS holds"),
      });
      // One that carries nothing may come before it, to find out whether the host is there.
      expect(canary.connections - before, name).toBeGreaterThanOrEqual(1);
    }
  });
});
