/** What tests of signed deliveries share: a key to seal with, secrets, and a request as a receiver gets it. */

import { Sealer } from "../../src/secrets/sealing.ts";

/** A SECRETS_KEY. */
export const SECRETS_KEY = Buffer.alloc(32, 7).toString("base64");
export const OTHER_SECRETS_KEY = Buffer.alloc(32, 8).toString("hex");
export const sealer = new Sealer(SECRETS_KEY);

/** A signing secret, another for each number. */
export function secretNumber(number: number): string {
  return `whsec_${Buffer.alloc(32, number).toString("base64")}`;
}
