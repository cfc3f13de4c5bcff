/** Targets that do not play fair: they break off, never stop, answer nonsense or try to fill the memory. */

import { describe, expect, test } from "bun:test";
import type { Socket } from "node:net";
import { gzipSync } from "node:zlib";
import type { FailureCause, Outcome, Transport } from "../../src/core/transport.ts";
import { createNodeDialler } from "../../src/transport/http/dial-node.ts";
import { MAX_RESPONSE_BYTES } from "../../src/transport/http/response.ts";
import { deliveryTo, unaborted } from "../conformance/transport.ts";
import { pourInto, startRawTarget, startTarget, unusedPort } from "../support/target.ts";
import { httpTransport, realClock } from "./fixtures.ts";

const MIB = 1024 * 1024;

const failure = (error: string, cause: FailureCause): Outcome => ({
  kind: "failed",
  status: null,
  error,
  cause,
  responseExcerpt: null,
  permanent: false,
  retryAfterMs: null,
  hostAtFault: true,
});

for (const [way, transport] of [
  ["the runtime's own way", httpTransport()],
  ["the way for hosts in doubt", httpTransport({ dialler: createNodeDialler(realClock) })],
] as const) {
  describe(`by ${way}`, () => hostileTargets(transport));
}

function hostileTargets(transport: Transport): void {
  async function deliveredTo(onData: (socket: Socket, turn: number) => void, timeoutMs = 5_000) {
    await using target = await startRawTarget(onData);
    return await transport.deliver(deliveryTo(target.url, { timeoutMs }), unaborted());
  }

  describe("a target that breaks off", () => {
    const closed = "connection closed before the answer was complete";

    test("where nobody listens", async () => {
      const delivery = deliveryTo(`http://127.0.0.1:${await unusedPort()}/`);
      expect(await transport.deliver(delivery, unaborted())).toEqual(
        failure("connection refused", "connection"),
      );
    });

    test("without an answer", async () => {
      expect(await deliveredTo((socket) => socket.destroy())).toEqual(failure(closed, "connection"));
    });

    test("within the head of its answer", async () => {
      expect(await deliveredTo((socket) => socket.end("HTTP/1.1 200 OK\r\nContent-Le"))).toEqual(
        failure(closed, "connection"),
      );
    });

    test("within a body of known length: no success, whatever the status says", async () => {
      const outcome = await deliveredTo((socket) =>
        socket.end("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhalf"),
      );
      expect(outcome).toMatchObject({ kind: "failed", error: closed, hostAtFault: true });
    });

    test("within a chunked body: no success either", async () => {
      const head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
      const outcome = await deliveredTo((socket) => socket.end(`${head}4\r\nhalf\r\n`));
      expect(outcome).toMatchObject({ kind: "failed", error: closed, hostAtFault: true });
    });

    test("by a reset, before its answer or within it", async () => {
      expect(await deliveredTo((socket) => socket.resetAndDestroy())).toEqual(failure(closed, "connection"));
      const within = await deliveredTo((socket) => {
        socket.write("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhalf", () => socket.resetAndDestroy());
      });
      expect(within).toMatchObject({ kind: "failed", error: closed, hostAtFault: true });
    });

    test("by closing its half, though it still listens", async () => {
      await using target = await startRawTarget((socket) => socket.end(), { allowHalfOpen: true });
      expect(await transport.deliver(deliveryTo(target.url), unaborted())).toEqual(
        failure(closed, "connection"),
      );
    });

    test("except at the end of a body that its closing ends", async () => {
      const outcome = await deliveredTo((socket) => socket.end("HTTP/1.1 200 OK\r\n\r\nwhole"));
      expect(outcome).toEqual({ kind: "delivered", status: 200, responseExcerpt: "whole" });
    });
  });

  describe("a target that answers nonsense", () => {
    for (const [what, bytes, error] of [
      ["another protocol", "SSH-2.0-OpenSSH_9.6\r\n", "the answer is not HTTP"],
      [
        "a switch of protocols",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nhello",
        "the answer switches to a protocol that was not asked for",
      ],
    ] as const) {
      test(`as ${what} has failed`, async () => {
        expect(await deliveredTo((socket) => socket.write(Buffer.from(bytes, "latin1")))).toEqual(
          failure(error, "other"),
        );
      });
    }

    test("as noise has failed", async () => {
      const noise = Buffer.from("\x00\xff\x01garbage\r\n\r\n", "latin1");
      const outcome = await deliveredTo((socket) => socket.end(noise));
      expect(outcome).toMatchObject({ kind: "failed", status: null, permanent: false, hostAtFault: true });
    });

    test("with a made-up status has failed with it", async () => {
      const outcome = await deliveredTo((socket) =>
        socket.write("HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n"),
      );
      expect(outcome).toMatchObject({ kind: "failed", status: 999, error: "answered 999" });
    });
  });

  describe("a target that never stops", () => {
    const during = async (onData: (socket: Socket, turn: number) => void, timeoutMs: number) => {
      Bun.gc(true);
      const before = process.memoryUsage.rss();
      const outcome = await deliveredTo(onData, timeoutMs);
      // The target is in this process too, and its garbage is not ours.
      Bun.gc(true);
      return { outcome, grownBytes: process.memoryUsage.rss() - before };
    };

    for (const [what, header] of [
      ["headers", `X-Filler: ${"y".repeat(1_000)}\r\n`],
      ["one header", "y".repeat(10_000)],
    ] as const) {
      test(`sending ${what} has failed, and takes no memory`, async () => {
        const { outcome, grownBytes } = await during((socket, turn) => {
          if (turn === 1) socket.write("HTTP/1.1 200 OK\r\nX-First: ");
          pourInto(socket, header);
        }, 2_000);
        expect(outcome).toMatchObject({ kind: "failed", status: null, hostAtFault: true });
        expect(grownBytes).toBeLessThan(64 * MIB);
      });
    }

    test("sending one byte of a header at a time has failed when its time is over", async () => {
      const { outcome } = await during((socket) => {
        socket.write("HTTP/1.1 200 OK\r\nX-Slow: ");
        const drip = setInterval(() => (socket.destroyed ? clearInterval(drip) : socket.write("x")), 20);
      }, 300);
      expect(outcome).toEqual(failure("timed out after 300 ms", "timeout"));
    });

    test("sending one byte of a body at a time has failed when its time is over, with its status", async () => {
      const { outcome } = await during((socket) => {
        socket.write("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
        const drip = setInterval(() => (socket.destroyed ? clearInterval(drip) : socket.write("x")), 20);
      }, 300);
      expect(outcome).toMatchObject({ kind: "failed", error: "timed out after 300 ms", status: 200 });
    });

    for (const [what, start, more] of [
      ["trailers", "4\r\nbody\r\n0\r\n", `X-Filler: ${"y".repeat(1_000)}\r\n`],
      ["one trailer", "4\r\nbody\r\n0\r\nX-Filler: ", "y".repeat(10_000)],
      ["an extension of a chunk", "4;", "y".repeat(10_000)],
      ["the length of a chunk", "0", "0".repeat(10_000)],
    ] as const) {
      test(`sending ${what} is ended, and takes no memory`, async () => {
        const { outcome, grownBytes } = await during((socket) => {
          socket.write(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${start}`);
          pourInto(socket, more);
        }, 500);
        expect(["delivered", "failed"]).toContain(outcome.kind);
        expect(grownBytes).toBeLessThan(64 * MIB);
      });
    }

    test("sending provisional answers has failed, and takes no memory", async () => {
      const { outcome, grownBytes } = await during(
        (socket) => pourInto(socket, "HTTP/1.1 102 Processing\r\n\r\n".repeat(1_000)),
        300,
      );
      // Where they can be seen, more than a hundred are enough.
      expect([
        failure("timed out after 300 ms", "timeout"),
        failure("provisional answers (1xx) without end", "other"),
      ]).toContainEqual(outcome);
      expect(grownBytes).toBeLessThan(64 * MIB);
    });

    for (const [what, head, chunk] of [
      ["chunks", "Transfer-Encoding: chunked\r\n", `10000\r\n${"a".repeat(65_536)}\r\n`],
      ["a body without a length", "Connection: close\r\n", "a".repeat(65_536)],
      ["a terabyte", "Content-Length: 1099511627776\r\n", "a".repeat(65_536)],
      // The length lies: with chunks it does not count.
      [
        "chunks and a length",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        `10000\r\n${"a".repeat(65_536)}\r\n`,
      ],
    ] as const) {
      test(`sending ${what} is cut off, and takes no memory`, async () => {
        let sent = () => 0;
        const { outcome, grownBytes } = await during((socket) => {
          socket.write(`HTTP/1.1 200 OK\r\n${head}\r\n`);
          sent = pourInto(socket, chunk).bytes;
        }, 5_000);
        expect(["delivered", "failed"]).toContain(outcome.kind);
        if (outcome.kind === "delivered") expect(outcome.responseExcerpt).toBe("a".repeat(1_024));
        expect(sent()).toBeLessThan(32 * MIB);
        expect(grownBytes).toBeLessThan(64 * MIB);
      });
    }

    test("with two lengths that differ is bounded", async () => {
      const { grownBytes } = await during((socket) => {
        socket.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 1099511627776\r\n\r\n");
        pourInto(socket, "a".repeat(65_536));
      }, 1_000);
      expect(grownBytes).toBeLessThan(64 * MIB);
    });

    test("is cut off again and again while memory stays flat, and others are served meanwhile", async () => {
      await using target = await startTarget();
      target.answer("/endless", "endless");
      const endless = () => transport.deliver(deliveryTo(`${target.url}/endless`), unaborted());
      const round = async () => {
        const outcomes = await Promise.all([
          ...Array.from({ length: 10 }, endless),
          ...Array.from({ length: 10 }, () => transport.deliver(deliveryTo(`${target.url}/ok`), unaborted())),
        ]);
        expect(new Set(outcomes.map((outcome) => outcome.kind))).toEqual(new Set(["delivered"]));
        for (const outcome of outcomes.slice(10)) expect(outcome).toHaveProperty("responseExcerpt", "ok");
      };
      for (let i = 0; i < 5; i++) await round();
      Bun.gc(true);
      const before = process.memoryUsage.rss();
      for (let i = 0; i < 20; i++) await round();
      Bun.gc(true);
      expect(process.memoryUsage.rss() - before).toBeLessThan(64 * MIB);
    });
  });

  describe("a body that unpacks to far more than was sent", () => {
    const bomb = gzipSync(new Uint8Array(256 * MIB), { level: 9 });

    for (const [what, head, body] of [
      [
        "within the bound",
        `Content-Length: ${MAX_RESPONSE_BYTES - 1}\r\n`,
        bomb.subarray(0, MAX_RESPONSE_BYTES - 1),
      ],
      ["beyond the bound", `Content-Length: ${bomb.length}\r\n`, bomb],
      [
        "in chunks",
        "Transfer-Encoding: chunked\r\n",
        Buffer.concat([Buffer.from(`${bomb.length.toString(16)}\r\n`), bomb, Buffer.from("\r\n0\r\n\r\n")]),
      ],
    ] as const) {
      test(`takes no memory: ${what}`, async () => {
        const before = process.memoryUsage.rss();
        const outcome = await deliveredTo((socket) => {
          socket.write(`HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n${head}\r\n`);
          socket.write(body);
        });
        expect(outcome).toEqual({ kind: "delivered", status: 200, responseExcerpt: "[binary data]" });
        expect(process.memoryUsage.rss() - before).toBeLessThan(64 * MIB);
      });
    }
  });

  describe("what an unread rest leaves behind", () => {
    test("is never taken for the next delivery's answer", async () => {
      await using target = await startTarget(({ path }) =>
        path === "/long"
          ? { body: "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged".repeat(10_000) }
          : { body: "honest" },
      );
      for (let i = 0; i < 10; i++) {
        expect((await transport.deliver(deliveryTo(`${target.url}/long`), unaborted())).kind).toBe(
          "delivered",
        );
        expect(await transport.deliver(deliveryTo(`${target.url}/short`), unaborted())).toMatchObject({
          responseExcerpt: "honest",
        });
      }
    });

    test("of a timed-out exchange, neither", async () => {
      await using target = await startTarget();
      target.answer("/held", "held");
      const timedOut = await transport.deliver(
        deliveryTo(`${target.url}/held`, { timeoutMs: 100 }),
        unaborted(),
      );
      expect(timedOut.kind).toBe("failed");
      target.release();
      target.answer("/next", { status: 201, body: "next" });
      expect(await transport.deliver(deliveryTo(`${target.url}/next`), unaborted())).toEqual({
        kind: "delivered",
        status: 201,
        responseExcerpt: "next",
      });
    });
  });
}
