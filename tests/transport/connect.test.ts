/** The time that a connection may take, and what becomes of a host that a delivery waited for in vain. */

import { describe, expect, test } from "bun:test";
import { connect, type Socket } from "node:net";
import { CONNECT_TIMEOUT_MS, createNodeDialler } from "../../src/transport/http/dial-node.ts";
import { deliveryTo, unaborted } from "../conformance/transport.ts";
import { startRawTarget, startTarget } from "../support/target.ts";
import { httpTransport } from "./fixtures.ts";

const TIMEOUT_MS = 1_800_000;

/** Timers that fire when the test says so. */
function manualTimers() {
  const waiting = new Set<{ readonly delayMs: number; readonly fire: () => void }>();
  const changes = new Set<() => void>();
  return {
    clock: {
      now: () => 0,
      monoMs: () => 0,
      after: (delayMs: number, fire: () => void) => {
        const timer = { delayMs, fire };
        waiting.add(timer);
        for (const changed of changes) changed();
        return () => waiting.delete(timer);
      },
    },
    waiting: () => [...waiting].map(({ delayMs }) => delayMs),
    /** Fires the timers of a length once there is one. */
    fire: async (length: number) => {
      const found = () => [...waiting].filter(({ delayMs }) => delayMs === length);
      await new Promise<void>((there) => {
        const look = () => {
          if (found().length === 0) return;
          changes.delete(look);
          there();
        };
        changes.add(look);
        look();
      });
      for (const timer of found()) {
        waiting.delete(timer);
        timer.fire();
      }
    },
  };
}

describe("a host that takes the connection and never shakes hands", () => {
  test("is given up after the time for connecting", async () => {
    await using mute = await startRawTarget(() => {});
    const timers = manualTimers();
    const transport = httpTransport({ clock: timers.clock, dialler: createNodeDialler(timers.clock) });
    const url = `https://127.0.0.1:${mute.port}/`;
    const running = transport.deliver(deliveryTo(url, { timeoutMs: TIMEOUT_MS }), unaborted());
    await timers.fire(CONNECT_TIMEOUT_MS);
    expect(await running).toMatchObject({
      kind: "failed",
      error: "connecting timed out",
      hostAtFault: true,
      permanent: false,
    });
    expect(timers.waiting()).toEqual([]);
    await transport.close();
  });

  test("is given up so at the latest when a delivery has waited for it in vain", async () => {
    await using mute = await startRawTarget(() => {});
    const timers = manualTimers();
    const transport = httpTransport({ clock: timers.clock });
    const url = `https://127.0.0.1:${mute.port}/`;
    const deliver = () => transport.deliver(deliveryTo(url, { timeoutMs: TIMEOUT_MS }), unaborted());
    const first = deliver();
    await timers.fire(TIMEOUT_MS);
    expect(await first).toMatchObject({ error: "timed out after 1800 s" });
    for (let again = 1; again <= 2; again++) {
      const later = deliver();
      await timers.fire(CONNECT_TIMEOUT_MS);
      expect(await later).toMatchObject({ error: "connecting timed out", hostAtFault: true });
    }
    expect(timers.waiting()).toEqual([]);
    await transport.close();
  });
});

test("a host that drops packets is given up after the time for connecting, at the first delivery already", async () => {
  // A process that stands still takes no connection; once its queue of them is full, the kernel drops what else comes.
  const stopped = Bun.spawn(
    [
      process.execPath,
      "-e",
      "require('node:net').createServer().listen({ port: 0, host: '127.0.0.1', backlog: 1 }, function () { console.log(this.address().port) })",
    ],
    { stdin: "ignore", stdout: "pipe", stderr: "inherit" },
  );
  const sockets: Socket[] = [];
  try {
    const { value } = await stopped.stdout.getReader().read();
    const port = Number(new TextDecoder().decode(value));
    stopped.kill("SIGSTOP");
    for (let isTaken = true; isTaken; ) {
      if (sockets.length === 1_000) throw new Error("the queue of connections does not fill up");
      const socket = connect({ host: "127.0.0.1", port });
      sockets.push(socket);
      isTaken = await new Promise((resolve) => {
        socket.once("connect", () => resolve(true));
        socket.setTimeout(500, () => resolve(false));
      });
    }
    const timers = manualTimers();
    const transport = httpTransport({ clock: timers.clock });
    const url = `http://127.0.0.1:${port}/`;
    const running = transport.deliver(deliveryTo(url, { timeoutMs: TIMEOUT_MS }), unaborted());
    await timers.fire(CONNECT_TIMEOUT_MS);
    expect(await running).toMatchObject({ error: "connecting timed out", hostAtFault: true });
    expect(timers.waiting()).toEqual([]);
    await transport.close();
  } finally {
    for (const socket of sockets) socket.destroy();
    stopped.kill("SIGKILL");
    await stopped.exited;
  }
}, 20_000);

test("a host that was silent once has all its time again, and the runtime's own way once it answers", async () => {
  await using target = await startTarget();
  target.answer("/silent", "never");
  target.answer("/held", "held");
  const timers = manualTimers();
  const transport = httpTransport({ clock: timers.clock });
  const deliver = (path: string) =>
    transport.deliver(deliveryTo(`${target.url}${path}`, { timeoutMs: TIMEOUT_MS }), unaborted());
  const silent = deliver("/silent");
  await target.waitFor(1);
  await timers.fire(TIMEOUT_MS);
  expect((await silent).kind).toBe("failed");

  const held = deliver("/held");
  await target.waitFor(2);
  // It is connected: only the whole is bounded now.
  expect(timers.waiting()).toEqual([TIMEOUT_MS]);
  target.release();
  expect((await held).kind).toBe("delivered");
  expect(await deliver("/ok")).toMatchObject({ kind: "delivered", responseExcerpt: "ok" });
  await transport.close();
});
