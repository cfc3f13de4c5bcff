/** Signs deliveries as Standard Webhooks asks (https://www.standardwebhooks.com), so that a target can tell them from anybody else's. */

import { Buffer } from "node:buffer";
import { createHmac } from "node:crypto";
import { Webhook } from "standardwebhooks";
import type { Target } from "../../core/task.ts";
import type { Delivery } from "../../core/transport.ts";

const SECRET_PREFIX = "whsec_";

/**
 * Adds to a delivery's headers those that sign it, a signature for each of its secrets; nothing where it has none.
 * `nowMs` is the time of the attempt. Throws for a secret that is not base64.
 */
export function signedHeaders(
  headers: Record<string, string>,
  { signingSecrets, taskId, target }: Delivery,
  nowMs: number,
): Record<string, string> {
  if (signingSecrets.length === 0) return headers;
  const timestampSec = Math.floor(nowMs / 1_000);
  headers["webhook-id"] = taskId;
  headers["webhook-timestamp"] = String(timestampSec);
  headers["webhook-signature"] = signingSecrets
    .map((secret) => signature(secret, taskId, timestampSec, target.body))
    .join(" ");
  return headers;
}

function signature(secret: string, id: string, timestampSec: number, body: Target["body"]): string {
  if (body === null || typeof body === "string") {
    return new Webhook(secret).sign(id, new Date(timestampSec * 1_000), body ?? "");
  }
  // The library would read bytes as text and sign what it read: not what is sent, where they are no UTF-8.
  const key = Buffer.from(secret.slice(SECRET_PREFIX.length), "base64");
  const digest = createHmac("sha256", key).update(`${id}.${timestampSec}.`).update(body).digest("base64");
  return `v1,${digest}`;
}
