/** The runtime's seam: HTTP is served and stopped as promised, and timers hold for any length. */

import { afterEach, describe, expect, test } from "bun:test";
import { type HttpServer, serveHttp, systemClock } from "../../src/runtime.ts";

const open: HttpServer[] = [];
afterEach(async () => {
  for (const server of open.splice(0)) await server.stop(0);
});

function serve(fetch: (request: Request) => Response | Promise<Response>, port = 0): HttpServer {
  const server = serveHttp({ hostname: "127.0.0.1", port, fetch, idleTimeoutSec: 10 });
  open.push(server);
  return server;
}

describe("serveHttp", () => {
  test("tells the port that it really listens on", async () => {
    const server = serve(() => new Response("here"));
    expect(server.port).toBeGreaterThan(0);
    expect(server.url).toBe(`http://127.0.0.1:${server.port}`);
    expect(await (await fetch(server.url)).text()).toBe("here");
  });

  test("says in one line that a port is in use", () => {
    const { port } = serve(() => new Response());
    expect(() => serve(() => new Response(), port)).toThrow(
      `cannot listen on 127.0.0.1:${port}: the port is in use`,
    );
  });

  test("leaves the bounding of bodies to the handler", async () => {
    const server = serve(async (request) => new Response(String((await request.arrayBuffer()).byteLength)));
    const bytes = 130 * 1024 * 1024;
    const answer = await fetch(server.url, { method: "POST", body: new Uint8Array(bytes) });
    expect(await answer.text()).toBe(String(bytes));
  });

  test("stop lets a request in flight finish and takes no new one", async () => {
    const arrived = Promise.withResolvers<void>();
    const finish = Promise.withResolvers<void>();
    const server = serve(async () => {
      arrived.resolve();
      await finish.promise;
      return new Response("finished");
    });
    const inFlight = fetch(server.url);
    await arrived.promise;
    const stopped = server.stop(10_000);
    await expect(fetch(server.url, { keepalive: false })).rejects.toThrow();
    finish.resolve();
    expect(await (await inFlight).text()).toBe("finished");
    await stopped;
  });

  test("stop breaks off what outlasts the grace", async () => {
    const arrived = Promise.withResolvers<void>();
    const server = serve(() => {
      arrived.resolve();
      return new Promise<Response>(() => {});
    });
    const inFlight = fetch(server.url).then(
      () => "answered",
      () => "broken off",
    );
    await arrived.promise;
    await server.stop(20);
    expect(await inFlight).toBe("broken off");
  });
});

describe("systemClock", () => {
  test("does not fire at once for a wait longer than a timer can take", async () => {
    const fired: string[] = [];
    const cancel = systemClock.after(2 ** 31 + 1_000, () => fired.push("long"));
    await new Promise<void>((resolve) => {
      systemClock.after(30, resolve);
    });
    cancel();
    expect(fired).toEqual([]);
  });

  test("fires for a time past, and not when cancelled", async () => {
    const fired: string[] = [];
    systemClock.after(5, () => fired.push("cancelled"))();
    await new Promise<void>((resolve) => {
      systemClock.after(20, resolve);
    });
    await new Promise<void>((resolve) => {
      systemClock.after(-1_000, resolve);
    });
    expect(fired).toEqual([]);
  });
});
