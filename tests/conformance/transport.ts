/** What every transport owes its callers, built in or from a plugin; a new guarantee is written here first. */

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { Target } from "../../src/core/task.ts";
import type { Delivery, Outcome, Transport } from "../../src/core/transport.ts";

/** Targets that a transport may have, besides one that takes what it gets. */
const TARGETS = ["failing", "silent", "dead", "garbage"] as const;
export type HardTarget = (typeof TARGETS)[number];

/** A transport with something to deliver to. */
export interface TransportFixture {
  readonly transport: Transport;
  /** Takes what it gets. */
  readonly goodUrl: string;
  /** Is there and refuses what it gets. */
  readonly failingUrl?: string;
  /** Takes the connection and then says nothing. */
  readonly silentUrl?: string;
  /** Nobody is there. */
  readonly deadUrl?: string;
  /** Somebody is there who does not speak the protocol. */
  readonly garbageUrl?: string;
  /** Targets that cannot be delivered to, whatever is there. */
  readonly undeliverable: readonly Target[];
  /** The bodies that arrived at the good URL for a task, in order of arrival. */
  received(taskId: string): Promise<readonly Uint8Array[]>;
  /** Resolves once a delivery has reached the silent URL. */
  silentReached?(): Promise<void>;
  /** Stops what the fixture started; the transport has been closed before. */
  stop(): Promise<void>;
}

/** Longest a delivery may outlive its timeout or an abort here: both are meant to be at once. */
const PROMPT_MS = 2_000;
const TIMEOUT_MS = 300;

let deliveries = 0;

/** A delivery that means nothing in particular; each has a task id of its own. */
export function deliveryTo(url: string, changes: Partial<Delivery & Target> = {}): Delivery {
  deliveries++;
  const { method = "POST", headers = {}, body = "hello", ...rest } = changes;
  return {
    taskId: `task-${deliveries}`,
    queue: "default",
    target: { url, method, headers, body },
    attempt: 1,
    fence: 1,
    scheduledAtMs: 1_700_000_000_000,
    timeoutMs: 10_000,
    traceparent: null,
    allowedHosts: null,
    signingSecrets: [],
    ...rest,
  };
}

/** A signal that nobody aborts. */
export function unaborted(): AbortSignal {
  return new AbortController().signal;
}

/**
 * Runs the suite against what `setup` makes, anew for every test. A transport that cannot have some of the hard
 * targets (one that writes to a file is never silent) names them in `without`: their tests are shown as skipped.
 */
export function transportConformance(
  name: string,
  setup: () => Promise<TransportFixture>,
  { without = [] }: { readonly without?: readonly HardTarget[] } = {},
): void {
  const lacks = (...targets: readonly HardTarget[]) => targets.some((target) => without.includes(target));
  describe(`transport conformance: ${name}`, () => {
    let fixture: TransportFixture;
    let transport: Transport;

    beforeEach(async () => {
      fixture = await setup();
      transport = fixture.transport;
    });
    afterEach(async () => {
      await transport.close();
      await fixture.stop();
    });

    const hardUrl = (target: HardTarget): string => {
      const url = fixture[`${target}Url`];
      if (url === undefined)
        throw new Error(`the fixture has no ${target}Url: give one, or say so in "without"`);
      return url;
    };
    const silentReached = async () => {
      if (fixture.silentReached === undefined) throw new Error("the fixture has no silentReached");
      await fixture.silentReached();
    };
    const deliver = (url: string, changes: Partial<Delivery & Target> = {}) =>
      transport.deliver(deliveryTo(url, changes), unaborted());

    test("names itself and its schemes in lower case with their colon", () => {
      expect(transport.name).not.toBe("");
      expect(transport.schemes.length).toBeGreaterThan(0);
      for (const scheme of transport.schemes) expect(scheme).toMatch(/^[a-z][a-z0-9+.-]*:$/);
      expect(transport.schemes).toContain(new URL(fixture.goodUrl).protocol);
    });

    test("check finds nothing wrong with a target it can deliver to", () => {
      expect(transport.check(deliveryTo(fixture.goodUrl).target)).toEqual([]);
    });

    test("check says what is wrong, and where, with every target it cannot deliver to", () => {
      expect(fixture.undeliverable.length).toBeGreaterThan(0);
      for (const target of fixture.undeliverable) {
        const problems = transport.check(target);
        expect(problems.length, JSON.stringify(target)).toBeGreaterThan(0);
        for (const problem of problems) {
          expect(problem.path).toStartWith("task.");
          expect(problem.message).not.toBe("");
        }
      }
    });

    test("a target that check refuses is not delivered to either, for good and through no fault of the host", async () => {
      for (const target of fixture.undeliverable) {
        const outcome = await transport.deliver({ ...deliveryTo(target.url), target }, unaborted());
        expect(outcome, JSON.stringify(target)).toMatchObject({
          kind: "failed",
          permanent: true,
          hostAtFault: false,
          status: null,
        });
      }
    });

    const bodies: readonly (readonly [string, string | Uint8Array])[] = [
      ["text", "hello"],
      ["text beyond ASCII", "żółw 🐢 日本 \u0000 \r\n end"],
      ["every byte there is", Uint8Array.from({ length: 256 }, (_, index) => index)],
      ["half a mebibyte", new Uint8Array(512 * 1024).map((_, index) => (index * 31) & 0xff)],
    ];
    for (const [what, body] of bodies) {
      test(`delivers ${what} byte for byte, once`, async () => {
        const delivery = deliveryTo(fixture.goodUrl, { body });
        expect((await transport.deliver(delivery, unaborted())).kind).toBe("delivered");
        const expected = typeof body === "string" ? new TextEncoder().encode(body) : body;
        const received = await fixture.received(delivery.taskId);
        expect(received.length).toBe(1);
        expect(Buffer.from(received[0] ?? []).equals(Buffer.from(expected))).toBe(true);
      });
    }

    test("delivers a task without a body", async () => {
      const delivery = deliveryTo(fixture.goodUrl, { body: null });
      expect((await transport.deliver(delivery, unaborted())).kind).toBe("delivered");
      expect((await fixture.received(delivery.taskId)).map((body) => body.length)).toEqual([0]);
    });

    test("delivers many at once, each exactly once and with its own body", async () => {
      const many = Array.from({ length: 200 }, (_, index) =>
        deliveryTo(fixture.goodUrl, { body: `n${index}` }),
      );
      const outcomes = await Promise.all(many.map((delivery) => transport.deliver(delivery, unaborted())));
      expect(outcomes.filter((outcome) => outcome.kind !== "delivered")).toEqual([]);
      for (const delivery of many) {
        const received = await fixture.received(delivery.taskId);
        expect(received.map((body) => new TextDecoder().decode(body))).toEqual([
          String(delivery.target.body),
        ]);
      }
    });

    test.skipIf(lacks("failing"))("tells a refusal as a failure that may be repeated", async () => {
      const outcome = await deliver(hardUrl("failing"));
      expect(outcome).toMatchObject({ kind: "failed", permanent: false });
      expectReadable(outcome);
    });

    for (const [what, target] of [
      ["nobody is there", "dead"],
      ["the answer is garbage", "garbage"],
    ] as const) {
      test.skipIf(lacks(target))(
        `fails through the host's fault, without throwing, when ${what}`,
        async () => {
          const outcome = await deliver(hardUrl(target));
          expect(outcome).toMatchObject({
            kind: "failed",
            permanent: false,
            hostAtFault: true,
            status: null,
          });
          expectReadable(outcome);
        },
      );
    }

    test.skipIf(lacks("silent"))(
      "gives up on a silent target when its time is over, through the host's fault",
      async () => {
        const startedAt = performance.now();
        const outcome = await deliver(hardUrl("silent"), { timeoutMs: TIMEOUT_MS });
        const tookMs = performance.now() - startedAt;
        expect(outcome).toMatchObject({ kind: "failed", permanent: false, hostAtFault: true, status: null });
        expectReadable(outcome);
        expect(tookMs).toBeGreaterThanOrEqual(TIMEOUT_MS - 5);
        expect(tookMs).toBeLessThan(TIMEOUT_MS + PROMPT_MS);
      },
    );

    test.skipIf(lacks("silent"))("defers at once when the worker aborts", async () => {
      const abort = new AbortController();
      const running = transport.deliver(deliveryTo(hardUrl("silent")), abort.signal);
      await silentReached();
      const abortedAt = performance.now();
      abort.abort();
      const outcome = await running;
      expect(outcome.kind).toBe("deferred");
      expectReadable(outcome);
      expect(performance.now() - abortedAt).toBeLessThan(PROMPT_MS);
    });

    test("sends nothing when the worker has aborted before", async () => {
      const delivery = deliveryTo(fixture.goodUrl);
      expect((await transport.deliver(delivery, AbortSignal.abort())).kind).toBe("deferred");
      expect(await fixture.received(delivery.taskId)).toEqual([]);
    });

    test.skipIf(lacks("silent"))("an abort breaks off one delivery and no other", async () => {
      const abort = new AbortController();
      const broken = transport.deliver(deliveryTo(hardUrl("silent")), abort.signal);
      await silentReached();
      const others = Array.from({ length: 20 }, () => deliver(fixture.goodUrl));
      abort.abort();
      expect((await broken).kind).toBe("deferred");
      expect(new Set((await Promise.all(others)).map((outcome) => outcome.kind))).toEqual(
        new Set(["delivered"]),
      );
    });

    test.skipIf(lacks(...TARGETS))(
      "still delivers after timeouts, aborts, refusals and garbage",
      async () => {
        await Promise.all([
          ...Array.from({ length: 5 }, () => deliver(hardUrl("silent"), { timeoutMs: 50 })),
          ...Array.from({ length: 5 }, () => deliver(hardUrl("garbage"))),
          ...Array.from({ length: 5 }, () => deliver(hardUrl("dead"))),
          ...Array.from({ length: 5 }, () => deliver(hardUrl("failing"))),
        ]);
        const outcomes = await Promise.all(Array.from({ length: 20 }, () => deliver(fixture.goodUrl)));
        expect(new Set(outcomes.map((outcome) => outcome.kind))).toEqual(new Set(["delivered"]));
      },
    );

    test("close may be repeated, and nothing is delivered afterwards", async () => {
      await transport.close();
      await transport.close();
      const late = deliveryTo(fixture.goodUrl);
      expect((await transport.deliver(late, unaborted())).kind).toBe("deferred");
      expect(await fixture.received(late.taskId)).toEqual([]);
    });

    test.skipIf(lacks("silent"))("close breaks off what is running", async () => {
      const running = deliver(hardUrl("silent"));
      await silentReached();
      await transport.close();
      expect((await running).kind).toBe("deferred");
    });
  });
}

/** A person gets one line that says something. */
function expectReadable(outcome: Outcome): void {
  const words = outcome.kind === "failed" ? outcome.error : outcome.kind === "deferred" ? outcome.reason : "";
  expect(words).toMatch(/^[^\r\n]{5,300}$/);
}
