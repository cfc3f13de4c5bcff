/** Requests as Task Runner sends them, signed by the library of Standard Webhooks, which knows nothing of ours. */

import { createHmac } from "node:crypto";
import { Webhook } from "standardwebhooks";
import { secretNumber } from "../support/signing.ts";

export const SECRET = secretNumber(1);
export const NOW_MS = Date.parse("2026-01-01T00:00:00.500Z");
export const TASK_ID = "019b76da-a800-7000-8000-000000000001";

export interface SignedOptions {
  readonly body?: string | Uint8Array<ArrayBuffer>;
  readonly secrets?: readonly string[];
  readonly atMs?: number;
  readonly headers?: Readonly<Record<string, string>>;
}

/** The headers of a good delivery, changed where told. */
export function signedHeaders({
  body = "{}",
  secrets = [SECRET],
  atMs = NOW_MS,
  headers,
}: SignedOptions = {}) {
  const at = new Date(atMs);
  const signatures = secrets.map((secret) =>
    typeof body === "string"
      ? new Webhook(secret).sign(TASK_ID, at, body)
      : signatureOfBytes(secret, Math.floor(atMs / 1_000), body),
  );
  return {
    "webhook-id": TASK_ID,
    "webhook-timestamp": String(Math.floor(atMs / 1_000)),
    "webhook-signature": signatures.join(" "),
    "x-task-id": TASK_ID,
    "x-task-attempt": "2",
    "x-task-fence": "5",
    "x-task-queue": "mail",
    "x-task-scheduled-at": "2025-12-31T23:59:00.000Z",
    ...headers,
  };
}

export function signedRequest(options: SignedOptions = {}): Request {
  const init = { method: "POST", headers: signedHeaders(options), body: options.body ?? "{}" };
  return new Request("https://receiver.example/hook", init);
}

/** As https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md writes it down. */
function signatureOfBytes(secret: string, timestampSec: number, body: Uint8Array): string {
  const key = Buffer.from(secret.slice("whsec_".length), "base64");
  const signed = Buffer.concat([Buffer.from(`${TASK_ID}.${timestampSec}.`), body]);
  return `v1,${createHmac("sha256", key).update(signed).digest("base64")}`;
}
