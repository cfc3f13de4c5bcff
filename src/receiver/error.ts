/** Why a request is not taken for a delivery, in a form that a receiver can act on. */

/**
 * `missing_header`, `malformed_header`: it does not look like a delivery. `too_old`, `too_new`: its time is further from
 * now than the tolerance. `wrong_signature`: none of its signatures is of one of the secrets. `body_too_large`: more than
 * this receiver reads.
 */
export type VerificationCode =
  | "missing_header"
  | "malformed_header"
  | "too_old"
  | "too_new"
  | "wrong_signature"
  | "body_too_large";

/** A request that must not be acted on. The message names no secret and nothing of the body. */
export class VerificationError extends Error {
  readonly code: VerificationCode;
  /** An HTTP status to refuse it with: 400, 401 or 413. */
  readonly status: number;

  constructor(code: VerificationCode, message: string) {
    super(message);
    this.name = "VerificationError";
    this.code = code;
    this.status = STATUS[code];
  }
}

const STATUS: Readonly<Record<VerificationCode, number>> = {
  missing_header: 400,
  malformed_header: 400,
  too_old: 401,
  too_new: 401,
  wrong_signature: 401,
  body_too_large: 413,
};
