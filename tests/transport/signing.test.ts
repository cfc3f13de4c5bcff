/** Signed deliveries carry good signatures of the very bytes that arrive, on every runtime. */

import { describe, expect, test } from "bun:test";
import { createHmac } from "node:crypto";
import { Webhook, WebhookVerificationError } from "standardwebhooks";
import { verify } from "task-runner/receiver";
import { deliveryTo, unaborted } from "../conformance/transport.ts";
import { secretNumber } from "../support/signing.ts";
import { type ReceivedRequest, startTarget } from "../support/target.ts";
import { httpTransport, realClock } from "./fixtures.ts";
import { probe, RUNTIMES } from "./runtimes.ts";

const TEST_TIMEOUT_MS = 40_000;
const [OLD, NEW, STRANGE] = [secretNumber(1), secretNumber(2), secretNumber(3)] as const;
/** No UTF-8, a byte order mark, and a line break at the end. */
const BYTES = [0xff, 0x00, 0xc3, 0x28, 0xef, 0xbb, 0xbf, 0x0d, 0x0a];

const SIGNATURE_HEADERS = ["webhook-id", "webhook-timestamp", "webhook-signature"];

/** As the specification writes it down, over what arrived. */
function expected(secret: string, { headers, body }: ReceivedRequest): string {
  const signed = Buffer.concat([
    Buffer.from(`${headers["webhook-id"]}.${headers["webhook-timestamp"]}.`),
    body,
  ]);
  const key = Buffer.from(secret.slice("whsec_".length), "base64");
  return `v1,${createHmac("sha256", key).update(signed).digest("base64")}`;
}

for (const runtime of RUNTIMES) {
  test(
    `on ${runtime.name}: text, bytes and no body at all are signed as they arrive, with each secret`,
    async () => {
      await using target = await startTarget();
      const signingSecrets = [NEW, OLD];
      const call = { url: target.url, signingSecrets };
      const { outcomes } = await probe(runtime, {
        deliver: [
          { ...call, body: '{"text":"naïve ✓ \ud83d\ude00"}' },
          { ...call, body: "\ufeffa lone \ud800 surrogate" },
          { ...call, body: "" },
          { ...call, body: null },
          { ...call, body: null, method: "GET" },
          { ...call, bytes: BYTES },
          { ...call, bytes: [] },
          { ...call, body: "x".repeat(60_000) },
        ],
      });
      expect(outcomes.map(({ kind }) => kind)).toEqual(outcomes.map(() => "delivered"));
      expect(target.requests).toHaveLength(8);
      expect([...(target.requests[5]?.body ?? [])]).toEqual(BYTES);
      for (const request of target.requests) {
        const { headers, body, arrivedAtMs, taskId } = request;
        expect(headers["webhook-id"]).toBe(taskId ?? "none");
        expect(Math.abs(Number(headers["webhook-timestamp"]) * 1_000 - arrivedAtMs)).toBeLessThan(10_000);
        expect(headers["webhook-signature"]).toBe(
          signingSecrets.map((secret) => expected(secret, request)).join(" "),
        );
        for (const secret of signingSecrets) {
          expect((await verify({ headers, body }, secret)).taskId).toBe(taskId ?? "none");
        }
        await expect(verify({ headers, body }, STRANGE)).rejects.toThrow("no signature");
      }
      // What is text is taken by the library that receivers elsewhere use, too.
      const [first] = target.requests;
      if (first === undefined) throw new Error("nothing arrived");
      expect(new Webhook(OLD).verify(first.text, first.headers)).toEqual({ text: "naïve ✓ \ud83d\ude00" });
      expect(() => new Webhook(STRANGE).verify(first.text, first.headers)).toThrow(WebhookVerificationError);
    },
    TEST_TIMEOUT_MS,
  );
}

describe("a delivery", () => {
  /** The headers that a delivery arrives with; `nowMs` is the transport's time. */
  async function arrived(signingSecrets: readonly string[], headers: Record<string, string>, nowMs?: number) {
    await using target = await startTarget();
    const clock = nowMs === undefined ? realClock : { ...realClock, now: () => nowMs };
    const transport = httpTransport({ clock });
    const delivery = deliveryTo(target.url, { taskId: "task-1", signingSecrets, headers, body: "{}" });
    const outcome = await transport.deliver(delivery, unaborted());
    await transport.close();
    expect(outcome.kind).toBe("delivered");
    return target.requests[0]?.headers ?? {};
  }

  test("without a secret carries no signature, and a caller's own headers as they are", async () => {
    const bare = await arrived([], {});
    for (const name of SIGNATURE_HEADERS) expect(bare).not.toHaveProperty(name);
    const relayed = await arrived([], { "Webhook-Signature": "v1,theirs" });
    expect(relayed["webhook-signature"]).toBe("v1,theirs");
  });

  test("with a secret carries ours in the place of a caller's", async () => {
    const given = { "Webhook-Id": "theirs", "WEBHOOK-TIMESTAMP": "1", "webhook-signature": "v1,theirs" };
    const headers = await arrived([OLD], given);
    expect(headers["webhook-id"]).toBe("task-1");
    expect((await verify({ headers, body: "{}" }, OLD)).taskId).toBe("task-1");
  });

  test("is signed at the second of its attempt", async () => {
    const headers = await arrived([OLD], {}, 1_767_225_600_999);
    expect(headers["webhook-timestamp"]).toBe("1767225600");
  });

  test("is not sent when it cannot be signed", async () => {
    await using target = await startTarget();
    const transport = httpTransport();
    const delivery = deliveryTo(target.url, { signingSecrets: ["whsec_"] });
    const outcome = await transport.deliver(delivery, unaborted());
    await transport.close();
    expect(outcome).toMatchObject({ kind: "failed", status: null });
    expect(target.requests).toEqual([]);
  });
});
