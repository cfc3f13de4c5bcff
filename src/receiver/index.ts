/** The receiver kit: what a target of Task Runner needs to trust a delivery and to act on it once. It imports nothing but itself. */

export type { ReadRequest } from "./body.ts";
export { type VerificationCode, VerificationError } from "./error.ts";
export { type Mark, type MarkStore, MemoryMarks, onceOnly, type Verdict } from "./once-only.ts";
export { type Received, type VerifyOptions, verify } from "./verify.ts";
