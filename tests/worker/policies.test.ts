/** Breakers by themselves: what they tell the store, whom they let through, and how much they remember. */

import { describe, expect, test } from "bun:test";
import type { Outcome } from "../../src/core/transport.ts";
import { systemClock } from "../../src/runtime.ts";
import { createLogger } from "../../src/telemetry/logger.ts";
import { Breakers } from "../../src/worker/policies.ts";

const OPEN_MS = 60_000;
const HOST = "http://a.test";
const DELIVERED: Outcome = { kind: "delivered", status: 200, responseExcerpt: null };
const BROKEN_OFF: Outcome = { kind: "deferred", afterMs: 0, reason: "worker stopped" };
const failed = (hostAtFault: boolean): Outcome => ({
  kind: "failed",
  status: null,
  error: "connection refused",
  responseExcerpt: null,
  permanent: false,
  retryAfterMs: null,
  hostAtFault,
});

/** Once all promises that are kept by now have had their say. */
const settled = () => new Promise((resolve) => setImmediate(resolve));

/** Breakers that open at once, and what they told; `isHeld` is the store's answer. */
function breakersWith(isHeld: () => Promise<boolean> = async () => true, minds: "tasks" | "hosts" = "tasks") {
  const told: string[] = [];
  const holds = {
    hold: (host: string, forMs: number) => {
      told.push(`hold ${host} ${forMs}`);
      return isHeld();
    },
    free: async (host: string) => {
      told.push(`free ${host}`);
      return true;
    },
  };
  const logger = createLogger({ level: "error", role: "work", destination: { write: () => {} } });
  const options = {
    failureThreshold: 1,
    openMs: OPEN_MS,
    minds,
    holds,
    clock: systemClock,
    random: () => 0,
    logger,
  };
  const breakers = new Breakers(options);
  /** Asks for a delivery that would come to `outcome`, whose claim was asked for `claimedAfterMs` from now. */
  const ask = (outcome: Outcome, { isProbe = false, url = `${HOST}/x`, claimedAfterMs = 0 } = {}) =>
    breakers.guard(
      { url, isProbe, claimedAtMonoMs: systemClock.monoMs() + claimedAfterMs },
      async () => outcome,
    );
  return { breakers, told, ask };
}

describe("breakers", () => {
  test("give back at once what was claimed before the store held the host, and deliver what it hands out after", async () => {
    const { breakers, told, ask } = breakersWith();
    expect(await ask(failed(true))).toEqual(failed(true));
    await settled();
    expect(told).toEqual([`hold ${HOST} ${OPEN_MS}`]);
    expect(await ask(DELIVERED, { claimedAfterMs: -1_000 })).toMatchObject({ kind: "deferred", afterMs: 0 });
    expect(await ask(DELIVERED, { claimedAfterMs: 1_000 })).toEqual(DELIVERED);
    expect(breakers.size).toBe(0);
    // Whoever has let it go has told the store already.
    expect(told).toHaveLength(1);
  });

  test("give tasks back for a moment while the store is being told", async () => {
    let answer = (_isHeld: boolean) => {};
    const { ask } = breakersWith(() => new Promise((resolve) => (answer = resolve)));
    await ask(failed(true));
    await settled();
    const whileTelling = await ask(DELIVERED, { claimedAfterMs: 1_000 });
    expect(whileTelling).toMatchObject({ kind: "deferred", afterMs: 100 });
    answer(false);
    await settled();
    const alone = await ask(DELIVERED, { claimedAfterMs: 1_000 });
    expect(alone.kind === "deferred" && alone.afterMs > OPEN_MS / 2).toBe(true);
  });

  test("deliver a probe whatever they think, and tell the store what it came to", async () => {
    const { breakers, told, ask } = breakersWith();
    await ask(failed(true));
    await settled();
    told.length = 0;
    expect(await ask(failed(true), { isProbe: true })).toEqual(failed(true));
    expect(await ask(BROKEN_OFF, { isProbe: true })).toEqual(BROKEN_OFF);
    breakers.notProbed(`${HOST}/y`);
    expect(breakers.size).toBe(1);
    expect(await ask(failed(false), { isProbe: true })).toEqual(failed(false));
    expect(breakers.size).toBe(0);
    expect(await ask(DELIVERED, { isProbe: true })).toEqual(DELIVERED);
    expect(told).toEqual([
      `hold ${HOST} ${OPEN_MS}`,
      `hold ${HOST} 1000`,
      `hold ${HOST} 1000`,
      `free ${HOST}`,
      `free ${HOST}`,
    ]);
  });

  test("remember so many hosts and no more", async () => {
    const { breakers, ask } = breakersWith();
    for (let i = 0; i < 10_050; i++) await ask(failed(true), { url: `http://h${i}.test/` });
    expect(breakers.size).toBe(10_000);
    // The one that failed longest ago is forgotten.
    expect(await ask(DELIVERED, { url: "http://h0.test/", claimedAfterMs: -1_000 })).toEqual(DELIVERED);
    expect(await ask(DELIVERED, { url: "http://h10049.test/", claimedAfterMs: -1_000 })).toMatchObject({
      kind: "deferred",
    });
  });

  describe("where a host asks for time", () => {
    const asks = (retryAfterMs: number): Outcome => ({ ...failed(false), retryAfterMs }) as Outcome;

    test("have the store hold all its tasks for as long, an hour at most, and count no failure", async () => {
      const { breakers, told, ask } = breakersWith(async () => true, "hosts");
      expect(await ask(asks(7_000))).toEqual(asks(7_000));
      await settled();
      // What was claimed before goes back; what the store hands out after is delivered.
      expect(await ask(DELIVERED, { claimedAfterMs: -1_000 })).toMatchObject({
        kind: "deferred",
        afterMs: 0,
      });
      expect(await ask(DELIVERED, { claimedAfterMs: 1_000 })).toEqual(DELIVERED);
      expect(breakers.size).toBe(0);
      await ask(asks(8 * 3_600_000));
      expect(told).toEqual([`hold ${HOST} 7000`, `hold ${HOST} 3600000`]);
    });

    test("take a probe that is asked to wait for no sign that it is well", async () => {
      const { told, ask } = breakersWith(async () => true, "hosts");
      await ask(asks(2_000), { isProbe: true });
      expect(told).toEqual([`hold ${HOST} 2000`]);
    });

    test("let its tasks keep their own times while the store cannot be told", async () => {
      const { breakers, ask } = breakersWith(async () => false, "hosts");
      await ask(asks(7_000));
      await settled();
      expect(breakers.size).toBe(0);
      expect(await ask(DELIVERED)).toEqual(DELIVERED);
    });

    test("do not mind unless they are told to, nor an answer that asks for no time", async () => {
      const unminding = breakersWith();
      await unminding.ask(asks(7_000));
      expect(unminding.told).toEqual([]);
      const minding = breakersWith(async () => true, "hosts");
      await minding.ask(asks(0));
      await minding.ask(failed(false));
      expect(minding.told).toEqual([]);
    });
  });
});
