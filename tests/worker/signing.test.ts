/** A worker signs what it delivers with the secrets in force, and sends nothing unsigned that is to be signed. */

import { describe, expect, test } from "bun:test";
import { MemoryMarks, onceOnly, type Received, VerificationError, verify } from "task-runner/receiver";
import type { SealedSecret } from "../../src/core/client.ts";
import { Sealer } from "../../src/secrets/sealing.ts";
import { OTHER_SECRETS_KEY, sealer, secretNumber } from "../support/signing.ts";
import { newTarget } from "../support/tasks.ts";
import { type Bench, until, withBench } from "./harness.ts";
import type { Hit } from "./target.ts";

const [CLIENTS, QUEUES, NEW] = [secretNumber(1), secretNumber(2), secretNumber(3)] as const;
const FAST_RETRY = { minBackoffMs: 20, maxBackoffMs: 40, jitter: 0 };

/** A secret as it is kept. */
function kept(kind: "client" | "queue", owner: string, secret: string, by = sealer): SealedSecret {
  const id = "1a2b3c4d";
  return { id, sealed: by.seal(secret, { kind, owner, secretId: id }), createdAtMs: 0 };
}

/** What a receiver that knows `secrets` makes of a request. */
async function seenWith(
  secrets: string | readonly string[],
  hit: Hit | undefined,
): Promise<Received | string> {
  if (hit === undefined) throw new Error("nothing arrived");
  return verify(hit, secrets).catch((thrown: unknown) => {
    if (thrown instanceof VerificationError) return thrown.code;
    throw thrown;
  });
}

async function delivered(
  bench: Bench,
  overrides: Parameters<Bench["enqueue"]>[0] = {},
): Promise<Hit | undefined> {
  const id = await bench.enqueue(overrides);
  await bench.reaches(id, "succeeded");
  return bench.target.hitsOf(id)[0];
}

describe("deliveries of a client with a secret", () => {
  test(
    "are signed with it; those of another client are not signed",
    withBench(async (bench) => {
      await bench.setClient("client-a", { signing: [kept("client", "client-a", CLIENTS)] });
      bench.start({ sealer });
      const hit = await delivered(bench, { queue: "mail" });
      const seen = await seenWith(CLIENTS, hit);
      expect(seen).toMatchObject({ taskId: hit?.taskId, attempt: 1, fence: hit?.fence, queue: "mail" });
      expect(await seenWith(QUEUES, hit)).toBe("wrong_signature");
      const other = await delivered(bench, { clientId: "client-b" });
      expect(await seenWith(CLIENTS, other)).toBe("missing_header");
    }),
  );

  test(
    "are signed with the queue's instead, where it has one",
    withBench(async (bench) => {
      await bench.setClient("client-a", { signing: [kept("client", "client-a", CLIENTS)] });
      await bench.setQueue("mail", { signing: [kept("queue", "mail", QUEUES)] });
      await bench.setQueue("plain", { weight: 2, timeoutMs: 5_000 });
      bench.start({ sealer });
      const hit = await delivered(bench, { queue: "mail" });
      expect(await seenWith(QUEUES, hit)).toMatchObject({ queue: "mail" });
      expect(await seenWith(CLIENTS, hit)).toBe("wrong_signature");
      expect(await seenWith(CLIENTS, await delivered(bench, { queue: "plain" }))).toMatchObject({
        queue: "plain",
      });
    }),
  );

  test(
    "are good for receivers of the old and of the new secret while both are in force, then of the new one alone",
    withBench(async (bench) => {
      const old = kept("client", "client-a", CLIENTS);
      const young = { ...kept("client", "client-a", NEW), id: "1a2b3c4d" };
      bench.start({ sealer });
      await bench.setClient("client-a", { signing: [old] });
      const before = await delivered(bench);
      expect([await seenWith(CLIENTS, before), await seenWith(NEW, before)]).toMatchObject([
        { attempt: 1 },
        "wrong_signature",
      ]);
      await bench.setClient("client-a", { signing: [young, old] });
      const between = await delivered(bench);
      expect(between?.headers.get("webhook-signature")).toMatch(/^v1,\S{44} v1,\S{44}$/);
      for (const secret of [CLIENTS, NEW])
        expect(await seenWith(secret, between)).toMatchObject({ attempt: 1 });
      await bench.setClient("client-a", { signing: [young] });
      const after = await delivered(bench);
      expect([await seenWith(CLIENTS, after), await seenWith(NEW, after)]).toMatchObject([
        "wrong_signature",
        { attempt: 1 },
      ]);
      await bench.setClient("client-a", { signing: [] });
      expect(await seenWith(NEW, await delivered(bench))).toBe("missing_header");
    }),
  );

  test(
    "have a larger fence at every attempt, and their work is done once though the answer is lost",
    withBench(async (bench) => {
      await bench.setClient("client-a", { signing: [kept("client", "client-a", CLIENTS)] });
      const once = onceOnly(new MemoryMarks());
      const verdicts: string[] = [];
      let done = 0;
      bench.target.answer = async (hit) => {
        const received = await verify(hit, CLIENTS);
        const verdict = await once(received, () => {
          if (hit.attempt === 1) throw new Error("the database is down");
          done++;
        }).catch(() => "failed");
        verdicts.push(verdict);
        // The second attempt's answer gets lost on its way, after the work was done.
        return new Response("", { status: hit.attempt <= 2 ? 500 : 200 });
      };
      bench.start({ sealer });
      const id = await bench.enqueue({ retry: FAST_RETRY });
      await bench.reaches(id, "succeeded");
      expect(verdicts).toEqual(["failed", "first", "repeat"]);
      expect(done).toBe(1);
      const hits = bench.target.hitsOf(id);
      const fences = hits.map(({ fence }) => fence);
      expect(fences).toEqual(fences.toSorted((a, b) => a - b));
      expect(new Set(fences).size).toBe(3);
      expect(new Set(hits.map(({ headers }) => headers.get("idempotency-key")))).toEqual(new Set([id]));
    }),
  );

  test(
    "have a receiver refuse a worker that was thought dead, once another has begun",
    withBench(async (bench) => {
      await bench.setClient("client-a", { signing: [kept("client", "client-a", CLIENTS)] });
      const once = onceOnly(new MemoryMarks());
      bench.start({ sealer });
      const id = await bench.enqueue({ path: "/now" });
      await bench.reaches(id, "succeeded");
      const [current] = bench.target.hitsOf(id);
      const received = await seenWith(CLIENTS, current);
      if (typeof received === "string") throw new Error(received);
      expect(await once({ ...received, fence: received.fence + 1 }, () => {})).toBe("first");
      expect(await once(received, () => {})).toBe("stale");
    }),
  );
});

describe("what a worker cannot sign", () => {
  const moved = kept("client", "client-b", CLIENTS);
  test.each([
    ["without a key", null, kept("client", "client-a", CLIENTS), "SECRETS_KEY is not set"],
    [
      "with another key",
      new Sealer(OTHER_SECRETS_KEY),
      kept("client", "client-a", CLIENTS),
      "another SECRETS_KEY",
    ],
    ["for the secret is another client's", sealer, moved, "another SECRETS_KEY"],
    ["for the secret is damaged", sealer, { ...moved, sealed: "c2VhbGVk" }, "another SECRETS_KEY"],
  ])("is not sent, %s: the attempt fails, says why, and is repeated", (_why, opener, secret, words) =>
    withBench(async (bench) => {
      await bench.setClient("client-a", { signing: [secret] });
      bench.start({ sealer: opener });
      const ids = [await bench.enqueue({ retry: FAST_RETRY }), await bench.enqueue({ retry: FAST_RETRY })];
      for (const id of ids)
        await until("two attempts were made", async () => (await bench.get(id)).attempts >= 2);
      // Once it can be signed, what waits goes out.
      await bench.setClient("client-a", { signing: [] });
      for (const id of ids) {
        const { attemptLog } = await bench.reaches(id, "succeeded");
        const error = attemptLog[0]?.error ?? "";
        expect(error).toContain("not sent, because it cannot be signed");
        for (const part of ["1a2b3c4d", "client client-a", words]) expect(error).toContain(part);
        expect(attemptLog[0]?.status).toBeNull();
      }
      expect(bench.target.hits.map(({ attempt }) => attempt > 2)).toEqual(ids.map(() => true));
      expect(bench.logged("a signing secret cannot be opened")).toHaveLength(1);
    })(),
  );

  test(
    "holds back nobody else's deliveries to the same host, however many there are",
    withBench(async (bench) => {
      await bench.setClient("client-a", { signing: [kept("client", "client-a", CLIENTS)] });
      bench.start({ breaker: { failureThreshold: 1, openMs: 60_000 } });
      const id = await bench.enqueue({ retry: FAST_RETRY });
      await until("two attempts were made", async () => (await bench.get(id)).attempts >= 2);
      await delivered(bench, { clientId: "client-b" });
      expect(bench.logged("breaker")).toEqual([]);
    }),
  );

  test(
    "is not sent with one of two secrets either",
    withBench(async (bench) => {
      const other = kept("client", "client-a", NEW, new Sealer(OTHER_SECRETS_KEY));
      await bench.setClient("client-a", {
        signing: [kept("client", "client-a", CLIENTS), { ...other, id: "5e6f7a8b" }],
      });
      bench.start({ sealer });
      const id = await bench.enqueue({ retry: { ...FAST_RETRY, maxAttempts: 2 } });
      const dead = await bench.reaches(id, "dead");
      expect(dead.reason).toContain("5e6f7a8b");
      expect(bench.target.hits).toEqual([]);
    }),
  );

  test(
    "is told by the secret that was moved, also after its owner's has been opened",
    withBench(async (bench) => {
      const own = kept("client", "client-b", CLIENTS);
      await bench.setClient("client-b", { signing: [own] });
      await bench.setClient("client-a", { signing: [own] });
      bench.start({ sealer });
      await delivered(bench, { clientId: "client-b" });
      const id = await bench.enqueue({ retry: { maxAttempts: 1 } });
      await bench.reaches(id, "dead");
      expect(bench.target.hitsOf(id)).toEqual([]);
    }),
  );
});

test(
  "no secret and no signature is logged, also at the level of debugging",
  withBench(async (bench) => {
    bench.target.answer = () => new Response("no", { status: 500 });
    await bench.setClient("client-a", { signing: [kept("client", "client-a", CLIENTS)] });
    bench.start({ sealer });
    const target = newTarget({ url: bench.target.url() });
    const id = await bench.enqueue({ target, retry: { maxAttempts: 1 } });
    const task = await bench.reaches(id, "dead");
    const signature = bench.target.hits[0]?.headers.get("webhook-signature") ?? "";
    expect(signature).toStartWith("v1,");
    for (const text of [JSON.stringify(bench.log), JSON.stringify(task)]) {
      for (const hidden of [CLIENTS.slice(6, 30), signature.slice(3)]) expect(text).not.toContain(hidden);
    }
  }),
);
